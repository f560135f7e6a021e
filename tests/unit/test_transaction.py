"""Files go onto a host together, or not at all."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils.host_config_files import is_empty_after
from ansible_collections.flaskops.hosting.plugins.module_utils.transaction import Change, Transaction, TransactionError

ME = pwd.getpwuid(os.getuid()).pw_name
MY_GROUP = grp.getgrgid(os.getgid()).gr_name


def change(path: Path, content: str = "new\n", **more: Any) -> Change:
    """A file that belongs to whoever runs the tests."""
    return Change.from_entry({"dest": str(path), "content": content, "owner": ME, "group": MY_GROUP, **more})


def absent(path: Path) -> Change:
    """A path that must not be."""
    return Change.from_entry({"dest": str(path), "state": "absent"})


def link(path: Path, to: str) -> Change:
    """A symbolic link."""
    return Change.from_entry({"link": str(path), "to": to})


def snapshot(directory: Path) -> dict[str, Any]:
    """Every path below a directory with its mode and content."""
    return {
        str(path.relative_to(directory)): (
            oct(path.lstat().st_mode),
            str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(directory.rglob("*"))
    }


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A configuration directory with a file, a link and a directory."""
    directory = tmp_path / "etc"
    (directory / "old.d" / "deep").mkdir(parents=True)
    (directory / "old.d" / "deep" / "kept.conf").write_text("kept\n")
    (directory / "site.conf").write_text("old\n")
    (directory / "site.conf").chmod(0o600)
    (directory / "enabled").symlink_to("site.conf")
    return directory


def transaction(tmp_path: Path, *changes: Change) -> Transaction:
    """A transaction with a journal of its own."""
    return Transaction(list(changes), journal=tmp_path / "var" / "transaction")


def everything(etc: Path) -> list[Change]:
    """One change of each kind."""
    return [
        change(etc / "site.conf"),
        change(etc / "new.d" / "a" / "b.conf"),
        link(etc / "enabled", "other.conf"),
        link(etc / "new.link", "site.conf"),
        absent(etc / "old.d"),
    ]


def test_a_commit_writes_everything(tmp_path: Path, etc: Path) -> None:
    writing = transaction(tmp_path, *everything(etc))
    writing.commit(writing.pending(), lambda: None)
    assert (etc / "site.conf").read_text() == "new\n"
    assert oct((etc / "site.conf").stat().st_mode)[-3:] == "644"
    assert (etc / "new.d/a/b.conf").read_text() == "new\n"
    assert str((etc / "enabled").readlink()) == "other.conf"
    assert not (etc / "old.d").exists()
    assert writing.pending() == []
    assert not writing.journal.exists()


@pytest.mark.parametrize("which", [slice(None), *(slice(one, one + 1) for one in range(5))], ids=["all", "0", "1", "2", "3", "4"])
def test_a_refusal_puts_everything_back(tmp_path: Path, etc: Path, which: slice) -> None:
    """All changes together, and each kind alone."""
    before = snapshot(etc)
    writing = transaction(tmp_path, *everything(etc)[which])

    def refuse() -> None:
        assert snapshot(etc) != before
        raise TransactionError("no")

    with pytest.raises(TransactionError, match="no"):
        writing.commit(writing.pending(), refuse)
    assert snapshot(etc) == before
    assert not writing.journal.exists()


def test_a_change_that_cannot_be_made_puts_the_others_back(tmp_path: Path, etc: Path) -> None:
    before = snapshot(etc)
    writing = transaction(tmp_path, change(etc / "site.conf"), change(etc / "old.d"))
    with pytest.raises(TransactionError, match="is a directory"):
        writing.commit(writing.pending(), lambda: None)
    assert snapshot(etc) == before


def test_a_killed_run_is_put_back_by_the_next(tmp_path: Path, etc: Path) -> None:
    before = snapshot(etc)
    killed = transaction(tmp_path, *everything(etc))
    killed._remember(killed.pending(), {})
    for one in killed.changes[:3]:
        one.apply()
    assert snapshot(etc) != before
    next_run = transaction(tmp_path)
    assert next_run.recover() is True
    assert snapshot(etc) == before
    assert next_run.recover() is False


def test_a_journal_without_an_index_means_that_nothing_was_changed_yet(tmp_path: Path, etc: Path) -> None:
    before = snapshot(etc)
    killed = transaction(tmp_path, *everything(etc))
    killed.journal.mkdir(parents=True)
    (killed.journal / "0").write_text("half a backup")
    assert killed.recover() is False
    assert snapshot(etc) == before
    assert not killed.journal.exists()


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("nothing", {"content": "new\n"}),
        ("other content", {"content": "new\n"}),
        ("other mode", {"content": "old\n", "mode": "0640"}),
        ("a link", {"content": "old\n", "mode": "0600"}),
    ],
)
def test_what_differs_is_pending(etc: Path, found: str, wanted: dict[str, str]) -> None:
    path = {"nothing": etc / "none", "a link": etc / "enabled"}.get(found, etc / "site.conf")
    assert not change(path, **wanted).is_in_place()


def test_what_is_right_is_left_alone(etc: Path) -> None:
    assert change(etc / "site.conf", content="old\n", mode="0600").is_in_place()
    assert link(etc / "enabled", "site.conf").is_in_place()
    assert absent(etc / "none" / "at-all").is_in_place()


def test_a_diff_shows_before_and_after(etc: Path) -> None:
    shown = change(etc / "site.conf", content="new\n").diff()
    assert shown["before"].endswith("0600\nold\n")
    assert shown["after"].endswith("0644\nnew\n")
    assert link(etc / "enabled", "other.conf").diff()["after"] == "link to other.conf\n"
    assert "kept.conf" in absent(etc / "old.d").diff()["before"]


def test_a_diff_hides_a_secret_file(etc: Path) -> None:
    shown = change(etc / "site.conf", content="hunter2\n", secret=True).diff()
    assert "hunter2" not in str(shown)
    assert "old" not in shown["before"].splitlines()


def test_a_mode_that_is_no_octal_number_is_refused(etc: Path) -> None:
    with pytest.raises(TransactionError, match="mode: got 'rw-r--r--'"):
        change(etc / "site.conf", mode="rw-r--r--")


def test_text_of_any_script_arrives_byte_for_byte(tmp_path: Path, etc: Path) -> None:
    text = "ペン Привет 你好 🐙\n"
    writing = transaction(tmp_path, change(etc / "текст.conf", content=text))
    writing.commit(writing.pending(), lambda: None)
    assert (etc / "текст.conf").read_bytes() == text.encode()


def test_a_service_is_needed_as_long_as_its_directory_is_not_empty(tmp_path: Path) -> None:
    sites = tmp_path / "sites-enabled"
    mine, other, elsewhere = sites / "shop.conf", sites / "blog.conf", tmp_path / "sites-available/shop.conf"
    assert is_empty_after(sites, [absent(mine)]) and is_empty_after(sites, [change(elsewhere)])
    assert not is_empty_after(sites, [link(mine, "../sites-available/shop.conf"), absent(other)])
    sites.mkdir()
    mine.symlink_to("../sites-available/shop.conf")  # dangling, as after its target is removed
    assert not is_empty_after(sites, []) and is_empty_after(sites, [absent(mine), absent(elsewhere)])
    other.touch()
    assert not is_empty_after(sites, [absent(mine)]) and is_empty_after(sites, [absent(mine), absent(other)])


def test_a_directory_goes_if_nothing_is_left_in_it(tmp_path: Path, etc: Path) -> None:
    """With all that the same transaction removes from it, and never with anything else."""
    deep = etc / "old.d/deep"
    empty, parent = Change(deep, "not empty"), Change(etc / "old.d", "not empty")
    transaction(tmp_path, empty).commit([empty], lambda: None)
    assert (deep / "kept.conf").exists()
    writing = transaction(tmp_path, absent(deep / "kept.conf"), empty, parent)
    before = snapshot(etc)

    def refuse() -> None:
        assert not (etc / "old.d").exists()
        raise TransactionError("no")

    with pytest.raises(TransactionError):
        writing.commit(writing.pending(), refuse)
    assert snapshot(etc) == before
    writing.commit(writing.pending(), lambda: None)
    assert not (etc / "old.d").exists()


def test_what_somebody_else_has_put_into_a_directory_meanwhile_stays(tmp_path: Path, etc: Path) -> None:
    writing = transaction(tmp_path, Change(etc / "old.d/deep", "not empty"), change(etc / "new.d/a/b.conf"))

    def refuse() -> None:
        (etc / "old.d/deep/theirs.conf").touch()
        (etc / "new.d/theirs.conf").touch()
        raise TransactionError("no")

    with pytest.raises(TransactionError):
        writing.commit(writing.pending(), refuse)
    assert sorted(path.name for path in (etc / "old.d/deep").iterdir()) == ["kept.conf", "theirs.conf"]
    assert [path.name for path in (etc / "new.d").iterdir()] == ["theirs.conf"]


def test_half_a_file_of_a_killed_run_goes(tmp_path: Path, etc: Path) -> None:
    before = snapshot(etc)
    killed = transaction(tmp_path, change(etc / "new.d" / "a.conf"), change(etc / "site.conf"))
    killed._remember(killed.pending(), {"nginx.service": {"ActiveState": "active"}})
    for directory in (etc, etc / "new.d"):
        (directory / ".flaskops-abcd1234").mkdir(parents=True)
        (directory / ".flaskops-abcd1234" / "new").write_text("hal")
    next_run = transaction(tmp_path)
    assert next_run.unfinished() == {"nginx.service": {"ActiveState": "active"}}
    assert next_run.recover() is True
    assert snapshot(etc) == before and next_run.unfinished() is None


def test_a_run_of_the_first_version_that_was_killed_is_put_back(tmp_path: Path, etc: Path) -> None:
    """It noted pairs: a path, and the backup of what was there."""
    journal = tmp_path / "var/transaction"
    journal.mkdir(parents=True)
    (journal / "0").write_text("older\n")
    (etc / "new.conf").touch()
    (journal / "index.json").write_text(f'[["{etc}/site.conf", "0"], ["{etc}/new.conf", ""]]')
    next_run = transaction(tmp_path)
    assert next_run.unfinished() == {} and next_run.recover() is True
    assert (etc / "site.conf").read_text() == "older\n" and not (etc / "new.conf").exists()


def test_nothing_is_changed_if_what_comes_first_fails(tmp_path: Path, etc: Path) -> None:
    before = snapshot(etc)
    writing = transaction(tmp_path, *everything(etc))

    def refuse() -> None:
        assert snapshot(etc) == before and writing.unfinished() == {"a": 1}
        raise TransactionError("no")

    with pytest.raises(TransactionError):
        writing.commit(writing.pending(), lambda: None, refuse, {"a": 1})
    assert snapshot(etc) == before and not writing.journal.exists()
