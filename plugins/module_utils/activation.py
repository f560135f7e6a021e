# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Activate a release: start its instance, ask for its health, flip ``current``, stop what served before."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils import jobs, preflight, strategy_blue_green, strategy_in_place
from ansible_collections.flaskops.hosting.plugins.module_utils.command import remove_tree, run
from ansible_collections.flaskops.hosting.plugins.module_utils.health import ask
from ansible_collections.flaskops.hosting.plugins.module_utils.in_use import in_use
from ansible_collections.flaskops.hosting.plugins.module_utils.instance import Instance
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_apache import ApacheInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_supervisord import SupervisordInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_systemd import SystemdInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_worker import (
    WorkerInstance,
    clean,
    end_now,
    has_unit,
    let_run,
    start_and_settle,
)
from ansible_collections.flaskops.hosting.plugins.module_utils.record import InstanceFacts, Record
from ansible_collections.flaskops.hosting.plugins.module_utils.release_commands import check
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import (
    FAILED_MARK,
    Release,
    ReleaseError,
    Tree,
    hide_secrets,
)
from ansible_collections.flaskops.hosting.plugins.module_utils.steps import Steps
from ansible_collections.flaskops.hosting.plugins.module_utils.worker_return import stay_ended, tell_to_end_for_now

MANAGERS: dict[str, type[Any]] = {
    "systemd": SystemdInstance,
    "supervisord": SupervisordInstance,
    "apache": ApacheInstance,
    "worker": WorkerInstance,
}
STRATEGIES = {"blue_green": strategy_blue_green.switch, "in_place": strategy_in_place.switch}
DRAIN_TIMEOUT = 60  # seconds till an instance that gets no new connections has taken those that wait for it


def instances_of(release: Release) -> list[Instance]:
    """What runs a release, in the order of its start."""
    return [_instance(release, facts) for facts in release.facts().instances]


def web_of(release: Release) -> Instance:
    """What answers the visitors of a release."""
    return _instance(release, release.facts().web)


def workers_of(release: Release) -> list[WorkerInstance]:
    """The workers that a release runs."""
    return workers_among(instances_of(release))


def workers_among(instances: Iterable[Any]) -> list[WorkerInstance]:
    """Those of some processes that are workers."""
    return [one for one in instances if isinstance(one, WorkerInstance)]


def _instance(release: Release, facts: InstanceFacts) -> Instance:
    instance: Instance = MANAGERS.get(facts.manager, SystemdInstance)(release, facts)
    return instance


def strategy_of(release: Release) -> str:
    """``in_place`` in Apache, which replaces its processes itself; else ``blue_green``, two releases side by side."""
    return "in_place" if release.facts().web.manager == "apache" else "blue_green"


def is_live(release: Release, record: Record | None = None) -> bool:
    """Tell whether this release is the one that serves, now and after a boot, and its jobs are those on the host."""
    live = release.tree.live()
    if live is None or live.name != release.name or other_instances(release):
        return False
    return all(one.is_up() for one in instances_of(release)) and jobs.are_of(release, release.tree, jobs.on_host(release.tree, record, release))


def activate(release: Release, front: dict[str, Any] | None, record: Record | None = None) -> list[str]:
    """Make this release the live one, and return the steps. ``front`` says how to ask for it through the front; ``None`` skips that.

    ``record`` is what the host has noted of the app.

    Raises ``ReleaseError``; the release that was live before is live again then, and this one is marked failed.
    """
    before = release.tree.live()
    was_live = before is not None and before.name == release.name  # then it only has to be started again
    others = other_instances(release)
    steps = Steps()
    there = jobs.on_host(release.tree, record, release, before)
    try:
        STRATEGIES[strategy_of(release)](Switch(release, None if was_live else before, front, steps, there))
    except (ReleaseError, OSError) as error:
        reason, log = str(error), getattr(error, "log", "") or instance_log(release)
        if not was_live:
            try:
                _go_back(release, before, there)
            except (ReleaseError, OSError) as other:  # as after a move, when the front of before is gone
                reason += f". Nor does the release before start again: {other}"
            # when it serves no more, so that no power cut leaves it live and failed; a full disk has no room for the mark
            with contextlib.suppress(OSError):
                release.mark_failed(reason, log)
        raise ReleaseError(reason, log) from None
    finally:
        let_run(release, False)
        stay_ended(release.tree)
    for instance in other_instances(release):
        instance.stop()
    clean(_workers_left(release.tree))
    for manager in {type(instance) for instance in others} - managers_of(release):
        manager.forget(release.tree)
    return steps.taken


def stop_stray(release: Release) -> None:
    """Stop what still runs of a release that will be staged anew, such as one that a boot started after a power cut.

    Its directory would be taken from under its processes, and starting what runs already changes nothing.
    """
    end_now([one for one in workers_of(release) if has_unit(one)])
    for instance in active_instances(release.tree):
        if instance.release == release:
            instance.stop()


def stop_all(tree: Tree, instances: list[Instance]) -> None:
    """Stop all instances of an app, and clean up after what managed them."""
    end_now(workers_among(instances))
    for instance in instances:
        instance.stop()
    for manager in {type(instance) for instance in instances}:
        manager.forget(tree)


def previous(tree: Tree) -> Release:
    """The release to go back to: of those that were live before the one that is, and did not fail, the one that was so last.

    Raises ``ReleaseError`` if there is none.
    """
    live = tree.live()
    found = [one for one in tree.complete_releases() if one.went_live() and not one.has_failed() and one != live and suits_front(one)]
    if live is not None and live.went_live():
        found = [one for one in found if one.went_live() < live.went_live()]
    if not found:
        raise ReleaseError("release: there is no good release to go back to")
    return max(found, key=Release.went_live)


def suits_front(release: Release) -> bool:
    """Tell whether the front, which is configured for the live release, would reach this one: not one of another topology or mount."""
    live = release.tree.live()
    if live is None or not live.is_complete():
        return True
    mine, others = release.facts(), live.facts()
    return (mine.web.socket, mine.web.protocol, mine.mount) == (others.web.socket, others.web.protocol, others.mount)


class Switch:
    """The steps that a strategy puts into an order."""

    def __init__(self, release: Release, before: Release | None, front: dict[str, Any] | None, steps: Steps, jobs_there: Iterable[str] = ()) -> None:
        self.release = release
        self.before = before
        self.front = front
        self.steps = steps
        self.jobs_there = set(jobs_there)

    def start_new(self) -> None:
        """Start the new release's instances and wait until they are healthy on their own sockets."""
        with self.steps.take("started the new release, which is healthy"):
            start_instances(self.release)

    def change_workers(self) -> None:
        """Ask the old workers to end, so that none of them gets a message of the new release; then start the new ones, and see that they run."""
        old, new = workers_among(other_instances(self.release)), workers_of(self.release)
        if old:
            with self.steps.take("asked the old workers to end"):
                tell_to_end_for_now(self.release.tree, old)
        if new:
            with self.steps.take("started the new workers, which run"):
                let_run(self.release, True)
                start_and_settle(new)
                for command in dict.fromkeys(one.facts.check for one in new if one.facts.check):
                    check(self.release, command)

    def prove(self) -> None:
        """Ask a release that has no socket of its own for its health, if staging could not."""
        facts = self.release.facts()
        if facts.waits_for_commands and not self.release.went_live():
            with self.steps.take(f"pre-flight, {facts.module} answered {facts.health_path}"):
                preflight.ask_app(self.release, facts)

    def flip(self) -> None:
        """Point ``current`` to the new release."""
        with self.steps.take("switched current"):
            self.release.tree.point_current_to(self.release)

    def verify(self) -> None:
        """Ask for the app through the front, as its users do."""
        if self.front:
            with self.steps.take(f"asked for it at {self.front['address']}"):
                protocol = self.front.get("protocol", "http")
                wait_for_health(self.release, self.front["address"], self.front["host"], protocol, proof_of(self.release, self.front["proof"]))

    def change_jobs(self) -> None:
        """Have the next run of each job be the new release's."""
        if self.jobs_there or self.release.facts().jobs:
            with self.steps.take("changed the jobs"):
                jobs.change_to(self.release, self.release.tree, self.jobs_there)

    def stop_old(self) -> None:
        """Stop the instances that served before, once they have answered what they were asked; their workers are asked to end."""
        if self.before is not None:
            with self.steps.take(f"had {self.before.name} end what it was asked, and stop"):
                for instance in instances_of(self.before):
                    drain(instance)
                    instance.stop()


def start_instances(release: Release) -> None:
    """Start a release's web server and wait until it answers its health path on its own socket, if it has one.

    Raises ``ReleaseError`` if it does not start or does not answer in its health timeout.
    """
    web = web_of(release)
    web.start()
    wait_for_own_health(web)


def wait_for_own_health(instance: Instance) -> None:
    """Wait until an instance answers on its own socket, if it has one. Raises ``ReleaseError``."""
    if instance.facts.socket:
        release = instance.release
        wait_for_health(release, f"unix:{socket_of(instance)}", release.facts().health_host, instance.facts.protocol)


def socket_of(instance: Instance) -> Path:
    """The unix socket that an instance listens at."""
    return instance.release.path / instance.facts.socket


def drain(instance: Instance) -> None:
    """Wait till an instance has accepted every connection that was made to it: one that waits is lost when the instance stops.

    One that would cut short what it is sending must have completed that too.
    """
    began = time.monotonic()
    waits = [(waiting_connections, DRAIN_TIMEOUT), (open_connections, instance.facts.drain_timeout)]
    for connections, timeout in waits if instance.facts.socket else []:
        while time.monotonic() < began + timeout and connections(instance) and instance.state() == "active":
            time.sleep(0.05)


def waiting_connections(instance: Instance) -> int:
    """How many connections were made to an instance's socket and are not accepted yet."""
    listed = run("ss", "--listening", "--unix", "--no-header", "src", str(socket_of(instance))).stdout.splitlines()
    return sum(int(line.split()[2]) for line in listed if len(line.split()) > 4)


def open_connections(instance: Instance) -> int:
    """How many connections an instance has accepted that are still open."""
    return len(run("ss", "--unix", "--no-header", "state", "established", "src", str(socket_of(instance))).stdout.splitlines())


def proof_of(release: Release, of_site: str) -> str:
    """What an answer through the front says if it is this release's; ``of_site`` is what all answers of the app's site say, empty for no proof."""
    return f"{of_site} {release.name}" if of_site and release.facts().names_release else of_site


def wait_for_health(release: Release, address: str, host: str, protocol: str = "http", proof: str = "") -> None:
    """Ask for the health path until it answers 2xx, with the ``proof`` that nobody else did.

    ``address`` is ``unix:/path`` or ``host:port``, ``protocol`` as ``ask`` has it.

    Raises ``ReleaseError`` with the last answer, at once if the instance is dead.
    """
    facts, web = release.facts(), web_of(release)
    timeout = facts.health_timeout
    path = facts.mount.rstrip("/") + facts.health_path
    deadline = time.monotonic() + timeout
    while True:
        answer = ask(address, host, path, timeout, protocol, proof)
        if answer.startswith("2"):
            return
        state = web.state()
        if state != "active":
            raise ReleaseError(f"{web.name} died after its start (it is {state})")
        if time.monotonic() > deadline:
            raise ReleaseError(f"{path} at {address} did not get healthy in {timeout:g} s: {answer}")
        time.sleep(0.05)


def managers_of(release: Release) -> set[type[Instance]]:
    """What runs a release's instances."""
    return {type(one) for one in instances_of(release)}


def other_instances(release: Release) -> list[Instance]:
    """The instances of this app that are enabled or running and are not this release's."""
    return [one for one in active_instances(release.tree) if one.release != release]


def active_instances(tree: Tree) -> list[Instance]:
    """The instances of this app that run, or would after a boot: those of its releases, whatever manages them, and nothing that is only named so."""
    noted = [instance for release in tree.complete_releases() for instance in instances_of(release)]
    active: list[Instance] = []
    for manager in MANAGERS.values():
        active += manager.active([instance for instance in noted if instance.__class__ is manager])
    return active


def stray_instances(tree: Tree, record: Record | None) -> list[Instance]:
    """The instances that the app's record names and that still run, though somebody has removed their release by hand."""
    found = []
    for one in record.instances if record else []:
        release = tree.release(one.unit.partition("@")[2].removesuffix(".service"))
        instance = _instance(release, InstanceFacts(name=one.name, manager=one.manager))
        if instance.name == one.unit and not release.is_complete():
            found += instance.active([instance])
    return found


def all_instances(tree: Tree, record: Record | None) -> list[Instance]:
    """Every instance of this app on the host, also one that only completes what it does."""
    found = [*active_instances(tree), *stray_instances(tree, record)]
    ending: list[Any] = [one for one in _workers_left(tree) if one.name not in {other.name for other in found}]
    return [*found, *ending]


def restart(release: Release, front: dict[str, Any] | None) -> list[str]:
    """Replace the processes of the live release, and return the steps. Nothing is touched if the app would not start again.

    Raises ``ReleaseError``.
    """
    steps, facts = Steps(), release.facts()
    with steps.take(f"pre-flight, {facts.module} answered {facts.health_path}"):
        preflight.ask_app(release, facts)
    with steps.take("replaced its processes"):
        web = web_of(release)
        web.restart()
        wait_for_own_health(web)
        for worker in workers_of(release):
            worker.restart()
    Switch(release, None, front, steps).verify()
    return steps.taken


def instance_log(release: Release, lines: int = 80, times: bool = False) -> str:
    """The last lines that a release's web server wrote, without its secrets."""
    return hide_secrets(web_of(release).log(lines, times), release.secrets())


def app_log(tree: Tree, lines: int) -> list[str]:
    """The last lines that an app's web server wrote, with their times: the live release's, and before them those of releases before it."""
    live = tree.live()
    earlier = [one for one in tree.complete_releases() if one != live and one.went_live()]
    found: list[str] = []
    for release in [*([live] if live else []), *sorted(earlier, key=Release.went_live, reverse=True)]:
        if len(found) < lines:
            found = [*instance_log(release, lines - len(found), times=True).splitlines(), *found]
    return found


def prune(tree: Tree, keep: int, before: Release | None = None) -> list[str]:
    """Remove all but the newest ``keep`` releases and the venvs that none of the rest needs; returns the releases that went.

    What is live, what was live ``before``, still runs, or is used by any process of the host always stays.
    """
    releases = [one for one in tree.complete_releases() if not one.has_failed()]
    failed = sorted(tree.releases.glob(f"*/{FAILED_MARK}"), key=lambda mark: mark.stat().st_mtime)
    live = tree.live()
    held = {one.name for one in releases[-keep:]} | {mark.parent.name for mark in failed[-keep:]}
    held |= {one.name for one in (live, before) if one}
    if all(path.name in held for path in tree.releases.iterdir()):
        return []
    held |= {one.release.name for one in active_instances(tree)} | {one.release.name for one in _workers_left(tree)}
    releases_in_use, venvs_in_use = in_use(tree)
    removed = sorted(path.name for path in tree.releases.iterdir() if path.name not in held | releases_in_use)
    for name in removed:
        remove_tree(tree.releases / name)
    needed = {os.path.basename(os.readlink(link)) for link in tree.releases.glob("*/.venv")} | venvs_in_use
    for path in tree.venvs.iterdir():
        if path.name not in needed:
            remove_tree(path)
    return removed


def _workers_left(tree: Tree) -> list[WorkerInstance]:
    """The workers of releases that are not live and that have a unit on the host: they complete what they do, or have just ended."""
    live = tree.live()
    return [one for release in tree.complete_releases() if release != live for one in workers_of(release) if has_unit(one)]


def _go_back(release: Release, before: Release | None, jobs_there: set[str]) -> None:
    if before is None:
        release.tree.current.unlink(missing_ok=True)
    elif release.tree.live() != before:
        release.tree.point_current_to(before)
    # the workers first, because nothing else gets the messages meanwhile
    for worker in workers_of(release):
        worker.stop()
    for worker in workers_of(before) if before else []:
        worker.start()
    jobs.change_to(before, release.tree, {*jobs_there, *jobs.on_host(release.tree, None, release)})
    for instance in instances_of(release):
        instance.stop()
    clean(workers_of(release))  # one that has ended by itself would stay on systemd's list of what has failed
    for manager in managers_of(release) - (managers_of(before) if before else set()):
        manager.forget(release.tree)
    if before is not None and not all(one.is_up() for one in instances_of(before)):
        start_instances(before)
