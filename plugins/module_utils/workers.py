# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The workers of a server with a master process, as Gunicorn and uWSGI have them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import ReleaseError

REPLACE_TIMEOUT = 600  # seconds until the old workers have ended; a server's own graceful timeout is far shorter


def replace_workers(master: int, name: str, state: Callable[[], str]) -> None:
    """Have a master process replace its workers, which complete their requests; wait until all are new. The master keeps its socket.

    ``name`` is what people call it, and ``state`` what its manager says of it. Raises ``ReleaseError`` if it dies of that.
    """
    old = workers_of(master)
    os.kill(master, signal.SIGHUP)
    deadline = time.monotonic() + REPLACE_TIMEOUT
    while not (new := workers_of(master)) or new & old:
        if state() not in ("active", "reloading"):
            raise ReleaseError(f"{name} died when its workers were replaced")
        if time.monotonic() > deadline:
            raise ReleaseError(f"{name} has not replaced its workers in {REPLACE_TIMEOUT} s")
        time.sleep(0.05)


def workers_of(master: int) -> set[int]:
    """The child processes of a process."""
    try:
        return set(map(int, Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii").split()))
    except OSError:  # it has ended
        return set()
