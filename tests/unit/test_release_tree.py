"""The tree of an app: its switch, its marks, its environment file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import release_tree, staging
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import (
    ReleaseError,
    Tree,
    environment_file,
    hide_secrets,
    read_environment_file,
    write_private,
)
from ansible_collections.flaskops.hosting.plugins.plugin_utils.printable import printable
from ansible_collections.flaskops.hosting.tests.unit.releases import noted


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """The tree of an app with two complete releases, a failed one, and one that was never finished."""
    app = Tree("shop", tmp_path / "srv")
    for name in ("one", "two", "failed", "unfinished"):
        app.release(name).path.mkdir(parents=True)
        if name != "unfinished":
            app.release(name).mark_complete(noted())
    app.release("failed").mark_failed("no", "log")
    return app


def test_a_secret_is_hidden_as_a_part_of_a_url_too() -> None:
    assert hide_secrets("cannot reach db with p%40ss%2Fword", {"PASSWORD": "p@ss/word"}) == "cannot reach db with <PASSWORD>"


def test_before_the_first_release_nothing_is_live(tree: Tree) -> None:
    assert tree.live() is None


def test_the_switch_is_one_link(tree: Tree) -> None:
    tree.point_current_to(tree.release("one"))
    tree.point_current_to(tree.release("two"))
    assert str(tree.current.readlink()) == "releases/two"
    assert tree.live() == tree.release("two")
    assert sorted(path.name for path in tree.root.iterdir()) == ["current", "releases"]


def test_a_release_without_its_mark_does_not_exist(tree: Tree) -> None:
    assert [one.name for one in tree.complete_releases()] == ["one", "two", "failed"]
    assert not tree.release("unfinished").is_complete()


def test_a_failed_release_is_marked(tree: Tree) -> None:
    assert tree.release("failed").has_failed()
    assert not tree.release("one").has_failed()


def test_only_the_owner_can_read_a_mark(tree: Tree) -> None:
    mode = (tree.release("one").path / release_tree.COMPLETE_MARK).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_second_deploy_is_rejected_and_names_the_first(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_tree, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(release_tree, "LOCK_TIMEOUT", 0.2)
    with tree.lock():
        with pytest.raises(ReleaseError, match=f"another deploy of shop is running on this host .process {os.getpid()}"):
            tree.lock()
    tree.lock().close()


def test_a_lock_dies_with_its_holder(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_tree, "LOCKS", tmp_path / "locks")
    program = f"""
import os, pathlib
from ansible_collections.flaskops.hosting.plugins.module_utils import release_tree
release_tree.LOCKS = pathlib.Path({str(tmp_path / "locks")!r})
held = release_tree.Tree("shop", pathlib.Path("/")).lock()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    tree.lock().close()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", '"plain"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("$HOME `id` \\n", '"\\$HOME \\`id\\` \\\\n"'),
        ("two\nlines", '"two\nlines"'),
        ("50% {{ x }} 🐙", '"50% {{ x }} 🐙"'),
    ],
)
def test_an_environment_file_escapes_what_systemd_would_take_as_syntax(value: str, written: str) -> None:
    assert environment_file({"NAME": value}) == f"NAME={written}\n"


@pytest.mark.parametrize("value", ["plain", 'a "b" \\ $c `d`', "two\nlines\n", "ペン 🐙", "\\", '"', 'x"\nFAKE="y', "\r\t"])
def test_an_environment_file_reads_back_as_it_was_written(value: str) -> None:
    variables = {"A": "before", "NAME": value, "Z": "after"}
    assert read_environment_file(environment_file(variables)) == variables


def test_a_release_knows_its_secrets(tree: Tree) -> None:
    release = tree.release("one")
    release.mark_complete(noted(secrets=["KEY"]))
    write_private(release.path / "environment", environment_file({"KEY": "hun\nter2", "MODE": "live"}))
    assert release.secrets() == {"KEY": "hun\nter2"}


def test_a_private_file_is_never_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "environment"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_are_hidden_in_what_people_read() -> None:
    log = "connect('db', 'hun\"ter2\\n')\nKeyError: multi\nTOKEN=line-one\nline-two"
    shown = hide_secrets(log, {"PASSWORD": 'hun"ter2', "TOKEN": "line-one\nline-two", "SHORT": "db"})
    assert "ter2" not in shown
    assert "line-one" not in shown and "line-two" not in shown
    assert "<PASSWORD>" in shown
    assert "connect('db'" in shown


@pytest.mark.parametrize("login", ["me:hush", "hush", "me:hu@hush", "me%40a:hush%2f"])
def test_credentials_in_urls_are_hidden_in_what_people_read(login: str) -> None:
    log = f"ERROR: cannot fetch git+https://{login}@git.example/a and 'https://{login}@pypi.example:8443/simple/' for me@example.com"
    hidden = "ERROR: cannot fetch git+https://…@git.example/a and 'https://…@pypi.example:8443/simple/' for me@example.com"
    assert hide_secrets(log, {}) == hidden
    assert printable({"msg": [log]}) == {"msg": [hidden]}
    facts = noted(requirements=f"--extra-index-url https://{login}@pypi.example/simple\nflask\n")
    assert "requirement: --extra-index-url https://…@pypi.example/simple\n" in staging.describe(facts)
