# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Activate a release: start its instance, ask for its health, flip ``current``, stop what served before."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils import strategy_blue_green, strategy_reload
from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, unit_properties
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import (
    FAILED_MARK,
    UNIT_FILE,
    Release,
    ReleaseError,
    Tree,
    hide_secrets,
)

UNITS = Path("/etc/systemd/system")
WANTS = UNITS / "multi-user.target.wants"
STRATEGIES = {"blue_green": strategy_blue_green.switch, "reload": strategy_reload.switch}


def strategy_of(release: Release) -> str:
    """``blue_green`` where each release has a socket of its own, ``reload`` where they share a TCP port."""
    return "blue_green" if release.facts()["listen"].startswith("unix:") else "reload"


def is_live(release: Release) -> bool:
    """Tell whether this release is the one that serves, now and after a boot."""
    live = release.tree.live()
    return (
        live is not None
        and live.name == release.name
        and (WANTS / release.unit).exists()
        and unit_properties(release.unit, "ActiveState").get("ActiveState") == "active"
        and not other_instances(release)
    )


def activate(release: Release, front: dict[str, Any] | None) -> None:
    """Make this release the live one. ``front`` says how to ask for it through the front; ``None`` skips that.

    Raises ``ReleaseError``; the release that was live before is live again then, and this one is marked failed.
    """
    before = release.tree.live()
    was_live = before is not None and before.name == release.name  # then it only has to be started again
    try:
        STRATEGIES[strategy_of(release)](Switch(release, None if was_live else before, front))
    except ReleaseError as error:
        log = instance_log(release)
        if not was_live:
            _go_back(release, before)
            release.mark_failed(str(error), log)
        raise ReleaseError(str(error), log) from None
    for unit in other_instances(release):
        stop_unit(unit)


class Switch:
    """The steps that a strategy puts into an order."""

    def __init__(self, release: Release, before: Release | None, front: dict[str, Any] | None) -> None:
        self.release = release
        self.before = before
        self.front = front

    def start_new(self) -> None:
        """Start the new release's instance and wait until it is healthy on its own socket."""
        start_instance(self.release)

    def flip(self) -> None:
        """Point ``current`` to the new release."""
        self.release.tree.point_current_to(self.release)

    def verify(self) -> None:
        """Ask for the app through the front, as its users do."""
        if self.front:
            wait_for_health(self.release, self.front["address"], self.front["host"], self.release.facts()["health_timeout"])

    def stop_old(self) -> None:
        """Stop the instance that served before, once it has answered what it was asked."""
        if self.before is not None:
            stop_unit(self.before.unit)


def start_instance(release: Release) -> None:
    """Install, enable and start a release's unit and wait until it answers its health path.

    Raises ``ReleaseError`` where it does not start or does not answer in its health timeout.
    """
    shutil.copyfile(release.path / UNIT_FILE, UNITS / release.unit)
    (UNITS / release.unit).chmod(0o644)
    WANTS.mkdir(exist_ok=True)
    if not (WANTS / release.unit).is_symlink():
        (WANTS / release.unit).symlink_to(UNITS / release.unit)  # what `systemctl enable` does, without its reload
    # systemd reads a unit that is new to it without a reload, which takes a third of a second
    if unit_properties(release.unit, "NeedDaemonReload").get("NeedDaemonReload") == "yes":
        run("systemctl", "daemon-reload")
    run("systemctl", "reset-failed", release.unit)
    started = run("systemctl", "start", release.unit)
    if started.returncode:
        raise ReleaseError(f"{release.unit} does not start")
    facts = release.facts()
    address = facts["listen"].replace("unix:", f"unix:{release.path}/")
    wait_for_health(release, address, facts["health_host"], facts["health_timeout"])


def wait_for_health(release: Release, address: str, host: str, timeout: float) -> None:
    """Ask for the health path until it answers 2xx; ``address`` is ``unix:/path`` or ``host:port``, ``timeout`` in seconds.

    Raises ``ReleaseError`` with the last answer, at once where the instance is dead.
    """
    facts = release.facts()
    path = facts["mount"].rstrip("/") + facts["health_path"]
    deadline = time.monotonic() + timeout
    while True:
        answer = ask(address, host, path, timeout)
        if answer.startswith("2"):
            return
        state = unit_properties(release.unit, "ActiveState").get("ActiveState")
        if state != "active":
            raise ReleaseError(f"{release.unit} died after its start (it is {state})")
        if time.monotonic() > deadline:
            raise ReleaseError(f"{path} at {address} did not get healthy in {timeout:g} s: {answer}")
        time.sleep(0.05)


def ask(address: str, host: str, path: str, timeout: float) -> str:
    """Send one GET and return the status line's code and reason, or what went wrong."""
    connection = http.client.HTTPConnection("localhost", timeout=timeout)
    try:
        if address.startswith("unix:"):
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(timeout)
            connection.sock.connect(address[len("unix:"):])
        else:
            name, _colon, port = address.rpartition(":")
            connection.sock = socket.create_connection((name.strip("[]"), int(port)), timeout)
        connection.request("GET", path, headers={"Host": host, "Connection": "close", "User-Agent": "flaskops-health"})
        answer = connection.getresponse()
        return f"{answer.status} {answer.reason}"
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def other_instances(release: Release) -> list[str]:
    """The units of this app that are enabled or running and are not this release's."""
    enabled = {path.name for path in WANTS.glob(f"{release.tree.app}@*.service")}
    return sorted((enabled | running_instances(release.tree)) - {release.unit})


def running_instances(tree: Tree) -> set[str]:
    """The units of this app that run."""
    listed = run("systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating,deactivating,failed", f"{tree.app}@*.service")
    return {line.split()[0] for line in listed.stdout.splitlines() if line.strip()}


def stop_unit(unit: str) -> None:
    """Stop and disable a unit; systemd waits until it has answered what it was asked, or its stop timeout is over."""
    (WANTS / unit).unlink(missing_ok=True)
    run("systemctl", "stop", unit)
    run("systemctl", "reset-failed", unit)


def remove_unit(unit: str) -> None:
    """Stop a unit and remove its file; call ``systemctl daemon-reload`` after the last one."""
    stop_unit(unit)
    (UNITS / unit).unlink(missing_ok=True)


def instance_log(release: Release) -> str:
    """The last lines that a release's instance wrote, without its secrets."""
    written = run("journalctl", f"--unit={release.unit}", "--lines=80", "--output=cat", "--no-pager").stdout.strip()
    return hide_secrets(written, release.secrets())


def prune(tree: Tree, keep: int) -> list[str]:
    """Remove all but the newest ``keep`` releases and the venvs that none of the rest needs; returns what went.

    What is live or still runs always stays.
    """
    releases = [one for one in tree.complete_releases() if not one.has_failed()]
    failed = sorted(tree.releases.glob(f"*/{FAILED_MARK}"), key=lambda mark: mark.stat().st_mtime)
    live, busy = tree.live(), running_instances(tree)
    held = {one.name for one in releases[-keep:]} | {mark.parent.name for mark in failed[-keep:]}
    held |= {live.name} if live else set()
    removed = []
    for path in sorted(tree.releases.iterdir()):
        unit = tree.release(path.name).unit
        if path.name not in held and unit not in busy:
            remove_unit(unit)
            shutil.rmtree(path)
            removed.append(path.name)
    used = {os.path.basename(os.readlink(link)) for link in tree.releases.glob("*/.venv")}
    for path in tree.venvs.iterdir():
        if path.name not in used:
            shutil.rmtree(path)
    return removed


def _go_back(release: Release, before: Release | None) -> None:
    stop_unit(release.unit)
    if before is None:
        release.tree.current.unlink(missing_ok=True)
        return
    live = release.tree.live()
    if live is None or live.name != before.name:
        release.tree.point_current_to(before)
    if unit_properties(before.unit, "ActiveState").get("ActiveState") != "active" or not (WANTS / before.unit).exists():
        start_instance(before)
