"""Gunicorn serves with each worker class, on a unix socket and on TCP, in a sandbox that systemd rates at 1.5 or better."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import Target, app, eventually

ADDRESS = "198.18.2.40"
SANDBOX_SCORE = 1.5
SERVERS: dict[str, dict[str, Any]] = {
    "plain": {"flask_app_listen": "80", "nginx_gunicorn_worker_class": "sync", "nginx_gunicorn_workers": 3},
    "gthread": {
        "flask_app_listen": "81",
        "nginx_gunicorn_worker_class": "gthread",
        "nginx_gunicorn_threads": 8,
        "nginx_gunicorn_options": {"raw_env": ["OPTION='1\""]},
    },
    "gevent": {"flask_app_listen": "82", "nginx_gunicorn_worker_class": "gevent", "nginx_gunicorn_workers": 1},
    "tcp": {"flask_app_listen": "83", "nginx_gunicorn_listen": "127.0.0.1:8080"},
}
SUITS = min(2 * (os.cpu_count() or 1) + 1, 12)  # workers by default; a target has the processors of this machine
WORKERS = {"plain": 3, "gthread": SUITS, "gevent": 1, "tcp": SUITS}
CLASSES = {"plain": "sync", "gthread": "gthread", "gevent": "ggevent", "tcp": "sync"}
# An app that answers slowly, and whose answer names the worker classes that its process has loaded.
MAIN = """
import json, os, sys, time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1)
    kinds = [name.rpartition(".")[2] for name in sys.modules if name.startswith("gunicorn.workers.")]
    start_response("200 OK", [("Content-Type", "application/json")])
    shown = {name: value for name, value in os.environ.items() if name == "OPTION" or name.startswith("FLASKOPS_")}
    return [json.dumps({"kinds": kinds, "pid": os.getpid(), "path": len(environ["PATH_INFO"]), "environment": shown}).encode()]
"""


def apps(source: str, names: list[str]) -> list[dict[str, Any]]:
    """One app for each of the servers."""
    return [app(name, source, **SERVERS[name]) for name in names]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app's directory."""
    directory = tmp_path_factory.mktemp("slow")
    (directory / "main.py").write_text(MAIN)
    return str(directory)


@pytest.fixture(scope="module")
def host(target: Target, source: str) -> Target:
    """A target with one app for each of the servers."""
    target.converge(apps(source, list(SERVERS)))
    return target


def assert_serves_in_sandbox(host: Target, name: str) -> None:
    """The app answers through nginx with the right workers, and systemd rates its unit well."""
    port = int(SERVERS[name]["flask_app_listen"])
    assert set(host.get("/", port=port).json()["kinds"]) & {"sync", "gthread", "ggevent"} == {CLASSES[name]}
    unit = f"{name}@{host.live(name)}.service"
    main = host.run(f"systemctl show --property=MainPID --value {unit}")
    assert len(host.run(f"pgrep -P {main}").split()) == WORKERS[name]
    assert host.exposure(unit) <= SANDBOX_SCORE


@pytest.mark.parametrize("name", SERVERS)
def test_serves_in_sandbox(host: Target, name: str) -> None:
    """On the Ubuntu-like target."""
    assert_serves_in_sandbox(host, name)


def test_app_knows_its_release_and_gets_what_a_further_option_gives(host: Target) -> None:
    """Quotes included."""
    release = host.live("gthread")
    assert host.get("/", port=81).json()["environment"] == {
        "OPTION": "'1\"", "FLASKOPS_APP": "gthread", "FLASKOPS_RELEASE": release, "FLASKOPS_PHASE": "web",
        "FLASKOPS_RELEASE_PATH": f"/srv/gthread/releases/{release}",
    }  # fmt: skip


@pytest.mark.parametrize("name", SERVERS)
def test_takes_as_long_a_url_as_nginx(host: Target, name: str) -> None:
    """Of 8 KiB with the method and the protocol."""
    path = "/" + "x" * 8150
    assert host.get(path, port=int(SERVERS[name]["flask_app_listen"])).json()["path"] == len(path)


@pytest.mark.parametrize("name", ["gthread", "gevent"])
def test_serves_slow_requests_side_by_side(host: Target, name: str) -> None:
    """Eight requests of a second each for each worker take no eight seconds: the worker class does what it is chosen for."""
    port, at_once = int(SERVERS[name]["flask_app_listen"]), 8 * WORKERS[name]
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(lambda _: host.get("/slow", port=port).status, range(at_once)))
    assert answers == [200] * at_once and time.monotonic() - began < 6


def test_listens_where_it_should(host: Target) -> None:
    """Each on its unix socket, one on loopback too, on a port that systemd holds; nothing but nginx and SSH listens to others."""
    listening = host.run("ss --listening --tcp --numeric --no-header --processes")
    outside = {line.split()[3].rpartition(":")[2] for line in listening.splitlines() if not line.split()[3].startswith(("127.", "[::1]"))}
    assert outside == {"22", "80", "81", "82", "83"}
    assert "127.0.0.1:8080" in listening and host.succeeds("systemctl is-enabled tcp-port-8080.socket")
    for name in SERVERS:
        assert host.run(f"stat -c %F /srv/{name}/current/run/app.sock") == "socket"


CONNECT = "import socket; socket.create_connection(('127.0.0.1', 8080), 2).close()"


def may_connect(host: Target, account: str) -> bool:
    """Return whether an account can connect to the app's own port."""
    return host.succeeds(f'setpriv --reuid={account} --regid=nogroup --clear-groups python3 -c "{CONNECT}"')


def test_only_root_and_the_front_can_connect_to_an_own_port(host: Target) -> None:
    """Not another app, nor a person, nor the app itself; also after the unit has been restarted. The table goes with the port."""
    host.run("systemctl restart tcp-port-8080.socket")
    may = {account: may_connect(host, account) for account in ("root", "www-data", "tcp", "plain", "nobody", "ubuntu")}
    assert may == {"root": True, "www-data": True, "tcp": False, "plain": False, "nobody": False, "ubuntu": False}
    assert host.get("/", port=83).status == 200
    host.run("systemctl stop tcp-port-8080.socket")
    assert "tcp-port" not in host.run("nft list tables")
    host.run("systemctl start tcp-port-8080.socket")


def test_logs_of_visitors_are_rotated(host: Target) -> None:
    """By a timer that runs on every distribution; nginx goes on in a new file."""
    assert host.run("systemctl is-active logrotate.timer; systemctl is-enabled logrotate.timer").split() == ["active", "enabled"]
    host.get("/before")
    host.run("logrotate --force /etc/logrotate.conf")
    host.get("/after")
    now, before = (f"/var/log/nginx/access.log{ending}" for ending in ("", ".1"))
    assert eventually(lambda: host.succeeds(f"grep -q /after {now} && grep -q /before {before}"))
    assert not host.succeeds(f"grep -q /before {now}")


def test_answers_tell_no_version(host: Target) -> None:
    """Neither nginx's nor Gunicorn's, in a good answer and in nginx's own error page."""
    for path in ("/", "/%00"):
        answer = host.get(path)
        assert answer.headers["Server"] == "nginx"
        assert not re.search(r"nginx/\d|gunicorn", f"{answer.headers} {answer.text}")


def test_killed_worker_and_killed_server_come_back(host: Target) -> None:
    """Gunicorn replaces a worker, systemd replaces Gunicorn."""
    before = host.get("/").json()["pid"]
    host.run(f"kill -9 {before}")
    assert host.get("/").json()["pid"] != before
    unit = f"plain@{host.live('plain')}.service"
    server = host.run(f"systemctl show --property=MainPID --value {unit}")
    host.run(f"systemctl kill --signal=KILL {unit}")
    assert eventually(lambda: host.get("/").status == 200)
    assert host.run(f"systemctl show --property=MainPID --value {unit}") != server


def test_changed_settings_restart_once(host: Target, source: str) -> None:
    """Another number of workers, another environment on a port that releases share: new releases of the same builds; no other instance is started."""
    started = "systemctl show --property=ActiveEnterTimestampMonotonic --value"
    others = {name: host.run(f"{started} {name}@{host.live(name)}.service") for name in ("gthread", "gevent")}
    before = {name: host.live(name) for name in ("plain", "tcp")}
    plain, gthread, tcp = apps(source, ["plain", "gthread", "tcp"])
    play = host.converge([{**plain, "nginx_gunicorn_workers": 2}, gthread, {**tcp, "flask_app_environment": {"GREETING": "hello"}}])
    assert play.changed == ["Stage the release, and let it prove itself", "Make the release live, and ask for it through the front"] * 2
    assert {name: host.run(f"{started} {name}@{host.live(name)}.service") for name in others} == others
    for name, live in before.items():
        after = host.live(name)
        assert after != live and after.split("-")[0] == live.split("-")[0]
        assert host.run(f"systemctl show --property=NRestarts --value {name}@{after}") == "0"
        assert host.get("/", port=int(SERVERS[name]["flask_app_listen"])).status == 200


def test_release_that_fails_under_its_server_goes_back(host: Target, tmp_path: Path) -> None:
    """It passes the pre-flight and dies in Gunicorn: the old release keeps serving on the port that both share."""
    live = host.live("tcp")
    (tmp_path / "main.py").write_text(f"{MAIN}\nif 'gunicorn' in sys.modules:\n    raise RuntimeError('not under Gunicorn')\n")
    play = host.play(apps(str(tmp_path), ["tcp"]))
    assert play.returncode == 2
    assert "RuntimeError: not under Gunicorn" in play.output and f"Release {live} keeps serving." in play.output
    assert host.live("tcp") == live
    assert host.get("/", port=83).status == 200
    assert host.run(f"systemctl is-enabled tcp@{live}.service") == "enabled"
    assert len(host.run("ls /srv/tcp/releases/*/failed.json").split()) == 1
    units = host.run("systemctl list-units --plain --no-legend --state=active,activating,failed 'tcp@*'").splitlines()
    assert [line.split()[0] for line in units] == [f"tcp@{live}.service"]


@thorough
def test_debian_12(new_target: Callable[..., Target], source: str) -> None:
    """The oldest systemd that is supported serves in the same sandbox; so does its Python."""
    old = new_target("198.18.2.41", "debian12")
    names = ["gevent", "tcp"]
    old.converge(apps(source, names))
    for name in names:
        assert_serves_in_sandbox(old, name)
