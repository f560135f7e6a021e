"""What survey shows of a host's apps, directories and ports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.filter.status_table import status_table
from ansible_collections.flaskops.hosting.plugins.module_utils import activation, app_status, host_survey
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_systemd import SystemdInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.record import Listen, NotedInstance, Record, Site
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Tree
from ansible_collections.flaskops.hosting.tests.unit.releases import noted


def test_a_directory_that_is_on_no_record_holds_somebody_elses_files(tmp_path: Path) -> None:
    for name in [f"{number:02}" for number in range(12)]:
        (tmp_path / name).touch()
    root = str(tmp_path)
    assert host_survey.look_at_root(root, {}) == {"exists": True, "foreign": [f"{number:02}" for number in range(10)]}
    assert host_survey.look_at_root(root, {"shop": Record("shop", root)}) == {"exists": True, "foreign": []}
    assert host_survey.look_at_root(f"{root}/none", {}) == host_survey.look_at_root("", {}) == {"exists": False, "foreign": []}


def test_a_port_is_its_address_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listens = {"a-port-8080": "127.0.0.1:8080", "b-port-8080": "127.0.0.2:8080", "c": "[::1]:8080", "d": "/run/d.sock"}
    for name, listen in listens.items():
        (tmp_path / f"{name}.socket").write_text(f"[Socket]\nListenStream={listen}\nNoDelay=yes\n")
    (tmp_path / "dangling.socket").symlink_to(tmp_path / "none")
    monkeypatch.setattr(host_survey, "UNITS", tmp_path)
    assert host_survey.socket_units() == {
        ("127.0.0.1", 8080): "a-port-8080.socket",
        ("127.0.0.2", 8080): "b-port-8080.socket",
        ("::1", 8080): "c.socket",
    }


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """An app with a live release."""
    found = Tree("shop", tmp_path)
    found.release("one").path.mkdir(parents=True)
    found.release("one").mark_complete(noted(protocol="uwsgi", health_path="/healthz", names_release=True))
    found.point_current_to(found.release("one"))
    monkeypatch.setattr(SystemdInstance, "state", lambda _instance: "active")
    monkeypatch.setattr(activation, "instance_log", lambda release, lines, times: f"{release.name} {lines} {times}\nb")
    return found


def test_an_app_is_shown_as_it_is_on_record(tree: Tree) -> None:
    record = Record("shop", str(tree.root), topology="nginx_uwsgi", sites=[Site("nginx", "80", ["shop.example"], [Listen()])])
    shown = host_survey.apps({"shop": record}, False)["shop"]
    front = {"address": "127.0.0.1:80", "host": "shop.example", "proof": str(tree.root)}
    assert shown == {**record.to_json(), "front": front, "live": "one", "databases": []}
    assert Record.from_json(json.loads(json.dumps(shown)), "shop") == record, "the controller reads it again"


@pytest.mark.parametrize("status", [True, False])
def test_an_app_of_which_little_is_known_stops_nobody(tmp_path: Path, status: bool) -> None:
    (tmp_path / "file").touch()
    records = {"shop": Record("shop"), "blog": Record("blog", str(tmp_path / "none")), "wiki": Record("wiki", str(tmp_path / "file"))}
    found = host_survey.apps(records, status)
    assert {name: shown["live"] for name, shown in found.items()} == {"shop": "", "blog": "", "wiki": ""}
    if status:
        hostvars = {"web": {"__host": {"apps": found}}}
        assert len(status_table(["web"], hostvars, ["web"])) == 1 + len(found), "each has its row"


@pytest.mark.parametrize(
    ("record", "asked"),
    [
        ({"sites": [Site("nginx", "80", [], [Listen()])], "mount": "/shop"}, ("127.0.0.1:80", "localhost", "/shop/healthz", "http", "{root} one")),
        ({"instances": [NotedInstance(listen="127.0.0.1:5000")]}, ("127.0.0.1:5000", "localhost", "/healthz", "http", "")),
        ({}, ("unix:{root}/releases/one/run/app.sock", "localhost", "/healthz", "uwsgi", "")),
    ],
)
def test_health_is_asked_for_where_visitors_ask_if_there_are_any(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, record: dict[str, Any], asked: tuple[str, ...]
) -> None:
    questions: list[tuple[Any, ...]] = []

    def ask(*given: Any) -> str:
        questions.append(given)
        return "200 OK"

    monkeypatch.setattr(app_status, "ask", ask)
    shown = host_survey.tell_app(Record("shop", str(tree.root), **record), True)
    address, host, path, protocol, proof = asked
    assert questions == [(address.format(root=tree.root), host, path, app_status.HEALTH_TIMEOUT, protocol, proof.format(root=tree.root))]
    assert (shown["health"], shown["processes"], shown["log"]) == ("200 OK", {"web": "active"}, ["one 5 True", "b"])
    assert (shown["follow"], shown["previous"]) == ("journalctl --follow --unit='shop@*'", "")


def listening(process: str, port: int) -> dict[str, Any]:
    """A port as the survey finds it."""
    return {"address": "0.0.0.0", "port": port, "user": "root", "process": process, "unit": ""}


@pytest.mark.parametrize(
    ("sockets", "units", "came_by", "ports"),
    [
        ([listening("sshd", 2222), listening("nginx", 80)], "", set(), [2222]),
        ([listening("sshd", 22), listening("dropbear", 2022)], "", {22}, [22, 2022]),
        ([listening("systemd", 22)], "Listen=0.0.0.0:22 (Stream)\nListen=[::]:2222 (Stream)\n\nListen=/run/x (Stream)\n", set(), [22, 2222]),
        ([listening("stunnel", 443)], "", {443}, [443]),
        ([], "", set(), [22]),
    ],
)
def test_every_port_that_ssh_may_come_by_is_found(
    monkeypatch: pytest.MonkeyPatch, sockets: list[dict[str, Any]], units: str, came_by: set[int], ports: list[int]
) -> None:
    monkeypatch.setattr(host_survey, "run", lambda *words: subprocess.CompletedProcess(words, 0, stdout=units))
    monkeypatch.setattr(host_survey, "came_by", lambda pid: came_by)
    assert host_survey.ssh_ports(sockets) == ports


def test_the_port_that_a_connection_came_by_is_in_a_process_above() -> None:
    """Where sudo has cleared the environment."""
    script = f"from {host_survey.__name__} import came_by; import os; print(came_by(os.getpid()))"
    words = [
        sys.executable,
        "-c",
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {script!r}], env={{'PYTHONPATH': {os.pathsep.join(sys.path)!r}}})",
    ]
    shown = subprocess.run(
        words, env={"SSH_CONNECTION": "192.0.2.7 50000 192.0.2.1 2200", "PATH": "/bin"}, capture_output=True, text=True, check=True
    )
    assert shown.stdout == "{2200}\n"


@pytest.mark.parametrize("wrong", [None, OSError("no such family")])
def test_a_host_without_ipv6_is_one_on_which_nothing_can_listen_there(monkeypatch: pytest.MonkeyPatch, wrong: OSError | None) -> None:
    class Socket:
        def __init__(self, *_given: Any) -> None:
            if wrong:
                raise wrong

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_given: Any) -> None: ...

        def bind(self, address: tuple[str, int]) -> None:
            assert address == ("::", 0)

    monkeypatch.setattr("socket.socket", Socket)
    assert host_survey.ipv6() is (wrong is None)
