# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A worker of a release, under systemd. It may take long to end, so nothing here waits for that."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, unit_properties
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_systemd import UNITS, WANTS, SystemdInstance, show_units
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import LOCKS, Release, ReleaseError, Tree, hide_secrets

ENDED = ("inactive", "failed")
LOOK_EACH = 0.25  # seconds
GIVEN_TO_END = 60  # seconds that a worker has if its release's directory goes


@dataclass(frozen=True)
class WorkerInstance(SystemdInstance):
    """The unit ``<app>.<worker>-<number>@<release>.service``: the dot is in no app's name.

    Its file stays until it has ended: without it, its limits go with systemd's next reload.
    """

    # one that is asked to end runs no more, however long it takes to end; nor does one that took too long for that
    ALIVE = frozenset({"active", "activating", "reloading"})

    @property
    def name(self) -> str:
        """The unit's name."""
        return f"{self.release.tree.app}.{self.facts.name}@{self.release.name}.service"

    def start(self) -> None:
        """Install and enable the unit, and have systemd start it: one that is asked to end starts again when it has."""
        self._install()
        run("systemctl", "start", "--no-block", self.name)

    def stop(self) -> None:
        """Have it end when it has completed what it does, and start no more; ``clean`` removes its unit."""
        (WANTS / self.name).unlink(missing_ok=True)
        tell_to_end([self])

    def restart(self) -> None:
        """Have it end when it has completed what it does, and start again."""
        run("systemctl", "restart", "--no-block", self.name)

    @staticmethod
    def forget(tree: Tree) -> None:
        """Nothing: systemd keeps nothing of such a unit."""

    @property
    def follow(self) -> str:
        """The journal of this worker in all releases."""
        return f"journalctl --follow --unit='{self.release.tree.app}.{self.facts.name}@*'"


def tell_to_end(workers: Iterable[WorkerInstance]) -> None:
    """Tell workers to end when they have completed what they do, without waiting for that."""
    names = [one.name for one in workers]
    if names:
        run("systemctl", "stop", "--no-block", *names)


def let_run(release: Release, may: bool) -> None:
    """Set or remove root's mark that lets the workers of a release run though it is not live. A boot removes it."""
    mark = LOCKS / f".{release.tree.app}@{release.name}"
    if may:
        LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.touch()
    else:
        mark.unlink(missing_ok=True)


def start_and_settle(workers: list[WorkerInstance]) -> None:
    """Start workers, and see that each runs for its ``settle`` seconds without ending.

    One that is still completing what it was asked to end with has proved itself, and is only asked to start again. Raises ``ReleaseError``.
    """
    states = {one.name: unit_properties(one.name, "ActiveState", "NRestarts") for one in workers}
    for one in workers:
        one.start()
    watched = [one for one in workers if states[one.name].get("ActiveState") != "deactivating"]
    if not watched:
        return
    run("systemctl", "start", *(one.name for one in watched))  # waits until each has begun
    began = time.monotonic()
    while True:
        passed = time.monotonic() - began
        shown = show_units([one.name for one in watched], "ActiveState", "NRestarts", "ExecMainCode", "ExecMainStatus")
        for one in watched:
            state, before = shown.get(one.name, {}), states[one.name]
            restarts = int(before.get("NRestarts") or 0) if before.get("ActiveState") == "active" else 0
            if state.get("ActiveState") != "active" or int(state.get("NRestarts") or 0) > restarts:
                raise _does_not_run(one, state)
        watched = [one for one in watched if one.facts.settle > passed]
        if not watched:
            return
        time.sleep(LOOK_EACH)


def _does_not_run(one: WorkerInstance, state: dict[str, str]) -> ReleaseError:
    code = state.get("ExecMainStatus", "")  # none if it has been started again by now: then its log tells
    how = {"1": f" with code {code}", "2": f" by signal {code}", "3": f" by signal {code}"}.get(state.get("ExecMainCode", ""), "")
    log = hide_secrets(one.log(), one.release.secrets())
    settle = f", and must run for {one.facts.settle:g} s without that" if one.facts.settle else ""
    return ReleaseError(f"the worker {one.facts.name} ended{how}{settle}", log)


def end_now(workers: list[WorkerInstance]) -> None:
    """Have workers end whose release goes, and wait for them; those that do not end in time are killed."""
    for one in workers:
        one.stop()
    deadline = time.monotonic() + GIVEN_TO_END
    left = [one.name for one in workers]
    while left := [name for name, state in show_units(left, "ActiveState").items() if state.get("ActiveState") not in ENDED]:
        if time.monotonic() > deadline:
            run("systemctl", "kill", "--signal=SIGKILL", *left)
            run("systemctl", "stop", *left)
            break
        time.sleep(LOOK_EACH)
    clean(workers)


def clean(workers: Iterable[WorkerInstance]) -> None:
    """Remove the units of those of the workers that have ended and are not to run after a boot."""
    there = [one.name for one in workers if has_unit(one) and not (WANTS / one.name).is_symlink()]
    for name, state in show_units(there, "ActiveState").items():
        if state.get("ActiveState") in ENDED:
            run("systemctl", "reset-failed", name)
            (UNITS / name).unlink(missing_ok=True)


def has_unit(worker: WorkerInstance) -> bool:
    """Tell whether the worker's unit is on the host: it runs, or has not been cleaned up after."""
    return (UNITS / worker.name).exists()
