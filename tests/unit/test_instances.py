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
from ansible_collections.flaskops.hosting.plugins.module_utils import activation, instance_apache, instance_supervisord, instance_systemd
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_apache import ApacheInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_supervisord import SupervisordInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_systemd import SystemdInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import ReleaseError, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An app with two releases."""
    made = Tree("shop", tmp_path / "srv")
    for name in ("old", "new"):
        release = made.release(name)
        (release.path / "run").mkdir(parents=True)
        (release.path / "supervisor.conf").write_text(f"[program:shop@{name}]\n")
        (release.path / "app.service").write_text("[Service]\n")
        release.mark_complete({"manager": "supervisord", "user": "shop", "health_timeout": 0.2, "log": str(made.root / "error.log")})
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
        """What supervisorctl does: `update` takes what conf.d says, `status` tells of one."""
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
        told = f"{name}   {state} pid 7" if state else f"{name}: ERROR (no such process)"
        return subprocess.CompletedProcess(words, 0 if state else 4, told)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with supervisord, of which nothing is real."""
    found = Host(tmp_path / "conf.d")
    monkeypatch.setattr(instance_supervisord, "PROGRAMS", found.programs)
    monkeypatch.setattr(instance_supervisord, "run", found.run)
    return found


def test_a_program_is_there_only_while_it_shall_run(tree: Tree, host: Host) -> None:
    instance = SupervisordInstance(tree, "new")
    assert SupervisordInstance.active(tree) == set() and not instance.is_up()
    instance.start()
    assert (host.programs / "shop@new.conf").read_text() == "[program:shop@new]\n"
    assert SupervisordInstance.active(tree) == {instance} and instance.is_up()
    assert SupervisordInstance.active(Tree("sho", tree.root)) == set(), "another app's name may begin with the same letters"
    instance.stop()
    assert list(host.programs.iterdir()) == [] and host.running == {} and not instance.is_up()


def test_supervisord_is_stopped_with_its_last_program(tree: Tree, host: Host) -> None:
    SupervisordInstance(tree, "new").start()
    SupervisordInstance.forget(tree)
    assert not [line for line in host.said if "disable" in line]
    SupervisordInstance(tree, "new").stop()
    SupervisordInstance.forget(tree)
    assert host.said[-1] == "systemctl disable --now supervisor.service"


def test_a_program_that_somebody_stopped_is_started(tree: Tree, host: Host) -> None:
    SupervisordInstance(tree, "new").start()
    host.running["shop@new"] = "STOPPED"
    assert not SupervisordInstance(tree, "new").is_up()
    SupervisordInstance(tree, "new").start()
    assert SupervisordInstance(tree, "new").is_up()


@pytest.mark.parametrize("state", ["BACKOFF", "FATAL", "EXITED"])
def test_a_program_that_does_not_start_is_told(tree: Tree, host: Host, state: str) -> None:
    host.becomes = state
    with pytest.raises(ReleaseError, match="shop@new does not start under supervisord"):
        SupervisordInstance(tree, "new").start()


def test_supervisord_gets_time_to_answer_after_its_start(tree: Tree, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.answers_after = 3
    SupervisordInstance(tree, "new").start()
    assert host.said[0] == "systemctl enable --now supervisor.service" and SupervisordInstance(tree, "new").is_up()
    monkeypatch.setattr(instance_supervisord, "SUPERVISORD_TIMEOUT", 0.01)
    host.answers_after = 1_000_000
    with pytest.raises(ReleaseError, match="supervisord does not take shop@old: unix:///var/run/supervisor.sock no such file"):
        SupervisordInstance(tree, "old").start()


def test_instances_of_all_managers_are_found(tree: Tree, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_systemd, "WANTS", tmp_path / "wants")
    (tmp_path / "wants").mkdir()
    (tmp_path / "wants" / "shop@old.service").touch()
    (tmp_path / "wants" / "shop2@old.service").touch()
    listed = subprocess.CompletedProcess([], 0, "shop@older.service loaded active running\n")
    monkeypatch.setattr(instance_systemd, "run", lambda *_words: listed)
    monkeypatch.setattr(instance_apache, "unit_properties", lambda *_names: {})
    SupervisordInstance(tree, "new").start()
    found = [SystemdInstance(tree, "old"), SystemdInstance(tree, "older"), SupervisordInstance(tree, "new")]
    assert activation.active_instances(tree) == found
    assert activation.other_instances(tree.release("new")) == found[:2]


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
    monkeypatch.setattr(instance_apache.os, "kill", found.kill)
    monkeypatch.setattr(instance_apache.pwd, "getpwnam", lambda _name: me)
    return found


def test_daemon_processes_are_known_by_parent_account_and_mark(tree: Tree, apache: Apache) -> None:
    apache.add(201, "old")
    (tree.release("new").path / "run" / "daemon-101").touch()  # of a process that is another account's now
    (tree.release("new").path / "run" / "daemon-999").touch()  # of a process that has ended
    assert ApacheInstance.active(tree) == {ApacheInstance(tree, "old")}
    assert ApacheInstance(tree, "old").is_up() and not ApacheInstance(tree, "new").is_up()


def test_daemon_processes_are_replaced_gracefully(tree: Tree, apache: Apache) -> None:
    apache.add(201, "old")
    apache.add(202, "old")
    ApacheInstance(tree, "new").start()
    assert sorted(apache.signals) == [(201, signal.SIGUSR1), (202, signal.SIGUSR1)]
    assert ApacheInstance.active(tree) == {ApacheInstance(tree, "new")} and ApacheInstance(tree, "new").is_up()
    ApacheInstance(tree, "new").start()
    assert len(apache.signals) == 2, "those that have the release are left alone"


def test_an_app_that_some_daemon_process_has_not_loaded_is_not_up(tree: Tree, apache: Apache) -> None:
    apache.add(201, "old")
    apache.add(202, "new")
    assert not ApacheInstance(tree, "new").is_up()
    apache.kill(201, signal.SIGUSR1)
    assert ApacheInstance(tree, "new").is_up()
    apache.state["UnitFileState"] = "disabled"
    assert not ApacheInstance(tree, "new").is_up()


def test_a_daemon_process_that_does_not_come_back_is_told(tree: Tree, apache: Apache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_apache, "run", lambda *_words: None)
    apache.add(201, "old")
    apache.replaces = None
    with pytest.raises(ReleaseError, match="shop@new does not start: Apache has started none that loads it in 0.2 s"):
        ApacheInstance(tree, "new").start()


def test_half_of_the_daemon_processes_serve_on_where_the_others_do_not_load(tree: Tree, apache: Apache) -> None:
    for process in (201, 202, 203, 204):
        apache.add(process, "old")
    apache.loads = False
    with pytest.raises(ReleaseError, match="does not start"):
        ApacheInstance(tree, "new").start()
    assert sorted(process for process, _signal in apache.signals) == [201, 202]


def test_stopping_ends_the_releases_own_daemon_processes_alone(tree: Tree, apache: Apache) -> None:
    apache.add(201, "old")
    apache.add(202, "new")
    ApacheInstance(tree, "old").stop()
    assert apache.signals == [(201, signal.SIGUSR1)]


def test_no_daemon_process_is_looked_for_where_apache_does_not_run(tree: Tree, apache: Apache) -> None:
    apache.add(201, "old")
    apache.PARENT = 0
    assert ApacheInstance.active(tree) == set()


def test_the_log_has_the_releases_own_lines_once(tree: Tree, apache: Apache, monkeypatch: pytest.MonkeyPatch) -> None:
    apache.add(201, "new")
    lines = [
        "[Sat Nov 21 07:32:16 2026] [wsgi:error] [pid 201:tid 205] [remote 127.0.0.1:57716] RuntimeError: broken",
        "[Sat Nov 21 07:32:17 2026] [wsgi:error] [pid 202:tid 206] [remote 127.0.0.1:57717] another app's secret",
        "[Sat Nov 21 07:32:18 2026] [wsgi:error] [pid 201:tid 205] [remote 127.0.0.1:57718] RuntimeError: broken",
    ]
    monkeypatch.setattr(instance_apache, "run", lambda *words: subprocess.CompletedProcess(words, 0, "\n".join(lines)))
    assert ApacheInstance(tree, "new").log() == "RuntimeError: broken"
    assert ApacheInstance(tree, "old").log() == ""


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
    assert ApacheInstance(tree, "new").is_up()
    loading.join()
