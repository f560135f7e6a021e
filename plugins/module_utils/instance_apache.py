# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app's instance as mod_wsgi's daemon processes, which are Apache's own children and read ``current`` when they start."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, unit_properties
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import ReleaseError, Tree

APACHE = "apache2.service"
SITES = Path("/etc/apache2/flaskops")  # where each app has a file for each site that it is on
LOAD_TIMEOUT = 5  # seconds till a daemon process has loaded its release
DRAIN_TIMEOUT = 600  # seconds till those that were told to end have ended; mod_wsgi's own timeouts are far shorter
MARK = "daemon-"  # the release's WSGI script notes the process that it was loaded by, in run/


@dataclass(frozen=True, order=True)
class ApacheInstance:
    """The daemon processes that have loaded a release."""

    tree: Tree
    release: str

    @property
    def name(self) -> str:
        """What people call it."""
        return f"mod_wsgi's daemon process of {self.tree.app}@{self.release}"

    @classmethod
    def active(cls, tree: Tree) -> set[ApacheInstance]:
        """The releases of an app that a daemon process has loaded."""
        if not tree.releases.is_dir():
            return set()
        return {found for found in (cls(tree, path.name) for path in tree.releases.iterdir()) if found._daemons_with_it()}

    def start(self) -> None:
        """Let the daemon processes start anew, each when it has answered what it was asked; wait until they have this release.

        Raises ``ReleaseError`` where they have not after the health timeout.
        """
        timeout = self.tree.release(self.release).facts()["health_timeout"]
        self._wait_till_loaded()  # one that has just been forked does not hear its signals yet
        stale = self._daemons() - self._daemons_with_it()
        _tell(stale)
        if not self._daemons():
            run("systemctl", "try-reload-or-restart", APACHE)  # Apache has not known the app's daemon processes yet
        _wait(lambda: not self._daemons() & stale, DRAIN_TIMEOUT)
        if self.state() != "active" or not _wait(self._daemons_with_it, timeout):
            raise ReleaseError(f"{self.name} does not start: Apache has started none that loads it in {timeout} s")

    def is_up(self) -> bool:
        """Tell whether all daemon processes have this release, and Apache starts after a boot."""
        found = unit_properties(APACHE, "ActiveState", "UnitFileState")
        if found != {"ActiveState": "active", "UnitFileState": "enabled"}:
            return False
        self._wait_till_loaded()
        daemons = self._daemons()
        return bool(daemons) and daemons == self._daemons_with_it()

    def state(self) -> str:
        """Apache's own state, such as ``active``: it starts a daemon process that died again."""
        return unit_properties(APACHE, "ActiveState").get("ActiveState", "unknown")

    def stop(self) -> None:
        """Let the daemon processes that have this release end, and wait till they have answered what they were asked.

        Apache replaces them, with what ``current`` names then, unless the app is not in its configuration any more.
        """
        told = self._daemons_with_it()
        _tell(told)
        _wait(lambda: not self._daemons() & told, DRAIN_TIMEOUT)

    @staticmethod
    def forget(tree: Tree) -> None:
        """Let Apache see that nothing of the app is live, so that it replaces no daemon process any more, where it knows the app."""
        if any(SITES.glob(f"*/??-{tree.app}.conf")):
            run("systemctl", "try-reload-or-restart", APACHE)

    def log(self) -> str:
        """The last lines that its processes wrote into the site's log, each once: every request loads a broken app anew."""
        lines = run("tail", "--lines=1000", self.tree.release(self.release).facts()["log"]).stdout.splitlines()
        mine = "|".join(map(str, self._marked())) or "none"
        found = [re.sub(rf"^.*?\[pid (?:{mine})(?::tid \d+)?\] (?:\[(?:client|remote) \S+\] )?", "", line, count=1) for line in lines]
        return "\n".join(list(dict.fromkeys(new for new, line in zip(found, lines) if new != line))[-80:])

    def _daemons(self) -> set[int]:
        """The app's daemon processes: Apache's children with the app's account. Their names are cut, so they tell nothing."""
        release = self.tree.release(self.release)
        parent = int(unit_properties(APACHE, "MainPID").get("MainPID") or 0)
        try:
            uid = pwd.getpwnam(release.facts()["user"]).pw_uid if release.is_complete() else -1
        except KeyError:
            return set()
        return {process for process in _children(parent) if _uid(process) == uid} if parent else set()

    def _wait_till_loaded(self) -> None:
        """Wait for daemon processes that a reload of Apache has just started, till each has loaded some release."""
        _wait(lambda: self._daemons() <= self._marked("*"), LOAD_TIMEOUT)

    def _daemons_with_it(self) -> set[int]:
        return self._marked() & self._daemons()

    def _marked(self, release: str = "") -> set[int]:
        """The processes that have once loaded this release, or those that a pattern names."""
        return {int(mark.name.removeprefix(MARK)) for mark in self.tree.releases.glob(f"{release or self.release}/run/{MARK}*")}


def _tell(processes: set[int]) -> None:
    """Let daemon processes end when they have answered what they were asked."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGUSR1)


def _wait(holds: Callable[[], Any], seconds: float) -> bool:
    """Wait until something holds; tells whether it did in this time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _children(parent: int) -> set[int]:
    try:
        return set(map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()))
    except OSError:
        return set()


def _uid(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return -1  # it has ended in between
    return next(int(line.split()[1]) for line in lines if line.startswith("Uid:"))
