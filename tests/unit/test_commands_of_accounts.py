"""What runs as an app's account, or was made by it, and how little of it is believed."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import release_tree, transient_unit, uv
from ansible_collections.flaskops.hosting.plugins.module_utils.command import CUT, OUTPUT_KEPT, run_bounded, tail


def test_of_a_long_output_the_end_is_kept() -> None:
    code, output = run_bounded([sys.executable, "-c", "print('x' * 50_000_000, 'end')"], 20)
    assert code == 0 and len(output) == OUTPUT_KEPT + len(f"{CUT}\n") and output.startswith(f"{CUT}\nx") and output.endswith("x end\n")


def test_a_log_says_that_more_was_cut_off() -> None:
    _code, output = run_bounded([sys.executable, "-c", "for number in range(100_000): print(number)"], 20)
    assert tail(output).splitlines()[0] == CUT and len(tail(output).splitlines()) == 31
    assert CUT not in tail("one\ntwo")


def test_no_half_of_a_secret_is_at_the_cut() -> None:
    secret = "hunter2-and-more"
    code, output = run_bounded([sys.executable, "-c", f"print({secret!r} * 9_000)"], 20, secrets=[secret])
    assert code == 0 and output.replace(secret, "") == f"{CUT}\n\n"


def test_a_process_that_left_the_session_holds_nothing_up() -> None:
    began = time.monotonic()
    code, output = run_bounded(["sh", "-c", "setsid sleep 20 & echo done"], 20)
    assert (code, output) == (0, "done\n") and time.monotonic() - began < 5


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree that an account made, which nobody gives to root here, beside a directory that is not the account's."""
    monkeypatch.setattr(os, "chown", lambda *_arguments, **_options: None)
    monkeypatch.setattr(os, "fchown", lambda *_arguments: None)
    (tmp_path / "venv/lib").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/shadow").touch()
    (tmp_path / "outside/shadow").chmod(0o666)
    return tmp_path / "venv"


def mode(path: Path) -> int:
    """The permissions of a path."""
    return stat.S_IMODE(path.lstat().st_mode)


def test_nobody_else_can_write_what_root_takes(venv: Path) -> None:
    (venv / "lib/tool").touch()
    (venv / "lib/tool").chmod(0o4777)
    (venv / "lib").chmod(0o777)
    (venv / "lib/link").symlink_to(venv.parent / "outside/shadow")
    transient_unit.give_to_root(venv)
    assert (mode(venv / "lib"), mode(venv / "lib/tool"), mode(venv.parent / "outside/shadow")) == (0o755, 0o755, 0o666)


def test_a_directory_that_becomes_a_link_is_not_followed(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchanged in the moment before root enters it."""
    opened = os.open
    (venv / "lib/shadow").touch()

    def exchange(path: str | Path, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if path == "lib":
            (venv / "lib").rename(venv / "old")
            (venv / "lib").symlink_to(venv.parent / "outside")
        return opened(path, flags, *more, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", exchange)
    with pytest.raises(OSError):
        transient_unit.give_to_root(venv)
    assert mode(venv.parent / "outside/shadow") == 0o666


def test_locks_are_where_root_alone_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another account can hold the lock of what it can read."""
    assert not release_tree.LOCKS.parent.stat().st_mode & 0o022
    monkeypatch.setattr(release_tree, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(uv, "PLACE", tmp_path / "cache")
    kept = tmp_path / "cache" / f"uv-{uv.VERSION}"
    kept.mkdir(parents=True)
    (kept / "complete").touch()
    held = os.open(kept, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert uv.uv() == kept / "bin/uv"
    assert mode(tmp_path / "locks") == 0o700
    os.close(held)
