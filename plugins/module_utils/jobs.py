# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The jobs of an app: a service and a timer of systemd for each, whose names are the same in each release."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, unit_properties
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_systemd import UNITS, show_units
from ansible_collections.flaskops.hosting.plugins.module_utils.record import Record
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, Tree

TIMERS = UNITS / "timers.target.wants"
STAMPS = Path("/var/lib/systemd/timers")  # when a persistent timer last ran, by its name
KINDS = ("service", "timer")
# Added to the service of a job that runs while it is removed.
GOES_WHEN_IT_ENDS = """
[Unit]
CollectMode=inactive-or-failed

[Service]
ExecStopPost=+/bin/rm --force {unit}
"""


def unit_of(tree: Tree, job: str, kind: str = "service") -> str:
    """The name of a job's unit."""
    return f"{tree.app}.{job}.{kind}"


def on_host(tree: Tree, record: Record | None, *releases: Release | None) -> set[str]:
    """The jobs on the host that the record or one of these releases names: nothing is the app's by its name alone."""
    named = {job for release in releases if release for job in release.facts().jobs} | set(record.jobs if record else [])
    return {job for job in named if any((UNITS / unit_of(tree, job, kind)).exists() for kind in KINDS)}


def refuse_foreign(release: Release, tree: Tree, ours: set[str]) -> None:
    """Raise ``ReleaseError`` if a unit of the release's jobs is on the host and is somebody else's; ``ours`` are those that are noted."""
    for job in release.facts().jobs:
        foreign = [unit_of(tree, job, kind) for kind in KINDS if job not in ours and (UNITS / unit_of(tree, job, kind)).exists()]
        if foreign:
            raise ReleaseError(
                f"jobs: {UNITS / foreign[0]} is on this host, and is not this app's; give the job {job!r} another name, or remove that unit"
            )


def are_of(release: Release | None, tree: Tree, there: Iterable[str]) -> bool:
    """Tell whether the jobs ``there`` on the host are this release's, or none, and their timers run. One that was removed may still be running."""
    wanted = release.facts().jobs if release else []
    timers = {job: unit_of(tree, job, "timer") for job in {*wanted, *there}}
    if {job for job, timer in timers.items() if (UNITS / timer).exists()} != set(wanted):
        return False
    if any(_text(release, job, kind) != _there(tree, job, kind) for job in wanted for kind in KINDS):
        return False
    shown = show_units([one for job in wanted for one in (timers[job], unit_of(tree, job))], "ActiveState", "NeedDaemonReload")
    if any(state.get("NeedDaemonReload") == "yes" for state in shown.values()):
        return False  # who changed them was killed before systemd has read them
    return all((TIMERS / timers[job]).is_symlink() and shown.get(timers[job], {}).get("ActiveState") == "active" for job in wanted)


def change_to(release: Release | None, tree: Tree, there: set[str]) -> None:
    """Have the jobs ``there`` on the host be those of a release, or none. What runs goes on, and each next run is the release's.

    Raises ``ReleaseError``.
    """
    wanted = set(release.facts().jobs) if release else set()
    for job in sorted(there - wanted):
        _remove(tree, job)
    if there <= wanted and are_of(release, tree, there):
        return
    for job in sorted(wanted):
        for kind in KINDS:
            if _text(release, job, kind) != _there(tree, job, kind):
                path = UNITS / unit_of(tree, job, kind)
                path.write_text(_text(release, job, kind), encoding="utf-8")
                path.chmod(0o644)
        TIMERS.mkdir(exist_ok=True)
        link = TIMERS / unit_of(tree, job, "timer")
        if not link.is_symlink():
            link.symlink_to(UNITS / link.name)
    run("systemctl", "daemon-reload")
    timers = [unit_of(tree, job, "timer") for job in sorted(wanted)]
    if timers and run("systemctl", "start", *timers).returncode:
        raise ReleaseError(f"systemd does not start {' or '.join(timers)}")


def _remove(tree: Tree, job: str) -> None:
    """Remove a job. One that runs may end: its service stays as long, so that its limits do, and goes when it ends."""
    timer, service = unit_of(tree, job, "timer"), unit_of(tree, job)
    run("systemctl", "stop", timer)
    (TIMERS / timer).unlink(missing_ok=True)
    (UNITS / timer).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (STAMPS / f"stamp-{timer}").unlink()
    unit = UNITS / service
    if unit_properties(service, "ActiveState").get("ActiveState") in ("inactive", "failed"):
        run("systemctl", "reset-failed", service)
        unit.unlink(missing_ok=True)
    elif unit.exists() and not unit.read_text(encoding="utf-8").endswith(GOES_WHEN_IT_ENDS.format(unit=unit)):
        with unit.open("a", encoding="utf-8") as file:
            file.write(GOES_WHEN_IT_ENDS.format(unit=unit))


def remove_now(tree: Tree, there: set[str]) -> None:
    """Remove the jobs of an app that goes; what runs is ended."""
    services = [unit_of(tree, job) for job in sorted(there)]
    if services:
        run("systemctl", "stop", *(unit_of(tree, job, "timer") for job in sorted(there)))  # so that nothing begins now
        run("systemctl", "kill", "--signal=SIGKILL", *services)
        run("systemctl", "stop", *services)
        change_to(None, tree, there)


def _text(release: Release | None, job: str, kind: str) -> str:
    return (release.path / f"job-{job}.{kind}").read_text(encoding="utf-8") if release else ""


def _there(tree: Tree, job: str, kind: str) -> str:
    path = UNITS / unit_of(tree, job, kind)
    return path.read_text(encoding="utf-8") if path.is_file() else ""
