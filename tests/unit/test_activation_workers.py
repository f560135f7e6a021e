"""When workers and jobs change with a release, and what happens to them when it must not go live."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import activation, instance_worker, jobs
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_systemd import SystemdInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_worker import WorkerInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.record import InstanceFacts, Record
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, Tree
from ansible_collections.flaskops.hosting.tests.unit.releases import noted

WORKER = InstanceFacts("rq-1", "worker", "worker-rq.service", "", settle=0.2, check="rq info")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An app with two releases, of which the old one is live; each has a worker and a job."""
    made = Tree("shop", tmp_path)
    for name in ("old", "new"):
        path = made.release(name).path
        path.mkdir(parents=True)
        facts = noted(health_timeout=1, jobs=["tidy"])
        made.release(name).mark_complete(replace(facts, instances=[*facts.instances, WORKER]))
        (path / "environment").touch()
        for kind in jobs.KINDS:
            (path / f"job-tidy.{kind}").write_text(f"{name} {kind}")
    made.current.symlink_to("releases/old")
    return made


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in order; nothing of it reaches systemd."""
    done: list[str] = []
    flip = Tree.point_current_to

    def point(tree: Tree, release: Release) -> None:
        done.append(f"flip {release.name}")
        flip(tree, release)

    def tell(tree: Tree, workers: list[WorkerInstance]) -> None:
        done.append(f"end {' '.join(one.name for one in workers)}")

    monkeypatch.setattr(Tree, "point_current_to", point)
    monkeypatch.setattr(activation, "start_instances", lambda release: done.append(f"web {release.name}"))
    monkeypatch.setattr(activation, "other_instances", lambda release: activation.workers_of(release.tree.release("old")))
    monkeypatch.setattr(activation, "tell_to_end_for_now", tell)
    monkeypatch.setattr(activation, "stay_ended", lambda _tree: done.append("stay ended"))
    monkeypatch.setattr(activation, "let_run", lambda release, may: done.append(f"{'may' if may else 'need not'} run {release.name}"))
    monkeypatch.setattr(activation, "start_and_settle", lambda workers: done.append(f"settle {workers[0].release.name}"))
    monkeypatch.setattr(activation, "check", lambda release, command: done.append(f"check {release.name} {command}"))
    monkeypatch.setattr(activation, "clean", lambda _workers: None)
    monkeypatch.setattr(activation, "wait_for_health", lambda release, *_more: done.append(f"verify {release.name}"))
    monkeypatch.setattr(activation, "instance_log", lambda _release: "the web server's last lines")
    monkeypatch.setattr(jobs, "on_host", lambda *_given: {"tidy"})
    monkeypatch.setattr(jobs, "change_to", lambda release, *_more: done.append(f"jobs {release.name}"))
    for manager in (SystemdInstance, WorkerInstance):
        kind = "worker" if manager is WorkerInstance else "web"
        monkeypatch.setattr(manager, "is_up", lambda _instance: False)
        monkeypatch.setattr(manager, "stop", lambda one, kind=kind: done.append(f"stop {kind} {one.release.name}"))
        monkeypatch.setattr(manager, "start", lambda one, kind=kind: done.append(f"start {kind} {one.release.name}"))
    return done


FRONT = {"address": "127.0.0.1:80", "host": "localhost", "proof": ""}


def test_old_workers_are_asked_to_end_before_new_ones_start_and_before_the_switch(tree: Tree, steps: list[str]) -> None:
    activation.activate(tree.release("new"), FRONT)
    assert steps == [
        "web new", "end shop.rq-1@old.service", "may run new", "settle new", "check new rq info", "flip new", "verify new", "jobs new",
        "stop web old", "stop worker old", "need not run new", "stay ended", "stop worker old",
    ]  # fmt: skip


@pytest.mark.parametrize("fails", ["start_and_settle", "check", "wait_for_health"])
def test_if_it_must_not_go_live_the_old_workers_are_started_first_of_all(
    tree: Tree, steps: list[str], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def fail(*_given: Any) -> None:
        raise ReleaseError("the worker rq-1 ended", "its last words")

    cleaned: list[str] = []
    monkeypatch.setattr(activation, "clean", lambda workers: cleaned.extend(one.release.name for one in workers))
    monkeypatch.setattr(activation, fails, fail)
    with pytest.raises(ReleaseError, match="the worker rq-1 ended") as caught:
        activation.activate(tree.release("new"), FRONT)
    assert caught.value.log == "its last words", "and not those of the web server"
    back = steps[steps.index("stop worker new") :]
    assert back[:3] == ["stop worker new", "start worker old", "jobs old"]
    assert back[-2:] == ["need not run new", "stay ended"]
    assert tree.live() == tree.release("old") and tree.release("new").has_failed() and cleaned == ["new"]


class Systemd:
    """What systemd says of the worker at each look, one after the other; the last one for ever."""

    def __init__(self, *looks: dict[str, str]) -> None:
        self.looks = list(looks)

    def show(self, names: list[str], *_properties: str) -> dict[str, dict[str, str]]:
        """The next look at each unit."""
        return dict.fromkeys(names, self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])


RUNS = {"ActiveState": "active", "NRestarts": "0"}
AGAIN = {"ActiveState": "active", "NRestarts": "1", "ExecMainCode": "1", "ExecMainStatus": "3"}
WAITS = {"ActiveState": "activating", "NRestarts": "0", "ExecMainCode": "2", "ExecMainStatus": "9"}


@pytest.mark.parametrize(
    ("before", "looks", "reason"),
    [
        ({"ActiveState": "inactive"}, [RUNS], ""),
        ({"ActiveState": "inactive"}, [WAITS], "the worker rq-1 ended by signal 9"),
        ({"ActiveState": "inactive"}, [RUNS, AGAIN], "the worker rq-1 ended with code 3, and must run for 0.2 s without that"),
        ({"ActiveState": "active", "NRestarts": "1"}, [AGAIN], ""),
        ({"ActiveState": "deactivating"}, [WAITS], ""),
    ],
    ids=["runs", "ends at once", "ends later", "ended a day ago", "completes what it was asked to end with"],
)
def test_a_worker_settles(tree: Tree, monkeypatch: pytest.MonkeyPatch, before: dict[str, str], looks: list[dict[str, str]], reason: str) -> None:
    monkeypatch.setattr(instance_worker, "unit_properties", lambda *_given: before)
    monkeypatch.setattr(instance_worker, "show_units", Systemd(*looks).show)
    monkeypatch.setattr(instance_worker, "run", lambda *_words: None)
    monkeypatch.setattr(instance_worker, "LOOK_EACH", 0.05)
    monkeypatch.setattr(WorkerInstance, "start", lambda _one: None)
    monkeypatch.setattr(WorkerInstance, "log", lambda _one: "its last words")
    workers = activation.workers_of(tree.release("new"))
    if not reason:
        instance_worker.start_and_settle(workers)
        return
    with pytest.raises(ReleaseError, match=reason) as caught:
        instance_worker.start_and_settle(workers)
    assert caught.value.log == "its last words"


def test_jobs_on_a_host_are_those_that_are_noted(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is only named as ours would be is somebody else's."""
    units = tmp_path / "units"
    units.mkdir()
    monkeypatch.setattr(jobs, "UNITS", units)
    for name in ("shop.tidy.timer", "shop.old.service", "shop.theirs.timer"):
        (units / name).touch()
    assert jobs.on_host(tree, Record(jobs=["old", "gone"]), tree.release("new"), None) == {"tidy", "old"}
    jobs.refuse_foreign(tree.release("new"), tree, {"tidy"})
    with pytest.raises(ReleaseError, match="shop.tidy.timer is on this host, and is not this app's"):
        jobs.refuse_foreign(tree.release("new"), tree, jobs.on_host(tree, Record(), None))


def test_jobs_are_a_releases_once_systemd_has_read_them(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who changed them may have been killed before it did."""
    units, states = tmp_path / "units", {"ActiveState": "active", "NeedDaemonReload": "no"}
    monkeypatch.setattr(jobs, "UNITS", units)
    monkeypatch.setattr(jobs, "TIMERS", units / "wants")
    monkeypatch.setattr(
        jobs,
        "show_units",
        lambda names, *_properties: {name: {"ActiveState": "active", "NeedDaemonReload": "no"} for name in names} | {"shop.tidy.service": states},
    )
    (units / "wants").mkdir(parents=True)
    (units / "wants/shop.tidy.timer").symlink_to(units / "shop.tidy.timer")
    for kind in jobs.KINDS:
        (units / f"shop.tidy.{kind}").write_text(f"new {kind}")
    assert jobs.are_of(tree.release("new"), tree, {"tidy"}) and not jobs.are_of(tree.release("old"), tree, {"tidy"})
    states["NeedDaemonReload"] = "yes"
    assert not jobs.are_of(tree.release("new"), tree, {"tidy"})


def test_a_release_without_workers_tells_those_of_before_to_end(tree: Tree, steps: list[str]) -> None:
    new = tree.release("new")
    new.mark_complete(replace(new.facts(), instances=[new.facts().web]))
    activation.activate(new, None)
    assert steps[:3] == ["web new", "end shop.rq-1@old.service", "flip new"]
