# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app's instance as mod_wsgi's daemon processes, which are Apache's own children and read ``current`` when they start."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, unit_properties
from ansible_collections.flaskops.hosting.plugins.module_utils.record import InstanceFacts
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, Tree

APACHE = "apache2.service"
SITES = Path("/etc/apache2/flaskops")  # the directory in which each app has a file for each site that it is on
LOAD_TIMEOUT = 5  # seconds until a daemon process has loaded its release
DRAIN_TIMEOUT = 600  # seconds until those that were asked to end have ended; mod_wsgi's own timeouts are far shorter
MARK = "daemon-"  # the release's WSGI script notes its process in run/, and in that file that the app has loaded


@dataclass(frozen=True)
class ApacheInstance:
    """The daemon processes that have loaded a release."""

    release: Release
    facts: InstanceFacts

    @property
    def name(self) -> str:
        """What people call it."""
        return f"mod_wsgi's daemon process of {self.release.tree.app}@{self.release.name}"

    @classmethod
    def active(cls, instances: Iterable[ApacheInstance]) -> list[ApacheInstance]:
        """Those of the instances that a daemon process has loaded."""
        return [one for one in instances if one._daemons_with_it()]

    def start(self) -> None:
        """Let the daemon processes start anew, each when it has completed its requests: one half first, while the other serves.

        Raises ``ReleaseError`` if they have not loaded this release after the health timeout.
        """
        self._wait_till_loaded()  # one that has just been forked does not hear its signals yet
        if not self._daemons():
            run("systemctl", "try-reload-or-restart", APACHE)  # Apache has not known the app's daemon processes yet
            self._wait_for_more(set(), 1)
        self._replace_in_halves(self._daemons() - self._daemons_with_it())

    def restart(self) -> None:
        """Replace the daemon processes as ``start`` does, those with this release."""
        self._wait_till_loaded()
        self._replace_in_halves(self._daemons())

    def is_up(self) -> bool:
        """Return whether all daemon processes have this release, and Apache starts after a boot."""
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
        """Let the daemon processes that have this release end, and wait until they have completed their requests.

        Apache replaces them, with what ``current`` names then, unless the app is not in its configuration any more.
        """
        asked = self._daemons_with_it()
        _tell(asked)
        _wait(lambda: not self._daemons() & asked, DRAIN_TIMEOUT)

    @staticmethod
    def forget(tree: Tree) -> None:
        """Show Apache that the app has no live release, so that it starts no new daemon process for it."""
        if any(SITES.glob(f"*/??-{tree.app}.conf")):
            run("systemctl", "try-reload-or-restart", APACHE)

    def log(self, lines: int = 80, times: bool = False) -> str:
        """The last lines that its processes wrote into the site's log, each once: every request loads a broken app anew."""
        written = run("tail", f"--lines={max(1000, lines)}", self.facts.log).stdout.splitlines()
        mine = "|".join(map(str, self._marked())) or "none"
        prefix = rf"^(\[[^]]*\] ).*?\[pid (?:{mine})(?::tid \d+)?\] (?:\[(?:client|remote) \S+\] )?"
        found = [re.sub(prefix, r"\1" if times else "", line, count=1) for line in written]
        return "\n".join(list(dict.fromkeys(new for new, line in zip(found, written) if new != line))[-lines:])

    @property
    def follow(self) -> str:
        """The log of the site, which has other apps' lines too."""
        return f"tail --follow=name {self.facts.log}"

    def _daemons(self) -> set[int]:
        """The app's daemon processes: Apache's children with the app's account. Their names are cut off, so they are of no use."""
        parent = int(unit_properties(APACHE, "MainPID").get("MainPID") or 0)
        try:
            uid = pwd.getpwnam(self.release.facts().user).pw_uid
        except KeyError:
            return set()
        return {process for process in _children(parent) if _uid(process) == uid} if parent else set()

    def _replace_in_halves(self, processes: set[int]) -> None:
        ordered = sorted(processes)
        middle = (len(ordered) + 1) // 2
        self._replace(set(ordered[:middle]))
        self._replace(set(ordered[middle:]))

    def _replace(self, processes: set[int]) -> None:
        known = self._loaded()
        _tell(processes)
        _wait(lambda: not self._daemons() & processes, DRAIN_TIMEOUT)
        self._wait_for_more(known, len(processes))

    def _wait_for_more(self, known: set[int], number: int) -> None:
        """Wait for so many other daemon processes in which the app has loaded. Raises ``ReleaseError`` if there are none in time."""
        timeout = self.release.facts().health_timeout
        if self.state() != "active" or not _wait(lambda: len(self._loaded() - known) >= number, timeout):
            raise ReleaseError(f"{self.name} does not start: no daemon process of Apache has loaded it in {timeout:g} s")

    def _loaded(self) -> set[int]:
        """The daemon processes in which the app has loaded, to its last line."""
        run_directory = self.release.path / "run"
        return {process for process in self._daemons_with_it() if has_content(run_directory / f"{MARK}{process}")}

    def _wait_till_loaded(self) -> None:
        """Wait for daemon processes that a reload of Apache has just started, until each has loaded some release."""
        _wait(lambda: self._daemons() <= self._marked("*"), LOAD_TIMEOUT)

    def _daemons_with_it(self) -> set[int]:
        return self._marked() & self._daemons()

    def _marked(self, release: str = "") -> set[int]:
        """The processes that have once loaded this release, or those that a pattern names."""
        names = (mark.name.removeprefix(MARK) for mark in self.release.tree.releases.glob(f"{release or self.release.name}/run/{MARK}*"))
        return {int(name) for name in names if re.fullmatch("[0-9]{1,9}", name)}  # the app can make files of any name there


def _tell(processes: set[int]) -> None:
    """Let daemon processes end when they have completed their requests."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGUSR1)


def _wait(holds: Callable[[], Any], seconds: float) -> bool:
    """Wait until something holds; returns whether it did in this time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _children(parent: int) -> set[int]:
    return set(map(int, _content(Path(f"/proc/{parent}/task/{parent}/children")).split()))


def _uid(process: int) -> int:
    lines = _content(Path(f"/proc/{process}/status")).splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("Uid:")), -1)


def has_content(path: Path) -> bool:
    """Return whether a path of the app's is a file that is not empty; it may be anything, such as a pipe that nobody writes to."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size > 0


def _content(path: Path) -> str:
    """What a file contains; empty if its process has ended meanwhile."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
