"""Commands in a release: what they get, and what one that does not end well does to the release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import release_commands
from ansible_collections.flaskops.hosting.plugins.module_utils.command import run_bounded
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, Tree, environment_file
from ansible_collections.flaskops.hosting.plugins.module_utils.sandbox import sandbox_of_app
from ansible_collections.flaskops.hosting.plugins.module_utils.transient_unit import VENV_FIRST
from ansible_collections.flaskops.hosting.tests.unit.releases import noted


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """A staged release with a secret."""
    made = Tree("shop", tmp_path).release("new")
    made.path.mkdir(parents=True)
    (made.path / "environment").write_text(environment_file({"PASSWORD": "hunter2", "PATH": "/opt/shop/bin"}))
    made.mark_complete(noted(user="wsgi", secrets=["PASSWORD"]))
    return made


def answers(monkeypatch: pytest.MonkeyPatch, *ends: tuple[int | None, str]) -> list[tuple[Any, ...]]:
    """Have the commands end like this, one after the other; returns what they were called with."""
    calls: list[tuple[Any, ...]] = []

    def run(*arguments: Any, **_more: Any) -> tuple[int | None, str]:
        calls.append(arguments)
        return ends[len(calls) - 1]

    monkeypatch.setattr(release_commands, "run_in_unit", run)
    return calls


def test_the_venv_comes_first_and_secrets_are_hidden(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = answers(monkeypatch, (0, "with hunter2\n"), (0, ""))
    assert release_commands.run_commands(release, ["flask db 'up grade'", "true"]) == "$ flask db 'up grade'\nwith <PASSWORD>\n$ true"
    unit, words, lines, timeout = calls[0]
    assert (unit, words, timeout) == ("flaskops-shop-command", [f"{release.path}/.venv/bin", "flask", "db", "up grade"], 900)
    assert {"User=wsgi", f"WorkingDirectory={release.path}/code", f"EnvironmentFile={release.path}/environment"} < {*lines}
    assert {"Environment=FLASKOPS_PHASE=command", f"Environment=FLASKOPS_RELEASE_PATH={release.path}"} < {*lines}
    assert {*sandbox_of_app(str(release.path), str(release.tree.root))} < {*lines}


def test_the_venv_comes_before_a_path_of_the_apps_own(tmp_path: Path) -> None:
    words = ["/bin/sh", "-c", VENV_FIRST, "sh", "/venv/bin", "sh", "-c", "echo $PATH; exit 3"]
    assert run_bounded(["env", "PATH=/opt/shop/bin:/bin", *words], 20) == (3, "/venv/bin:/opt/shop/bin:/bin\n")


@pytest.mark.parametrize(
    ("end", "words"),
    [((3, "no hunter2"), "ended with code 3"), ((139, "no hunter2"), "ended with signal 11"), ((None, "no hunter2"), "took longer than 900 s")],
)
def test_the_first_that_fails_ends_the_release(release: Release, monkeypatch: pytest.MonkeyPatch, end: tuple[int | None, str], words: str) -> None:
    calls = answers(monkeypatch, (0, "fine"), end)
    with pytest.raises(ReleaseError, match=f"^the command 'two' {words}$") as raised:
        release_commands.run_commands(release, ["one", "two", "three"])
    assert len(calls) == 2 and raised.value.log == "$ one\nfine\n$ two\nno <PASSWORD>"
    assert release.failure()["log"] == raised.value.log


def test_as_many_lines_as_wanted_are_kept(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, (0, "a\nb\nc\n"))
    assert release_commands.run_commands(release, ["one"], lines=2) == "b\nc"


def test_one_that_is_live_stays(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    release.tree.point_current_to(release)
    answers(monkeypatch, (1, ""))
    with pytest.raises(ReleaseError, match="the release is live already, and stays"):
        release_commands.run_commands(release, ["one"])
    assert not release.has_failed()
