"""The documented apps behind nginx and Gunicorn, as a host of this topology must be after a converge and a reboot."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass

import pytest
from testinfra.host import Host

SANDBOX_SCORE = 1.5


@dataclass(frozen=True)
class App:
    """One documented app: where it answers, and what runs it."""

    name: str
    port: int
    workers: int
    listen: str


BLUEOCTOPUS = App("blueoctopus", 80, 2, "unix:///srv/blueoctopus/current/run/app.sock")
FLASKSAMPLE = App("flasksample", 81, 4, "tcp://127.0.0.1:8080")
APPS = pytest.mark.parametrize("app", [BLUEOCTOPUS, FLASKSAMPLE], ids=lambda app: app.name)
OTHER = {BLUEOCTOPUS: FLASKSAMPLE, FLASKSAMPLE: BLUEOCTOPUS}


@pytest.fixture(autouse=True)
def only_this_topology(host: Host) -> None:
    """These facts hold on hosts of this topology alone."""
    if "nginx_gunicorn" not in host.ansible.get_variables()["group_names"]:
        pytest.skip("a host of another topology")


def ask(host: Host, path: str, port: int, method: str = "GET") -> tuple[int, dict[str, str], str]:
    """Ask from outside of the host, through its firewall: the status, the headers, the body."""
    connection = http.client.HTTPConnection(host.ansible.get_variables()["ansible_host"], port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def unit(host: Host, app: App) -> str:
    """The systemd unit of the app's live release."""
    return f"{app.name}@{host.check_output(f'basename $(readlink /srv/{app.name}/current)')}.service"


def may(host: Host, app: App, command: str) -> bool:
    """Tell whether a command succeeds as the app's account."""
    return host.run(f"setpriv --reuid={app.name} --regid={app.name} --init-groups {command}").rc == 0


def test_blueoctopus_page(host: Host) -> None:
    """The page, from its template."""
    status, headers, body = ask(host, "/", BLUEOCTOPUS.port)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<h1>Hello from Flask server</h1>" in body and "{{" not in body
    assert '<link rel="stylesheet" href="/static/style.css">' in body


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_blueoctopus_api(host: Host, method: str) -> None:
    """JSON with status 201, for both methods."""
    status, headers, body = ask(host, "/api2", BLUEOCTOPUS.port, method)
    assert (status, headers["Content-Type"]) == (201, "application/json")
    assert json.loads(body) == {"server_status": 201, "description": "Hello from python"}


def test_blueoctopus_static_file(host: Host) -> None:
    """The style sheet, from nginx: Flask would name the file in a Content-Disposition."""
    status, headers, body = ask(host, "/static/style.css", BLUEOCTOPUS.port)
    assert (status, headers["Content-Type"]) == (200, "text/css") and "Content-Disposition" not in headers
    assert "color" in body


def test_flasksample_greets(host: Host) -> None:
    """The greeting."""
    status, _headers, body = ask(host, "/", FLASKSAMPLE.port)
    assert (status, body) == (200, "Hello World!")


@APPS
def test_answers_tell_no_version(host: Host, app: App) -> None:
    """Neither in a good answer nor in an error page."""
    for path in ("/", "/%00", "/nowhere"):
        _status, headers, body = ask(host, path, app.port)
        assert headers["Server"] == "nginx"
        assert not re.search(r"nginx/\d|gunicorn|werkzeug", f"{headers}{body}", re.IGNORECASE)


@APPS
def test_one_instance_runs_and_is_enabled(host: Host, app: App) -> None:
    """The live release's, and no other; a boot starts it."""
    service = host.service(unit(host, app))
    assert service.is_running and service.is_enabled
    assert host.check_output(f"systemctl list-units --plain --no-legend '{app.name}@*.service' | cut -d' ' -f1") == unit(host, app)


@APPS
def test_processes(host: Host, app: App) -> None:
    """One Gunicorn with its documented workers, all of them the app's account's."""
    main = host.check_output(f"systemctl show --property=MainPID --value {unit(host, app)}")
    # nothing else runs as this account
    parents = host.check_output(f"ps -u {app.name} -o ppid=").split()
    assert sorted(parents) == sorted(["1", *[main] * app.workers])
    assert host.check_output(f"ps -o user:32= -p {main} --ppid {main} | sort -u") == app.name


@APPS
def test_account(host: Host, app: App) -> None:
    """A system account without a login shell, a home or a further group."""
    user = host.user(app.name)
    assert user.uid < 1000 and user.shell == "/usr/sbin/nologin" and user.home == "/nonexistent"
    assert user.groups == [app.name]


@APPS
def test_account_writes_no_code_and_reads_no_neighbour(host: Host, app: App) -> None:
    """Its own code is root's; the environment of either app is for root alone."""
    current, other = f"/srv/{app.name}/current", f"/srv/{OTHER[app].name}/current"
    code = [f"{current}/code", f"{current}/.venv/bin", current, f"/srv/{app.name}"]
    assert host.check_output(f"stat -L -c %U {' '.join(code)}").split() == ["root"] * 4
    assert not may(host, app, f"test -w {' -o -w '.join(code)}")
    assert host.check_output(f"stat -c '%a %U' {current}/environment") == "600 root"
    assert not may(host, app, f"test -r {current}/environment -o -r {other}/environment -o -r {other}/code")
    assert may(host, app, f"test -w {current}/run -a -w /srv/{app.name}/shared")


@APPS
def test_sandbox(host: Host, app: App) -> None:
    """systemd's own judgement of the unit."""
    verdict = host.check_output(f"systemd-analyze security --no-pager {unit(host, app)} | tail -1")
    assert float(verdict.split(":")[1].split()[0]) <= SANDBOX_SCORE, verdict


@APPS
def test_app_listens_for_nginx_alone(host: Host, app: App) -> None:
    """On a unix socket, or on loopback at the documented port."""
    if app.listen.startswith("unix"):
        path = app.listen.removeprefix("unix://")
        assert host.file(path).is_socket
        assert (host.file(path.rpartition("/")[0]).group, host.file(path.rpartition("/")[0]).mode) == ("www-data", 0o710)
    else:
        assert host.socket(app.listen).is_listening


def test_nothing_else_listens(host: Host) -> None:
    """SSH and nginx are all that other machines could reach, even without the firewall."""
    sockets = host.check_output("ss --listening --tcp --numeric --no-header").splitlines()
    reachable = {line.split()[3].rpartition(":")[2] for line in sockets if not line.split()[3].startswith("127.")}
    assert reachable == {"22", str(BLUEOCTOPUS.port), str(FLASKSAMPLE.port)}


def test_firewall(host: Host) -> None:
    """On, also after a boot; what is served and SSH are let in, nothing else."""
    assert host.service("ufw").is_enabled
    status = host.check_output("ufw status verbose")
    assert "Status: active" in status and "Default: deny (incoming)" in status
    assert {line.split("/")[0] for line in status.splitlines() if "ALLOW IN" in line} == {"22", "80", "81"}


def test_nginx(host: Host) -> None:
    """Runs, starts with the host, is content with its files, and has lost the page that its package brings."""
    nginx = host.service("nginx")
    assert nginx.is_running and nginx.is_enabled
    assert host.run("nginx -t").rc == 0
    assert sorted(host.file("/etc/nginx/sites-enabled").listdir()) == ["80.conf", "81.conf"]
    assert {process.user for process in host.process.filter(comm="nginx")} == {"root", "www-data"}
