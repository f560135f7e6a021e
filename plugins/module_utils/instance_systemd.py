# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A release's instance as a systemd unit of its own, so that two releases can run side by side."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, unit_properties
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import ReleaseError, Tree

UNITS = Path("/etc/systemd/system")
WANTS = UNITS / "multi-user.target.wants"


@dataclass(frozen=True, order=True)
class SystemdInstance:
    """The unit ``<app>@<release>.service``; its file is the release's ``app.service``. It is there only while it shall run."""

    tree: Tree
    release: str
    FILE = "app.service"

    @property
    def name(self) -> str:
        """The unit's name."""
        return f"{self.tree.app}@{self.release}.service"

    @classmethod
    def active(cls, tree: Tree) -> set[SystemdInstance]:
        """The instances of an app that run, or would after a boot."""
        states = "--state=active,activating,deactivating,failed"
        listed = run("systemctl", "list-units", "--plain", "--no-legend", states, f"{tree.app}@*.service").stdout
        running = [line.split()[0] for line in listed.splitlines() if line.strip()]
        enabled = [path.name for path in WANTS.glob(f"{tree.app}@*.service")]
        return {cls(tree, unit.partition("@")[2].removesuffix(".service")) for unit in [*running, *enabled]}

    def start(self) -> None:
        """Install, enable and start the unit. Raises ``ReleaseError`` where it does not start."""
        shutil.copyfile(self.tree.release(self.release).path / self.FILE, UNITS / self.name)
        (UNITS / self.name).chmod(0o644)
        WANTS.mkdir(exist_ok=True)
        if not (WANTS / self.name).is_symlink():
            (WANTS / self.name).symlink_to(UNITS / self.name)  # what `systemctl enable` does, without its reload
        # systemd reads a unit that is new to it without a reload, which takes a third of a second
        if unit_properties(self.name, "NeedDaemonReload").get("NeedDaemonReload") == "yes":
            run("systemctl", "daemon-reload")
        run("systemctl", "reset-failed", self.name)
        if run("systemctl", "start", self.name).returncode:
            raise ReleaseError(f"{self.name} does not start ({unit_properties(self.name, 'Result').get('Result', 'unknown')})")

    def is_up(self) -> bool:
        """Tell whether it runs, and would after a boot."""
        return self.state() == "active" and (WANTS / self.name).exists()

    def state(self) -> str:
        """What systemd says of it, such as ``active`` or ``failed``."""
        return unit_properties(self.name, "ActiveState").get("ActiveState", "unknown")

    def stop(self) -> None:
        """Stop it and remove its unit; systemd waits until it has answered what it was asked, or its stop timeout is over."""
        (WANTS / self.name).unlink(missing_ok=True)
        run("systemctl", "stop", self.name)
        run("systemctl", "reset-failed", self.name)
        (UNITS / self.name).unlink(missing_ok=True)

    @staticmethod
    def forget(tree: Tree) -> None:
        """Let systemd forget that the app ever had units."""
        run("systemctl", "daemon-reload")
        # systemd made it for the app's units, and would keep it, empty, till the next boot
        run("systemctl", "stop", "system-" + tree.app.replace("-", r"\x2d") + ".slice")

    def log(self) -> str:
        """The last lines that it wrote."""
        return run("journalctl", f"--unit={self.name}", "--lines=80", "--output=cat", "--no-pager").stdout.strip()
