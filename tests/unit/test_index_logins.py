"""Logins in the URLs of requirements files are no arguments of processes."""

from __future__ import annotations

import netrc
import stat
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils.index_logins import without_logins


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a build."""
    directory = tmp_path / "home"
    directory.mkdir()
    return directory


def test_a_file_without_logins_is_taken_as_it_is(source: Path, home: Path) -> None:
    (source / "requirements.txt").write_text("--extra-index-url https://pypi.example/simple\nflask  # me@example.com\n")
    assert without_logins(source, "requirements.txt", home, home) == "requirements.txt"
    assert list(home.iterdir()) == []


def test_logins_go_into_a_file_that_only_the_build_reads(source: Path, home: Path) -> None:
    (source / "more").mkdir()
    (source / "requirements.txt").write_text("-r more/base.txt\n--requirement=more/base.txt\n-r https://elsewhere.example/r.txt\nflask\n")
    (source / "more/base.txt").write_text(
        "-r ../requirements.txt\n--extra-index-url https://me:hu%40sh@pypi.example:8443/simple\n"
        "tool @ git+https://token@git.example/tool.git\n--index-url https://other:login@pypi.example/simple\n"
    )
    given = without_logins(source, "requirements.txt", home, home)
    assert Path(given).read_text() == (
        f"-r {home}/requirements-1.txt\n--requirement={home}/requirements-1.txt\n-r https://elsewhere.example/r.txt\nflask\n"
    )
    assert (home / "requirements-1.txt").read_text() == (
        f"-r {home}/requirements-0.txt\n--extra-index-url https://pypi.example:8443/simple\n"
        "tool @ git+https://token@git.example/tool.git\n--index-url https://other:login@pypi.example/simple\n"
    )
    assert netrc.netrc(str(home / ".netrc")).hosts == {"pypi.example": ("me", "", "hu@sh")}
    assert stat.S_IMODE((home / ".netrc").stat().st_mode) == 0o600


def test_root_reads_only_what_is_in_the_source(source: Path, home: Path, tmp_path: Path) -> None:
    """A line of requirements, or a link in what the app can write, may name any file of the host."""
    (tmp_path / "shadow").write_text("root:secret")
    (source / "link.txt").symlink_to(tmp_path / "shadow")
    (source / "requirements.txt").write_text(f"-r ../shadow\n-r {tmp_path}/shadow\n-r link.txt\n-i https://me:hush@pypi.example/simple\n")
    without_logins(source, "requirements.txt", home, home)
    assert sorted(path.name for path in home.iterdir()) == [".netrc", "requirements-0.txt"]
    assert "secret" not in (home / "requirements-0.txt").read_text()
