"""In which order a release goes live, and what happens when it must not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import activation, preflight
from ansible_collections.flaskops.hosting.plugins.module_utils.instance import Instance
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_apache import ApacheInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_systemd import SystemdInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, Tree
from ansible_collections.flaskops.hosting.tests.unit.releases import instance, noted


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in order; nothing of it reaches systemd."""
    done: list[str] = []
    flip, mark = Tree.point_current_to, Release.mark_failed

    def mark_failed(release: Release, *why: str) -> None:
        done.append(f"mark {release.name}")
        mark(release, *why)

    def point(tree: Tree, release: Release) -> None:
        done.append(f"flip {release.name}")
        flip(tree, release)

    monkeypatch.setattr(Tree, "point_current_to", point)
    monkeypatch.setattr(Release, "mark_failed", mark_failed)
    monkeypatch.setattr(activation, "start_instances", lambda release: done.append(f"start {release.name}"))
    for manager in (SystemdInstance, ApacheInstance):
        monkeypatch.setattr(manager, "stop", lambda one: done.append(f"stop {one.release.name}"))
        monkeypatch.setattr(manager, "is_up", lambda _instance: False)
    monkeypatch.setattr(activation, "wait_for_health", lambda release, *_more: done.append(f"verify {release.name}"))
    monkeypatch.setattr(activation, "other_instances", lambda _release: [])
    monkeypatch.setattr(activation, "instance_log", lambda _release: "the app's last lines")
    return done


def app(tmp_path: Path, socket: str, live: str | None, manager: str = "systemd") -> Tree:
    """An app with two releases."""
    tree = Tree("shop", tmp_path)
    for name in ("old", "new"):
        tree.release(name).path.mkdir(parents=True)
        tree.release(name).mark_complete(noted(manager, socket=socket, health_timeout=1))
    if live:
        tree.current.symlink_to(f"releases/{live}")
    return tree


FRONT = {"address": "127.0.0.1:80", "host": "localhost", "proof": "/srv/shop"}


def test_blue_green_starts_before_it_switches_and_stops_at_the_end(tmp_path: Path, steps: list[str]) -> None:
    tree = app(tmp_path, "run/app.sock", live="old")
    activation.activate(tree.release("new"), FRONT)
    assert steps == ["start new", "flip new", "verify new", "stop old"]


@pytest.mark.parametrize(("names_release", "proof"), [(True, "/srv/shop new"), (False, "/srv/shop")])
def test_the_answer_through_the_front_must_be_the_releases_own(
    tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, names_release: bool, proof: str
) -> None:
    """A release that an older version of the collection staged names itself nowhere."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(activation, "wait_for_health", lambda release, *question: asked.append((release.name, *question)))
    tree = app(tmp_path, "run/app.sock", live="old")
    tree.release("new").mark_complete(noted(health_timeout=1, names_release=names_release))
    activation.activate(tree.release("new"), FRONT)
    assert asked == [("new", "127.0.0.1:80", "localhost", "http", proof)]


def test_the_old_instance_stops_when_it_has_accepted_all_connections(tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = [2, 1, 0]

    def waiting_connections(one: Instance) -> int:
        steps.append(f"{waiting[0]} wait at {one.release.name}")
        return waiting.pop(0)

    monkeypatch.setattr(SystemdInstance, "state", lambda _instance: "active")
    monkeypatch.setattr(activation, "waiting_connections", waiting_connections)
    activation.activate(app(tmp_path, "run/app.sock", live="old").release("new"), FRONT)
    assert steps[-4:] == ["2 wait at old", "1 wait at old", "0 wait at old", "stop old"]


@pytest.mark.parametrize(
    ("drain_timeout", "open_at_each_look", "last"),
    [
        (5, [1, 0], ["1 open at old", "0 open at old", "stop old"]),
        (0.2, [1] * 99, ["1 open at old", "stop old"]),
        (0, [], ["verify new", "stop old"]),
    ],
    ids=["they end", "one does not", "it ends them itself"],
)
def test_what_an_instance_would_cut_short_is_completed_before_it_stops(
    tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, drain_timeout: float, open_at_each_look: list[int], last: list[str]
) -> None:
    """At most as long as a request may take."""

    def open_connections(one: Instance) -> int:
        steps.append(f"{open_at_each_look[0]} open at {one.release.name}")
        return open_at_each_look.pop(0)

    monkeypatch.setattr(SystemdInstance, "state", lambda _instance: "active")
    monkeypatch.setattr(activation, "waiting_connections", lambda _one: 0)
    monkeypatch.setattr(activation, "open_connections", open_connections)
    tree = app(tmp_path, "run/app.sock", live="old")
    facts = noted(health_timeout=1)
    tree.release("old").mark_complete(replace(facts, instances=[replace(facts.web, drain_timeout=drain_timeout)]))
    activation.activate(tree.release("new"), FRONT)
    assert steps[-len(last) :] == last


def test_a_release_that_does_not_start_never_gets_the_switch(tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tree = app(tmp_path, "run/app.sock", live="old")
    monkeypatch.setattr(SystemdInstance, "is_up", lambda one: one.release.name == "old")

    def fail(_release: Release) -> None:
        raise ReleaseError("does not start")

    monkeypatch.setattr(activation, "start_instances", fail)
    with pytest.raises(ReleaseError, match="does not start") as caught:
        activation.activate(tree.release("new"), FRONT)
    assert caught.value.log == "the app's last lines"
    assert steps == ["stop new", "mark new"]
    assert tree.live() == tree.release("old")
    assert tree.release("new").has_failed()


@pytest.mark.parametrize(("manager", "socket"), [("systemd", "run/app.sock"), ("apache", "")])
def test_a_release_that_fails_at_the_front_is_switched_back(
    tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, manager: str, socket: str
) -> None:
    tree = app(tmp_path, socket, "old", manager)

    def fail(*_arguments: Any) -> None:
        raise ReleaseError("502")

    monkeypatch.setattr(activation, "wait_for_health", fail)
    with pytest.raises(ReleaseError, match="502"):
        activation.activate(tree.release("new"), FRONT)
    assert steps[-4:] == ["flip old", "stop new", "start old", "mark new"]
    assert tree.live() == tree.release("old")
    assert tree.release("new").has_failed() and not tree.release("old").has_failed()


def test_a_first_release_that_fails_leaves_nothing_live(tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tree = app(tmp_path, "run/app.sock", live=None)

    def fail(*_arguments: Any) -> None:
        raise ReleaseError("502")

    monkeypatch.setattr(activation, "wait_for_health", fail)
    with pytest.raises(ReleaseError):
        activation.activate(tree.release("new"), FRONT)
    assert tree.live() is None


def test_the_live_release_is_only_started_again(tmp_path: Path, steps: list[str]) -> None:
    tree = app(tmp_path, "run/app.sock", live="new")
    activation.activate(tree.release("new"), None)
    assert steps == ["start new", "flip new"]


def test_a_socket_of_its_own_lets_a_release_run_beside_another(tmp_path: Path) -> None:
    for manager, strategy in (("systemd", "blue_green"), ("supervisord", "blue_green"), ("apache", "in_place")):
        assert activation.strategy_of(app(tmp_path / manager, "", None, manager).release("new")) == strategy


@pytest.mark.parametrize(
    ("manager", "order"),
    [
        ("supervisord", ["start new", "flip new", "verify new", "stop old", "forget systemd"]),
        ("apache", ["flip new", "start new", "verify new", "stop old", "forget systemd"]),
    ],
)
def test_an_app_moves_from_one_manager_to_another(
    tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, manager: str, order: list[str]
) -> None:
    """The old instance is stopped by what manages it, which is cleaned up after when nothing of the app is left there."""
    tree = app(tmp_path, "run/app.sock", live="old")
    tree.release("new").mark_complete(noted(manager, health_timeout=1))
    stopped: list[str] = []

    def others(_release: Release) -> list[Instance]:
        return [] if stopped else [instance(tree, "old")]

    def stop(one: SystemdInstance) -> None:
        stopped.append(one.release.name)
        steps.append(f"stop {one.release.name}")

    monkeypatch.setattr(activation, "other_instances", others)
    monkeypatch.setattr(SystemdInstance, "stop", stop)
    monkeypatch.setattr(SystemdInstance, "forget", staticmethod(lambda _tree: steps.append("forget systemd")))
    activation.activate(tree.release("new"), FRONT)
    assert steps == order


def test_health_is_asked_for_where_and_as_the_instance_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def ask(*given: Any) -> str:
        asked.append(given)
        return "200 OK"

    monkeypatch.setattr(SystemdInstance, "start", lambda _instance: None)
    monkeypatch.setattr(activation, "ask", ask)
    facts: dict[str, Any] = {"health_timeout": 3, "health_host": "shop.example", "mount": "/shop", "health_path": "/healthz"}
    tree = Tree("shop", tmp_path)
    for number, (socket, protocol) in enumerate([("run/app.sock", "uwsgi"), ("run/other.sock", "http"), ("", "http")]):
        release = tree.release(str(number))
        release.path.mkdir(parents=True)
        release.mark_complete(noted(socket=socket, protocol=protocol, **facts))
        activation.start_instances(release)
    assert asked == [
        (f"unix:{tmp_path}/releases/0/run/app.sock", "shop.example", "/shop/healthz", 3, "uwsgi", ""),
        (f"unix:{tmp_path}/releases/1/run/other.sock", "shop.example", "/shop/healthz", 3, "http", ""),
    ], "what has no socket of its own is asked through its front alone"


@pytest.mark.parametrize(("state", "reason"), [("failed", "died after its start"), ("active", "did not get healthy in 0.1 s: 500 Oh")])
def test_an_instance_that_is_not_healthy_is_not_taken_for_one_that_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, reason: str
) -> None:
    tree = app(tmp_path, "run/app.sock", live=None)
    tree.release("new").mark_complete(replace(tree.release("new").facts(), health_timeout=0.1))
    monkeypatch.setattr(activation, "ask", lambda *_given: "500 Oh")
    monkeypatch.setattr(SystemdInstance, "state", lambda _instance: state)
    with pytest.raises(ReleaseError, match=reason):
        activation.wait_for_health(tree.release("new"), "127.0.0.1:80", "localhost")


def test_pruning_keeps_what_is_live_what_runs_and_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree("shop", tmp_path)
    for number, name in enumerate(["live", "running", "old", "newer", "newest", "failed"]):
        release = tree.release(name)
        (tree.venvs / f"venv-{name}").mkdir(parents=True)
        release.path.mkdir(parents=True)
        (release.path / ".venv").symlink_to(f"../../venvs/venv-{name}")
        monkeypatch.setattr("time.time", lambda number=number: float(number))
        release.mark_complete(noted())
    tree.release("failed").mark_failed("no", "")
    (tree.releases / "unfinished").mkdir()
    tree.current.symlink_to("releases/live")
    monkeypatch.setattr(activation, "active_instances", lambda _tree: [instance(tree, "running")])
    assert activation.prune(tree, keep=2) == ["old", "unfinished"]
    assert sorted(path.name for path in tree.venvs.iterdir()) == [
        "venv-failed",
        "venv-live",
        "venv-newer",
        "venv-newest",
        "venv-running",
    ]


def test_pruning_leaves_what_was_live_before(tmp_path: Path) -> None:
    """Also where releases that never went live are newer: it is what one goes back to."""
    tree = Tree("shop", tmp_path)
    for name in ("before", "staged", "live"):
        tree.release(name).path.mkdir(parents=True)
        tree.release(name).mark_complete(noted())
    tree.venvs.mkdir()
    tree.current.symlink_to("releases/live")
    assert activation.prune(tree, 2, tree.release("before")) == []
    assert activation.prune(tree, 2) == ["before"]


def test_pruning_leaves_what_a_process_of_any_kind_uses(tmp_path: Path) -> None:
    """One works in an old release, another has loaded a library of an old venv, and a job knows its release and has gone elsewhere."""
    tree = Tree("shop", tmp_path)
    for name in ("gone", "worked-in", "loaded-from", "told-of", "live"):
        release = tree.release(name)
        (tree.venvs / f"venv-{name}").mkdir(parents=True)
        (release.path / "code").mkdir(parents=True)
        (release.path / ".venv").symlink_to(f"../../venvs/venv-{name}")
        release.mark_complete(noted())
    library = tree.venvs / "venv-loaded-from" / "speedups.so"
    library.write_bytes(b"x" * 4096)
    waits = "print(flush=True); sys.stdin.read()"
    mapped = f"import mmap, sys; f = open({str(library)!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ); {waits}"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for code, cwd, env in (
            (f"import sys; {waits}", tree.release("worked-in").path / "code", None),
            (mapped, tmp_path, None),
            (f"import sys; {waits}", tmp_path, {"FLASKOPS_RELEASE_PATH": str(tree.release("told-of").path), "MORE": "/1"}),
        )
    ]
    try:
        for process in processes:
            assert process.stdout and process.stdout.readline()
        tree.current.symlink_to("releases/live")
        assert activation.prune(tree, keep=1) == ["gone", "loaded-from"]
        assert sorted(path.name for path in tree.venvs.iterdir()) == ["venv-live", "venv-loaded-from", "venv-told-of", "venv-worked-in"]
    finally:
        for process in processes:
            process.communicate()


def went_live(tree: Tree, *names: str) -> None:
    """Releases that went live one after the other."""
    for number, name in enumerate(names, 1):
        release = tree.release(name)
        if not release.is_complete():
            release.path.mkdir(parents=True)
            release.mark_complete(noted())
        (release.path / "live.json").write_text(f'{{"live": {number}}}')
        tree.point_current_to(release)


def test_back_is_what_was_live_before(tmp_path: Path) -> None:
    tree = Tree("shop", tmp_path)
    went_live(tree, "one", "two", "three")
    assert activation.previous(tree) == tree.release("two")
    tree.point_current_to(tree.release("two"))  # gone back to: it keeps its place, so the next way back leads further
    assert activation.previous(tree) == tree.release("one")


def test_back_from_a_release_that_was_shipped_again_is_the_one_between(tmp_path: Path) -> None:
    tree = Tree("shop", tmp_path)
    went_live(tree, "one", "two", "one")
    assert activation.previous(tree) == tree.release("two")


def test_nobody_goes_back_to_a_release_that_failed_or_never_was_live(tmp_path: Path) -> None:
    tree = Tree("shop", tmp_path)
    went_live(tree, "one", "two")
    tree.release("one").mark_failed("no", "")
    tree.release("staged").path.mkdir()
    tree.release("staged").mark_complete(noted())
    with pytest.raises(ReleaseError, match="no good release"):
        activation.previous(tree)


@pytest.mark.parametrize("other", [{"protocol": "uwsgi"}, {"socket": ""}, {"mount": "/shop"}], ids=str)
def test_nobody_goes_back_to_what_the_front_does_not_reach(tmp_path: Path, other: dict[str, str]) -> None:
    tree = Tree("shop", tmp_path)
    went_live(tree, "one", "two", "three")
    assert activation.suits_front(tree.release("two"))
    tree.release("two").mark_complete(noted(**other))
    assert not activation.suits_front(tree.release("two"))
    assert activation.previous(tree) == tree.release("one")


def test_a_restart_proves_that_the_app_still_starts_first(tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    release = app(tmp_path, "run/app.sock", live="old").release("old")
    monkeypatch.setattr(SystemdInstance, "restart", lambda one: steps.append(f"restart {one.release.name}"))
    monkeypatch.setattr(preflight, "ask_app", lambda one, _facts: steps.append(f"prove {one.name}"))
    activation.restart(release, FRONT)
    assert steps == ["prove old", "restart old", "verify old", "verify old"], "by its own socket, and through the front"
    steps.clear()

    def fail(*_given: Any) -> None:
        raise ReleaseError("no database")

    monkeypatch.setattr(preflight, "ask_app", fail)
    with pytest.raises(ReleaseError, match="no database"):
        activation.restart(release, FRONT)
    assert steps == []


def test_a_log_goes_on_before_the_last_deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree("shop", tmp_path)
    went_live(tree, "one", "two", "three")
    written = {"one": ["a", "b", "c"], "two": ["d"], "three": ["e", "f"]}
    monkeypatch.setattr(activation, "instance_log", lambda release, lines, times: "\n".join(written[release.name][-lines:]) if times else "")
    assert [activation.app_log(tree, lines) for lines in (1, 2, 4, 99)] == [["f"], ["e", "f"], ["c", "d", "e", "f"], list("abcdef")]
