"""Releases with changed requirements, one after the other, while clients ask all the time: none gets an error, a mix or half an answer."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.tests.load.clients import Clients, Deployed
from ansible_collections.flaskops.hosting.tests.suite import ALL_OF_IT
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Target, app, write_source

SOURCE, LOGS = ROOT / "tests/load/app", ROOT / ".cache/logs"
VERSIONS = ["3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11"]  # of idna: one for each release
RELEASES = VERSIONS if ALL_OF_IT else VERSIONS[:3]  # a fault that one of ten releases has is for `make load` to find
HOST_LOGS = "journalctl --no-pager --lines=2000 --unit='shop*'; tail -n 200 /var/log/*/*error*.log"
ADDRESSES = [f"198.18.2.{last}" for last in range(230, 240)]
LONG_AT_LEAST, LONG_AT_MOST = 8, 20  # seconds that a request of 8 s may take
START_SECONDS = 10  # of the app that starts slowly
NO_FAILURES: dict[str, dict[str, int]] = {"short": {}, "long": {}, "websocket": {}}
UNNOTICED = 6.0  # seconds, on a machine that is busy with other tests; a client that must wait for the app's start would wait ten


@dataclass(frozen=True)
class Topology:
    """A chain from front to worker, by the playbook that makes it and the app's variables; its clients ask at ``port``."""

    name: str
    playbook: str
    settings: dict[str, Any]
    port: int = 80

    @property
    def websocket(self) -> bool:
        """Whether the app's server can hold WebSockets open."""
        return self.settings.get("nginx_gunicorn_worker_class") in ("gthread", "gevent")

    @property
    def more(self) -> dict[str, Any]:
        """The app's variable for that."""
        return {"module": "chat:app"} if self.websocket else {}

    @property
    def requirements(self) -> str:
        """What the app requires beside idna."""
        return "simple-websocket==1.1.0\n" if self.websocket else ""


# As many workers as the clients need; requests of 8 s hold five of them.
GUNICORN: dict[str, dict[str, Any]] = {
    "sync": {"nginx_gunicorn_workers": 10},
    "gthread": {"nginx_gunicorn_worker_class": "gthread", "nginx_gunicorn_threads": 20},
    "gevent": {"nginx_gunicorn_worker_class": "gevent"},
}
UWSGI: dict[str, dict[str, Any]] = {
    "sync": {"uwsgi_app_processes": 10, "uwsgi_app_threads": 1},
    "threads": {"uwsgi_app_threads": 20},
    "gevent": {"uwsgi_app_worker_class": "gevent", "uwsgi_app_threads": 50},
}
HTTP = {"uwsgi_app_protocol": "http"}
# The app's own port: its clients do not come through the front, which always uses the release's socket.
GUNICORN_PORT, UWSGI_PORT = {"nginx_gunicorn_listen": "0.0.0.0:8080"}, {"uwsgi_app_listen": "0.0.0.0:1024", **HTTP}
ALL = [
    *(Topology(f"gunicorn-{kind}", "nginx_gunicorn", GUNICORN[kind]) for kind in GUNICORN),
    *(Topology(f"gunicorn-port-{kind}", "nginx_gunicorn", {**GUNICORN_PORT, **GUNICORN[kind]}, 8080) for kind in GUNICORN),
    *(Topology(f"apache-gunicorn-{kind}", "apache_gunicorn", GUNICORN[kind]) for kind in GUNICORN),
    *(Topology(f"uwsgi-{kind}", "nginx_uwsgi", UWSGI[kind]) for kind in UWSGI),
    *(Topology(f"uwsgi-http-{kind}", "nginx_uwsgi", {**HTTP, **UWSGI[kind]}) for kind in UWSGI),
    *(Topology(f"uwsgi-port-{kind}", "nginx_uwsgi", {**UWSGI_PORT, **UWSGI[kind]}, 1024) for kind in UWSGI),
    Topology("uwsgi-supervisord", "nginx_uwsgi", {"uwsgi_app_manager": "supervisord", **UWSGI["threads"]}),
    Topology("apache-uwsgi", "apache_uwsgi_mysql", UWSGI["threads"]),
    Topology("mod_wsgi", "apache_mod_wsgi", {"apache_wsgi_threads": 20}),
    Topology("mod_wsgi-one-process", "apache_mod_wsgi", {"apache_wsgi_processes": 1, "apache_wsgi_threads": 40}),
]
# Each server, each front, and an app's own port; `make load` takes all, with every kind of worker.
ALWAYS = ("gunicorn-sync", "apache-gunicorn-gthread", "uwsgi-port-sync", "mod_wsgi")
CHOSEN = [one for one in ALL if one.name in ALWAYS or ALL_OF_IT]


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Path:
    """A log file for a test, which stays after the test."""
    path = LOGS / f"{request.node.name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def topology(request: pytest.FixtureRequest) -> Topology:
    """The chain that the target gets."""
    given: Topology = request.param
    return given


@pytest.fixture(scope="module")
def host(topology: Topology, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A target for all tests of a topology, only in its group, because deploy uses the groups."""
    assert shutil.which("wrk"), "wrk is missing: dev/load installs it"
    target = Target(f"load-{topology.name}", address(), "ubuntu-like-ready", tmp_path_factory.mktemp("host"), topology.playbook)
    try:
        target.up()
        groups = yaml.safe_load(target.inventory.read_text())
        target.inventory.write_text(yaml.safe_dump({topology.playbook: groups[topology.playbook]}))
        yield target
        (LOGS / f"load-{topology.name}.log").write_text(target.run(HOST_LOGS, check=False))
    finally:
        target.down()


def address() -> str:
    """An address for each worker, so that two tests can run at the same time."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return ADDRESSES[int(worker)]


def release(host: Target, topology: Topology, number: int, work: Path, more: str = "") -> Deployed:
    """Release the app with this number and its requirement: the first time with the topology's playbook, then with deploy."""
    code = {path.name: path.read_text() for path in SOURCE.glob("*.py")}
    code["main.py"] = code["main.py"].replace("NUMBER = 0", f"NUMBER = {number}") + more
    source = write_source(work / "source", {**code, "requirements.txt": f"idna=={VERSIONS[number]}\n{topology.requirements}"})
    # Only two releases are kept, so that a release that is removed while a long request needs it would be noticed.
    apps = [app("shop", source, requirements="requirements.txt", keep_releases=2, **topology.settings, **topology.more)]
    if number == 0:
        play = host.converge(apps)
    else:
        play = host.converge(apps, playbook="deploy", variables={"flask_app_name": "shop"})
    path = host.run("readlink -f /srv/shop/current")
    return Deployed(number, VERSIONS[number], path, host.run(f"readlink -f {path}/.venv"), play.output)


def report(name: str, clients: Clients, releases: list[Deployed], seconds: list[float], log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Print the results of all requests, to the terminal and to the log."""
    failed = {f"{kind}: {what}": count for kind, found in clients.outcomes().items() for what, count in found.failures(releases).items()}
    text = (
        f"load {name}: {len(seconds)} releases in {sum(seconds):.0f} s (slowest {max(seconds):.1f} s); "
        f"{clients.short.total} short requests, slowest {clients.short.slowest:.2f} s; "
        f"{clients.long.total} of 8 s, slowest {clients.long.slowest:.2f} s; "
        f"{clients.messages.total} messages on WebSockets, which were closed {clients.asked_to_go} times; failed: {failed or 'none'}"
    )
    with log.open("a") as out:
        out.write(f"{text}\n")
    with capfd.disabled():
        print(f"\n{text}", file=sys.stderr, flush=True)


@pytest.mark.parametrize("topology", CHOSEN, ids=lambda one: one.name, indirect=True)
def test_no_request_fails(topology: Topology, host: Target, tmp_path: Path, log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Releases in a row, ten with `make load`: every answer is complete and from one release, and requests of 8 s are completed."""
    releases, seconds = [release(host, topology, 0, tmp_path)], []
    host.run(f"ufw allow {topology.port}/tcp")  # an app's own port is for its host alone, until somebody opens it
    with Clients(host.address, log, topology.port, topology.websocket) as clients:
        for number in range(1, len(RELEASES)):
            began = time.monotonic()
            releases.append(release(host, topology, number, tmp_path))
            seconds.append(time.monotonic() - began)
    report(topology.name, clients, releases, seconds, log, capfd)
    assert {kind: found.failures(releases) for kind, found in clients.outcomes().items()} == NO_FAILURES, f"see {log}"
    assert clients.short.numbers() == set(range(len(RELEASES))), "a release never got a request"
    assert clients.long.slowest < LONG_AT_MOST
    assert clients.asked_to_go == (len(RELEASES) - 1 if topology.websocket else 0)
    assert clients.messages.numbers() == (set(range(len(RELEASES))) if topology.websocket else set())


@pytest.mark.parametrize("topology", CHOSEN[:1], ids=lambda one: one.name, indirect=True)
def test_slow_start_is_not_noticed(host: Target, topology: Topology, tmp_path: Path, log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An app that takes ten seconds to start does so beside the live release."""
    releases = [release(host, topology, 0, tmp_path)]  # on a host that has the app already, and so a release of it
    with Clients(host.address, log) as clients:
        began = time.monotonic()
        releases.append(release(host, topology, 1, tmp_path, f"time.sleep({START_SECONDS})\n"))
        seconds = time.monotonic() - began
    report("slow-start", clients, releases, [seconds], log, capfd)
    assert seconds > START_SECONDS and clients.short.numbers() == {0, 1}
    under_way = f"{host.name}: shop: staging the release (code, virtual environment, pre-flight), then making the release live ("
    assert any(under_way in line and "), 10 s so far" in line for line in releases[1].output.splitlines())
    assert {kind: found.failures(releases) for kind, found in clients.outcomes().items()} == NO_FAILURES, f"see {log}"
    assert clients.short.slowest < UNNOTICED
