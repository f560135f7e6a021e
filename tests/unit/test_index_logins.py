"""Logins in the URLs of requirements are no arguments of processes."""

from __future__ import annotations

import netrc
from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.module_utils.index_logins import without_logins


def test_texts_without_logins_are_taken_as_they_are() -> None:
    texts = {"requirements.txt": "--extra-index-url https://pypi.example/simple\nflask  # me@example.com\n"}
    assert without_logins(texts) == texts


def test_logins_go_into_a_file_that_only_the_build_reads(tmp_path: Path) -> None:
    given = {
        "requirements.txt": "--extra-index-url https://me:hu%40sh@pypi.example:8443/simple\ntool @ git+https://token@git.example/tool.git\n",
        "constraints.txt": "--index-url https://other:login@pypi.example/simple\n",
    }
    cleared = without_logins(given)
    (tmp_path / ".netrc").write_text(cleared.pop(".netrc"))
    assert cleared == {
        "requirements.txt": "--extra-index-url https://pypi.example:8443/simple\ntool @ git+https://token@git.example/tool.git\n",
        "constraints.txt": "--index-url https://other:login@pypi.example/simple\n",
    }
    hosts = netrc.netrc(str(tmp_path / ".netrc")).hosts
    assert {name: (login, password) for name, (login, _account, password) in hosts.items()} == {"pypi.example": ("me", "hu@sh")}
