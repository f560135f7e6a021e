"""What runs a release's instance: a systemd unit, a program of supervisord, Apache's daemon processes."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import threading
from pathlib import Path
from typing import Callable

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import activation, instance_apache, instance_supervisord, instance_systemd, workers
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_apache import ApacheInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_supervisord import SupervisordInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_systemd import SystemdInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import ReleaseError, Tree
from ansible_collections.flaskops.hosting.tests.unit.releases import instance, noted


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An app with two releases."""
    made = Tree("shop", tmp_path / "srv")
    for name in ("old", "new"):
        release = made.release(name)
        (release.path / "run").mkdir(parents=True)
        (release.path / "supervisor.conf").write_text(f"[program:shop@{name}]\n")
        (release.path / "app.service").write_text("[Service]\n")
        release.mark_complete(noted("supervisord", user="shop", health_timeout=0.2))
    return made


class Host:
    """Programs and units as supervisord and systemd would have them."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        self.running: dict[str, str] = {}
        self.said: list[str] = []
        self.becomes = "STARTING"
        self.answers_after = 0

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What supervisorctl does: `update` takes what conf.d says, `status` shows one."""
        self.said.append(" ".join(words))
        verb, name = words[1], words[-1]
        if words[0] != "supervisorctl":
            return subprocess.CompletedProcess(words, 0, "")
        self.answers_after -= 1
        if self.answers_after >= 0:
            return subprocess.CompletedProcess(words, 4, "unix:///var/run/supervisor.sock no such file")
        there = (self.programs / f"{name}.conf").exists()
        if verb == "update" and there:
            self.running.setdefault(name, self.becomes)
        elif verb == "update":
            self.running.pop(name, None)
        elif verb == "start":
            self.running[name] = self.becomes
        state = self.running.get(name)
        shown = f"{name}   {state} pid 7" if state else f"{name}: ERROR (no such process)"
        return subprocess.CompletedProcess(words, 0 if state else 4, shown)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with supervisord, of which nothing is real."""
    found = Host(tmp_path / "conf.d")
    monkeypatch.setattr(instance_supervisord, "PROGRAMS", found.programs)
    monkeypatch.setattr(instance_supervisord, "run", found.run)
    return found


def test_a_program_is_there_only_while_it_shall_run(tree: Tree, host: Host) -> None:
    mine = SupervisordInstance(tree.release("new"), noted("supervisord").web)
    assert SupervisordInstance.active([mine]) == [] and not mine.is_up()
    mine.start()
    assert (host.programs / "shop@new.conf").read_text() == "[program:shop@new]\n"
    assert SupervisordInstance.active([mine]) == [mine] and mine.is_up()
    mine.stop()
    assert list(host.programs.iterdir()) == [] and host.running == {} and not mine.is_up()


def test_supervisord_is_stopped_with_its_last_program(tree: Tree, host: Host) -> None:
    instance(tree, "new", "supervisord").start()
    SupervisordInstance.forget(tree)
    assert not [line for line in host.said if "disable" in line]
    instance(tree, "new", "supervisord").stop()
    SupervisordInstance.forget(tree)
    assert host.said[-1] == "systemctl disable --now supervisor.service"


def test_a_program_that_somebody_stopped_is_started(tree: Tree, host: Host) -> None:
    instance(tree, "new", "supervisord").start()
    host.running["shop@new"] = "STOPPED"
    assert not instance(tree, "new", "supervisord").is_up()
    instance(tree, "new", "supervisord").start()
    assert instance(tree, "new", "supervisord").is_up()


@pytest.mark.parametrize("state", ["BACKOFF", "FATAL", "EXITED"])
def test_a_program_that_does_not_start_is_reported(tree: Tree, host: Host, state: str) -> None:
    host.becomes = state
    with pytest.raises(ReleaseError, match="shop@new does not start under supervisord"):
        instance(tree, "new", "supervisord").start()


def test_supervisord_gets_time_to_answer_after_its_start(tree: Tree, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.answers_after = 3
    instance(tree, "new", "supervisord").start()
    assert host.said[0] == "systemctl enable --now supervisor.service" and instance(tree, "new", "supervisord").is_up()
    monkeypatch.setattr(instance_supervisord, "SUPERVISORD_TIMEOUT", 0.01)
    host.answers_after = 1_000_000
    with pytest.raises(ReleaseError, match="supervisord rejects shop@old: unix:///var/run/supervisor.sock no such file"):
        instance(tree, "old", "supervisord").start()


def test_instances_of_all_managers_are_found(tree: Tree, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("old", "older"):
        tree.release(name).path.mkdir(parents=True, exist_ok=True)
        tree.release(name).mark_complete(noted())
    units(monkeypatch, tmp_path / "wants", running=["shop@older.service"], enabled=["shop@old.service"])
    monkeypatch.setattr(instance_apache, "unit_properties", lambda *_names: {})
    instance(tree, "new", "supervisord").start()
    found = activation.active_instances(tree)
    assert sorted(one.name for one in found) == ["shop@new", "shop@old.service", "shop@older.service"]
    others = activation.other_instances(tree.release("new"))
    assert sorted(one.name for one in others) == ["shop@old.service", "shop@older.service"]


def units(monkeypatch: pytest.MonkeyPatch, wants: Path, running: list[str], enabled: list[str]) -> None:
    """Units as systemd would show those that are requested."""
    wants.mkdir()
    for name in enabled:
        (wants / name).symlink_to("/etc/systemd/system/" + name)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        blocks = [f"Id={name}\nActiveState={'active' if name in running else 'inactive'}" for name in words if name.endswith(".service")]
        assert "*" not in " ".join(words), "nothing is looked for by the look of its name"
        return subprocess.CompletedProcess(words, 0, "\n\n".join(blocks))

    monkeypatch.setattr(instance_systemd, "WANTS", wants)
    monkeypatch.setattr(instance_systemd, "run", run)


@pytest.mark.parametrize(("inside", "stopped"), [([], True), (["shop@worker1.service"], False)])
def test_the_slice_of_an_app_stays_while_somebodys_unit_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: list[str], stopped: bool
) -> None:
    group = "/system.slice/system-my\\x2dshop.slice"
    for name in inside:
        (tmp_path / group.lstrip("/") / name).mkdir(parents=True)
    said: list[str] = []
    monkeypatch.setattr(instance_systemd, "CONTROL_GROUPS", (str(tmp_path),))
    monkeypatch.setattr(instance_systemd, "unit_properties", lambda _unit, _name: {"ControlGroup": group})
    monkeypatch.setattr(instance_systemd, "run", lambda *words: said.append(" ".join(words)))
    SystemdInstance.forget(Tree("my-shop", tmp_path))
    assert said == ["systemctl daemon-reload", *(["systemctl stop system-my\\x2dshop.slice"] if stopped else [])]


def test_a_unit_that_is_only_named_like_an_apps_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd has a unit for each login, and an administrator may have one of any name."""
    theirs = ["user@1000.service", "user@worker1.service"]
    units(monkeypatch, tmp_path / "wants", running=theirs, enabled=theirs)
    tree = Tree("user", tmp_path / "srv")
    tree.release("one").path.mkdir(parents=True)
    tree.release("one").mark_complete(noted())
    assert activation.active_instances(tree) == []


class Apache:
    """Apache's main process with its children, each of an account, of which nothing is real."""

    PARENT = 100

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.children: dict[int, int] = {101: os.getuid() + 1}  # one that serves the web
        self.signals: list[tuple[int, int]] = []
        self.state = {"ActiveState": "active", "UnitFileState": "enabled"}
        self.replaces: Callable[[], str] | None = lambda: "new"
        self.loads = True

    def add(self, process: int, release: str) -> None:
        """A daemon process that has loaded a release."""
        self.children[process] = os.getuid()
        (self.tree.release(release).path / "run" / f"daemon-{process}").write_text("loaded" if self.loads else "")

    def kill(self, process: int, number: int) -> None:
        """What Apache does when a daemon process ends: it starts another one, which loads what is live."""
        self.signals.append((process, number))
        del self.children[process]
        if self.replaces is not None:
            self.add(process + 1000, self.replaces())

    def unit_properties(self, _unit: str, *names: str) -> dict[str, str]:
        """What systemd says of Apache."""
        return {name: value for name, value in {**self.state, "MainPID": str(self.PARENT)}.items() if name in names}


@pytest.fixture
def apache(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> Apache:
    """An Apache that has daemon processes of the account that runs the tests."""
    found = Apache(tree)
    me = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(instance_apache, "unit_properties", found.unit_properties)
    monkeypatch.setattr(instance_apache, "_children", lambda parent: set(found.children) if parent == found.PARENT else set())
    monkeypatch.setattr(instance_apache, "_uid", lambda process: found.children.get(process, -1))
    monkeypatch.setattr("os.kill", found.kill)
    monkeypatch.setattr("pwd.getpwnam", lambda _name: me)
    return found


def active(tree: Tree) -> list[str]:
    """The releases that a daemon process has loaded."""
    known = [ApacheInstance(tree.release(path.name), noted("apache", socket="").web) for path in sorted(tree.releases.iterdir())]
    return [one.release.name for one in ApacheInstance.active(known)]


def test_what_an_app_leaves_in_its_run_directory_stops_nobody(tree: Tree, apache: Apache) -> None:
    """It may make marks of any name and kind there; a pipe would be waited for."""
    run_directory = tree.release("new").path / "run"
    for name in ("daemon-xyz", "daemon-", "daemon-1e9", f"daemon-{'9' * 40}"):
        (run_directory / name).touch()
    os.mkfifo(run_directory / "daemon-102")
    (run_directory / "daemon-103").symlink_to("/etc/passwd")
    apache.children |= {102: os.getuid(), 103: os.getuid()}
    apache.add(104, "new")
    assert ApacheInstance(tree.release("new"), noted("apache", socket="").web)._loaded() == {104}


def test_daemon_processes_are_known_by_parent_account_and_mark(tree: Tree, apache: Apache) -> None:
    apache.add(201, "old")
    (tree.release("new").path / "run" / "daemon-101").touch()  # of a process that is another account's now
    (tree.release("new").path / "run" / "daemon-999").touch()  # of a process that has ended
    assert active(tree) == ["old"]
    assert instance(tree, "old", "apache", socket="", log="error.log").is_up()
    assert not instance(tree, "new", "apache", socket="", log="error.log").is_up()


def test_daemon_processes_are_replaced_gracefully(tree: Tree, apache: Apache) -> None:
    apache.add(201, "old")
    apache.add(202, "old")
    instance(tree, "new", "apache", socket="", log="error.log").start()
    assert sorted(apache.signals) == [(201, signal.SIGUSR1), (202, signal.SIGUSR1)]
    assert active(tree) == ["new"] and instance(tree, "new", "apache", socket="", log="error.log").is_up()
    instance(tree, "new", "apache", socket="", log="error.log").start()
    assert len(apache.signals) == 2, "those that have the release are left alone"


def test_daemon_processes_are_replaced_though_they_have_the_release(tree: Tree, apache: Apache) -> None:
    apache.add(201, "new")
    apache.add(202, "new")
    instance(tree, "new", "apache", socket="", log="error.log").restart()
    assert sorted(apache.children) == [101, 1201, 1202] and active(tree) == ["new"]


def test_a_daemon_process_that_does_not_end_is_not_replaced(tree: Tree, apache: Apache, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would answer for those that the restart has to bring."""
    monkeypatch.setattr(instance_apache, "DRAIN_TIMEOUT", 0.1)
    monkeypatch.setattr("os.kill", lambda _process, _number: None)
    apache.add(201, "new")
    with pytest.raises(ReleaseError, match="shop@new does not start: no daemon process of Apache has loaded it in 0.2 s"):
        instance(tree, "new", "apache", socket="", log="error.log").restart()


def test_an_app_that_some_daemon_process_has_not_loaded_is_not_up(tree: Tree, apache: Apache) -> None:
    apache.add(201, "old")
    apache.add(202, "new")
    assert not instance(tree, "new", "apache", socket="", log="error.log").is_up()
    apache.kill(201, signal.SIGUSR1)
    assert instance(tree, "new", "apache", socket="", log="error.log").is_up()
    apache.state["UnitFileState"] = "disabled"
    assert not instance(tree, "new", "apache", socket="", log="error.log").is_up()


def test_a_daemon_process_that_does_not_come_back_is_reported(tree: Tree, apache: Apache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_apache, "run", lambda *_words: None)
    apache.add(201, "old")
    apache.replaces = None
    with pytest.raises(ReleaseError, match="shop@new does not start: no daemon process of Apache has loaded it in 0.2 s"):
        instance(tree, "new", "apache", socket="", log="error.log").start()


def test_half_of_the_daemon_processes_serve_on_where_the_others_do_not_load(tree: Tree, apache: Apache) -> None:
    for process in (201, 202, 203, 204):
        apache.add(process, "old")
    apache.loads = False
    with pytest.raises(ReleaseError, match="does not start"):
        instance(tree, "new", "apache", socket="", log="error.log").start()
    assert sorted(process for process, _signal in apache.signals) == [201, 202]


def test_stopping_ends_the_releases_own_daemon_processes_alone(tree: Tree, apache: Apache) -> None:
    apache.add(201, "old")
    apache.add(202, "new")
    instance(tree, "old", "apache", socket="", log="error.log").stop()
    assert apache.signals == [(201, signal.SIGUSR1)]


def test_no_daemon_process_is_looked_for_where_apache_does_not_run(tree: Tree, apache: Apache) -> None:
    apache.add(201, "old")
    apache.PARENT = 0
    assert active(tree) == []


def test_the_log_has_the_releases_own_lines_once(tree: Tree, apache: Apache, monkeypatch: pytest.MonkeyPatch) -> None:
    apache.add(201, "new")
    lines = [
        "[Sat Nov 21 07:32:16 2026] [wsgi:error] [pid 201:tid 205] [remote 127.0.0.1:57716] RuntimeError: broken",
        "[Sat Nov 21 07:32:17 2026] [wsgi:error] [pid 202:tid 206] [remote 127.0.0.1:57717] another app's secret",
        "[Sat Nov 21 07:32:18 2026] [wsgi:error] [pid 201:tid 205] [remote 127.0.0.1:57718] RuntimeError: broken",
    ]
    monkeypatch.setattr(instance_apache, "run", lambda *words: subprocess.CompletedProcess(words, 0, "\n".join(lines)))
    mine = instance(tree, "new", "apache", socket="", log="error.log")
    assert mine.log() == "RuntimeError: broken"
    assert mine.log(1, times=True) == "[Sat Nov 21 07:32:18 2026] RuntimeError: broken"
    assert mine.follow == "tail --follow=name error.log"
    assert instance(tree, "old", "apache", socket="", log="error.log").log() == ""


def test_apache_is_reloaded_only_where_it_knows_the_app(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(instance_apache, "SITES", tmp_path)
    monkeypatch.setattr(instance_apache, "run", lambda *words: said.append(" ".join(words)))
    (tmp_path / "80").mkdir()
    (tmp_path / "80" / "99-my-shop.conf").touch()
    ApacheInstance.forget(tree)
    assert said == []
    (tmp_path / "80" / "98-shop.conf").touch()
    ApacheInstance.forget(tree)
    assert said == ["systemctl try-reload-or-restart apache2.service"]


def test_a_daemon_process_that_is_still_loading_is_waited_for(tree: Tree, apache: Apache) -> None:
    apache.add(201, "new")
    apache.children[202] = os.getuid()
    loading = threading.Timer(0.2, apache.add, (202, "new"))
    loading.start()
    assert instance(tree, "new", "apache", socket="", log="error.log").is_up()
    loading.join()


class Workers:
    """A master process with workers, of which nothing is real."""

    def __init__(self) -> None:
        self.workers = {11, 12}
        self.replaces = True
        self.said: list[str] = []

    def kill(self, master: int, number: int) -> None:
        """What Gunicorn and uWSGI do with SIGHUP: they replace their workers."""
        assert (master, number) == (10, signal.SIGHUP)
        self.workers = {13, 14} if self.replaces else set()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What supervisorctl and systemctl say."""
        self.said.append(" ".join(words))
        return subprocess.CompletedProcess(words, 0, "10\n")


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Workers:
    """The master of the release `new`, whatever runs it."""
    found = Workers()
    monkeypatch.setattr("os.kill", found.kill)
    monkeypatch.setattr(workers, "workers_of", lambda _master: found.workers)
    monkeypatch.setattr(instance_systemd, "unit_properties", lambda _unit, *_names: {"MainPID": "10", "Type": "notify", "ActiveState": "failed"})
    for module in (instance_systemd, instance_supervisord):
        monkeypatch.setattr(module, "run", found.run)
    return found


@pytest.mark.parametrize("manager", ["systemd", "supervisord"])
def test_a_restart_replaces_the_workers_and_keeps_the_master(tree: Tree, master: Workers, manager: str) -> None:
    instance(tree, "new", manager).restart()
    assert master.workers == {13, 14} and master.said in ([], ["supervisorctl pid shop@new"])


@pytest.mark.parametrize("manager", ["systemd", "supervisord"])
def test_a_master_that_dies_of_it_is_reported(tree: Tree, master: Workers, manager: str) -> None:
    master.replaces = False
    with pytest.raises(ReleaseError, match="shop@new.* died when its workers were replaced"):
        instance(tree, "new", manager).restart()


def test_an_old_worker_that_stays_is_reported(tree: Tree, master: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would answer for the new ones."""
    monkeypatch.setattr(workers, "REPLACE_TIMEOUT", 0)
    monkeypatch.setattr(instance_systemd, "unit_properties", lambda _unit, *_names: {"MainPID": "10", "Type": "notify", "ActiveState": "active"})
    monkeypatch.setattr("os.kill", lambda *_given: setattr(master, "workers", {12, 13}))
    with pytest.raises(ReleaseError, match="shop@new.service has not replaced its workers in 0 s"):
        instance(tree, "new").restart()


def test_a_server_without_workers_is_restarted(tree: Tree, master: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not tell systemd when it is ready."""
    monkeypatch.setattr(instance_systemd, "unit_properties", lambda _unit, *_names: {"MainPID": "10", "Type": "exec"})
    instance(tree, "new").restart()
    assert master.said == ["systemctl restart shop@new.service"]


def test_what_follows_a_log_outlives_the_release(tree: Tree) -> None:
    assert instance(tree, "new").follow == "journalctl --follow --unit='shop@*'"
    assert instance(tree, "new", "supervisord").follow == f"tail --follow=name {tree.root}/current/supervisor.log"


def test_the_workers_of_a_process_are_its_children() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert child.pid in workers.workers_of(os.getpid())
        child.kill()
    assert workers.workers_of(child.pid) == set()
