# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An instance under systemd."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, unit_properties
from ansible_collections.flaskops.hosting.plugins.module_utils.record import InstanceFacts
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, Tree
from ansible_collections.flaskops.hosting.plugins.module_utils.workers import replace_workers

UNITS = Path("/etc/systemd/system")
WANTS = UNITS / "multi-user.target.wants"
CONTROL_GROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")  # version 2, version 1, and both at once


@dataclass(frozen=True)
class SystemdInstance:
    """The unit ``<app>@<release>.service``; its file is one of the release's. It is there only while it is to run."""

    ALIVE = frozenset({"active", "activating", "deactivating", "failed", "reloading"})

    release: Release
    facts: InstanceFacts

    @property
    def name(self) -> str:
        """The unit's name."""
        return f"{self.release.tree.app}@{self.release.name}.service"

    @classmethod
    def active(cls, instances: Iterable[SystemdInstance]) -> list[SystemdInstance]:
        """Those of the instances that run, or would after a boot. Other units are not ours."""
        known = {one.name: one for one in instances}
        if not known:
            return []
        alive = {name for name, state in show_units(known, "ActiveState").items() if state.get("ActiveState") in cls.ALIVE}
        return [one for name, one in known.items() if name in alive or (WANTS / name).is_symlink()]

    def start(self) -> None:
        """Install, enable and start the unit. Raises ``ReleaseError`` if it does not start."""
        self._install()
        if run("systemctl", "start", self.name).returncode:
            raise ReleaseError(f"{self.name} does not start ({unit_properties(self.name, 'Result').get('Result', 'unknown')})")

    def _install(self) -> None:
        """Have the unit on the host, as its release has it, so that it runs after each boot."""
        own, there = self.release.path / self.facts.file, UNITS / self.name
        if not (there.exists() and filecmp.cmp(own, there, shallow=False)):  # a newer file of the same content would need a reload
            shutil.copyfile(own, there)
            there.chmod(0o644)
        WANTS.mkdir(exist_ok=True)
        if not (WANTS / self.name).is_symlink():
            (WANTS / self.name).symlink_to(UNITS / self.name)  # what `systemctl enable` does, without its reload
        # systemd reads a unit that is new to it without a reload, which takes a third of a second
        if unit_properties(self.name, "NeedDaemonReload").get("NeedDaemonReload") == "yes":
            run("systemctl", "daemon-reload")
        run("systemctl", "reset-failed", self.name)

    def is_up(self) -> bool:
        """Return whether it runs, and would after a boot."""
        return self.state() == "active" and (WANTS / self.name).exists()

    def state(self) -> str:
        """What systemd says of it, such as ``active`` or ``failed``."""
        return unit_properties(self.name, "ActiveState").get("ActiveState", "unknown")

    def stop(self) -> None:
        """Stop it and remove its unit; systemd waits until it has completed its requests, or its stop timeout is over."""
        (WANTS / self.name).unlink(missing_ok=True)
        run("systemctl", "stop", self.name)
        run("systemctl", "reset-failed", self.name)
        (UNITS / self.name).unlink(missing_ok=True)

    @staticmethod
    def forget(tree: Tree) -> None:
        """Let systemd forget that the app ever had units."""
        run("systemctl", "daemon-reload")
        # systemd made it for the app's units, and would keep it, empty, until the next boot; somebody else's unit may be in it
        prefix = tree.app.replace("-", r"\x2d")
        group = unit_properties(f"system-{prefix}.slice", "ControlGroup").get("ControlGroup", "")
        if group and not any(path.is_dir() for root in CONTROL_GROUPS for path in Path(f"{root}{group}").glob("*")):
            run("systemctl", "stop", f"system-{prefix}.slice")

    def restart(self) -> None:
        """Have a server with workers replace them; one that does not tell systemd when it is ready has none, and is restarted."""
        found = unit_properties(self.name, "MainPID", "Type")
        if found.get("Type") == "notify" and found.get("MainPID", "0") != "0":
            replace_workers(int(found["MainPID"]), self.name, self.state)
        elif run("systemctl", "restart", self.name).returncode:
            raise ReleaseError(f"{self.name} does not start")

    def log(self, lines: int = 80, times: bool = False) -> str:
        """The last lines that it wrote."""
        return journal(self.name, lines, times)

    @property
    def follow(self) -> str:
        """The journal of the app's releases, the next ones included."""
        return f"journalctl --follow --unit='{self.release.tree.app}@*'"


def journal(unit: str, lines: int, times: bool) -> str:
    """The last lines that a unit, or those of a pattern, wrote, with their ``times``."""
    output = "short-iso" if times else "cat"
    words = ["--no-hostname", "--no-pager", "--quiet", "--all"]  # else it hides lines with colours
    return run("journalctl", f"--unit={unit}", f"--lines={lines}", f"--output={output}", *words).stdout.strip()


def show_units(names: Iterable[str], *properties: str) -> dict[str, dict[str, str]]:
    """What systemd says of units, by their names."""
    listed = list(names)
    if not listed:
        return {}
    shown = run("systemctl", "show", f"--property={','.join(['Id', *properties])}", *listed).stdout
    units = [dict(line.split("=", 1) for line in unit.splitlines() if "=" in line) for unit in shown.split("\n\n")]
    return {unit.get("Id", ""): unit for unit in units}
