# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A release's instance as a program of supervisord, one for each release as with systemd."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run
from ansible_collections.flaskops.hosting.plugins.module_utils.record import InstanceFacts
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, Tree
from ansible_collections.flaskops.hosting.plugins.module_utils.workers import replace_workers

PROGRAMS = Path("/etc/supervisor/conf.d")
ALIVE = ("RUNNING", "STARTING")
SUPERVISORD_TIMEOUT = 10  # seconds until it answers after its start


@dataclass(frozen=True)
class SupervisordInstance:
    """The program ``<app>@<release>``; its file is one of the release's. It is there only while it is to run."""

    release: Release
    facts: InstanceFacts

    @property
    def name(self) -> str:
        """The program's name."""
        return f"{self.release.tree.app}@{self.release.name}"

    @property
    def _file(self) -> Path:
        return PROGRAMS / f"{self.name}.conf"

    @classmethod
    def active(cls, instances: Iterable[SupervisordInstance]) -> list[SupervisordInstance]:
        """Those of the instances that supervisord knows: it runs them, now and after a boot."""
        return [one for one in instances if one._file.exists()]

    def start(self) -> None:
        """Tell supervisord of the program, which starts it. Raises ``ReleaseError`` if it does not start."""
        PROGRAMS.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.release.path / self.facts.file, self._file)
        run("systemctl", "enable", "--now", "supervisor.service")
        self._update()
        if self.state() != "active":
            run("supervisorctl", "start", self.name)
        if self.state() == "failed":
            raise ReleaseError(f"{self.name} does not start under supervisord")

    def is_up(self) -> bool:
        """Return whether it runs, and would after a boot."""
        return self._file.exists() and self.state() == "active"

    def state(self) -> str:
        """What supervisord says of it, in systemd's words: ``active`` or ``failed``."""
        words = run("supervisorctl", "status", self.name).stdout.split()
        return "active" if len(words) > 1 and words[1] in ALIVE else "failed"

    def stop(self) -> None:
        """Stop it, so that it is not started again; supervisord waits until it has completed its requests."""
        if self._file.exists():
            self._file.unlink()
            run("supervisorctl", "update", self.name)

    @staticmethod
    def forget(_tree: Tree) -> None:
        """Stop supervisord if no program is left for it; what the app's programs wrote goes with their releases."""
        if not any(PROGRAMS.glob("*.conf")):
            run("systemctl", "disable", "--now", "supervisor.service")

    def restart(self) -> None:
        """Have the server replace its workers."""
        shown = run("supervisorctl", "pid", self.name).stdout.strip()
        if not shown.isdigit() or shown == "0":
            raise ReleaseError(f"{self.name} does not run under supervisord")
        replace_workers(int(shown), self.name, self.state)

    def log(self, lines: int = 80, times: bool = False) -> str:
        """The last lines that it wrote; supervisord notes no times."""
        return run("tail", f"--lines={lines}", str(self.release.path / "supervisor.log")).stdout.strip()

    @property
    def follow(self) -> str:
        """The log of the live release."""
        return f"tail --follow=name {self.release.tree.current}/supervisor.log"

    def _update(self) -> None:
        deadline = time.monotonic() + SUPERVISORD_TIMEOUT
        while (done := run("supervisorctl", "update", self.name)).returncode:  # one that was just started does not listen yet
            if time.monotonic() > deadline:
                raise ReleaseError(f"supervisord rejects {self.name}: {done.stdout.strip()}")
