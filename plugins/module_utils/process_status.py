# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an app's workers and jobs are, as systemd tells it, and what they have written."""

from __future__ import annotations

import re

from ansible_collections.flaskops.hosting.plugins.module_utils.instance_systemd import journal, show_units
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_worker import WorkerInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.jobs import unit_of
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, hide_secrets


def workers(running: list[WorkerInstance]) -> dict[str, dict[str, str]]:
    """The state of each worker, how often it was started again by itself, and since when it is so."""
    shown = show_units([one.name for one in running], "ActiveState", "SubState", "NRestarts", "StateChangeTimestamp")
    found = {}
    for one in running:
        unit = shown.get(one.name, {})
        state = unit.get("ActiveState", "unknown")
        again = "restarting" if unit.get("SubState") == "auto-restart" else state
        found[one.facts.name] = {"state": again, "restarts": unit.get("NRestarts", ""), "since": unit.get("StateChangeTimestamp", "")}
    return found


def jobs(release: Release) -> dict[str, dict[str, str]]:
    """The state of each job, when it last began, how that ended, and when it will run next."""
    names = {job: (unit_of(release.tree, job), unit_of(release.tree, job, "timer")) for job in release.facts().jobs}
    shown = show_units([unit for pair in names.values() for unit in pair], "ActiveState", "Result", "LastTriggerUSec", "NextElapseUSecRealtime")
    found = {}
    for job, (service, timer) in names.items():
        unit, times = shown.get(service, {}), shown.get(timer, {})
        runs = unit.get("ActiveState") == "activating"
        last = times.get("LastTriggerUSec", "")
        result = unit.get("Result", "") if last and not runs else ""
        found[job] = {"state": "runs" if runs else "waits", "last": last, "result": result, "next": times.get("NextElapseUSecRealtime", "")}
    return found


def log_of(release: Release, process: str, lines: int) -> list[str]:
    """The last lines of a worker or a job in all releases, without their secrets."""
    written = journal(_pattern(release, process), lines, times=True)
    for one in release.tree.complete_releases():
        written = hide_secrets(written, one.secrets())
    return written.splitlines()


def follow(release: Release, process: str) -> str:
    """The command that shows what a worker or a job writes from now on, as root's shell takes it."""
    return f"journalctl --follow --unit='{_pattern(release, process)}'"


def names(release: Release) -> list[str]:
    """The workers and the jobs of a release."""
    instances = [one.name for one in release.facts().instances if one.manager == "worker"]
    return [*dict.fromkeys(re.sub(r"-\d+$", "", one) for one in instances), *release.facts().jobs]


def _pattern(release: Release, process: str) -> str:
    if process in release.facts().jobs:
        return unit_of(release.tree, process)
    return f"{release.tree.app}.{process}-[0-9]*@*"
