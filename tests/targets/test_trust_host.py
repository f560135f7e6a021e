"""The host's own servers, nginx, Apache, supervisord and PHP: shut in, not stopped by slow clients, and with logs that only root and adm read."""

from __future__ import annotations

import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, ROOT, Target, app, differences, eventually, write_source

ADDRESS = "198.18.2.111"
PLAYBOOK = ROOT / "playbooks/hosting.yml"  # each app names its topology
SCORE = 5.0
# Two apps whose server is no unit of their own: under supervisord behind nginx, and in Apache, with PHP pages beside it.
PORTS = {"super": 80, "inside": 8080}
ROOTS = {"super": "/usr/local/apps/super", "inside": "/var/www/inside"}
UNITS = ["nginx.service", "supervisor.service", "apache2.service", "inside-php.service"]
NGINX_CONF = "/etc/nginx/nginx.conf"
LOGS = "/var/log/nginx /var/log/apache2 /var/log/supervisor"
SITE_LOGS = [f"/var/log/apache2/{PORTS['inside']}-{kind}.log" for kind in ("access", "error")]
HALF = b"GET / HTTP/1.1\r\nHost: slow.example\r\nX-Slow: "  # a request that does not go on
VISITS, PATIENCE = 5, 5.0  # how often a visitor comes while slow clients hold on, and the seconds that an answer may take
SLOW = 1600  # clients, of which each front would have too many if it were as the distribution has it
MANY = 600  # visitors at one moment
HEADER_SECONDS = 10  # that a header may take


def apps(source: Path) -> list[dict[str, Any]]:
    """Both apps, with all of the host's own servers."""
    kinds: dict[str, dict[str, Any]] = {
        "super": {"topology": "nginx_uwsgi", "uwsgi_app_manager": "supervisord"},
        "inside": {"topology": "apache_mod_wsgi", "apache_site_php": {"/page": "page"}},
    }
    return [app(name, source, root=ROOTS[name], listen=str(PORTS[name]), **settings) for name, settings in kinds.items()]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's directory."""
    files = {"main.py": (APPS / "probe/main.py").read_text(), "page/index.php": "<?php echo 'page';"}
    return write_source(tmp_path_factory.mktemp("source"), files)


@pytest.fixture(scope="module")
def host(target: Target, source: Path) -> Target:
    """A target with both apps, after a boot, which makes what is below /run anew."""
    target.converge(apps(source), playbook=PLAYBOOK)
    target.reboot()
    assert eventually(lambda: answering(target))
    return target


def answering(host: Target) -> bool:
    """Whether both apps answer, and so do the PHP pages."""
    return [host.get(path, port=port).status for path, port in (("/", PORTS["super"]), ("/", PORTS["inside"]), ("/page/", PORTS["inside"]))] == [
        200
    ] * 3


@contextmanager
def slow_clients(port: int, number: int) -> Iterator[list[socket.socket]]:
    """So many clients that have sent half of a request, and send no more."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        clients = []
        for _each in range(number):
            client = stack.enter_context(socket.create_connection((ADDRESS, port), timeout=10))
            client.sendall(HALF)
            clients.append(client)
        yield clients


@pytest.mark.parametrize("unit", UNITS)
def test_the_hosts_own_units_are_shut_in(host: Target, unit: str) -> None:
    """As systemd rates it."""
    assert host.exposure(unit) <= SCORE


@pytest.mark.parametrize("name", ROOTS)
def test_an_app_without_a_unit_of_its_own_writes_as_before(host: Target, name: str) -> None:
    """In its own directories wherever its root is, and in the host's /tmp as its server has it."""
    for path in (f"{host.run(f'readlink -f {ROOTS[name]}/current')}/run/new", f"{ROOTS[name]}/shared/new", "/tmp/new"):
        assert host.get(f"/write?path={path}", port=PORTS[name]).json() == "written", path


def test_a_server_that_was_shut_in_reloads(host: Target) -> None:
    """Each is still its old process, and answers."""
    asked = "systemctl show --property=MainPID --value nginx.service apache2.service supervisor.service"
    before = host.run(asked)
    host.run("systemctl reload nginx.service apache2.service")
    assert host.run(asked) == before
    assert answering(host)


@pytest.mark.parametrize("app_name", PORTS)
def test_slow_clients_do_not_stop_visitors(host: Target, app_name: str) -> None:
    """On nginx and on Apache, a visitor who comes while so many requests are half open."""
    with slow_clients(PORTS[app_name], SLOW):
        for visit in range(VISITS):
            began = time.monotonic()
            assert host.get("/", port=PORTS[app_name]).status == 200
            assert time.monotonic() - began < PATIENCE, f"visit {visit}"
            time.sleep(0.2)


@pytest.mark.parametrize("app_name", PORTS)
def test_many_visitors_at_once_wait_for_their_turn(host: Target, app_name: str) -> None:
    """As the front has so many connections, it must not hand on more than the application server lets wait."""
    with ExitStack() as stack:
        visitors = [stack.enter_context(socket.create_connection((ADDRESS, PORTS[app_name]), timeout=20)) for _each in range(MANY)]
        for visitor in visitors:
            visitor.sendall(b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n")
        assert {visitor.recv(100).split()[1] for visitor in visitors} == {b"200"}


def test_a_slow_client_does_not_hold_on_for_long(host: Target) -> None:
    """The front closes the connection, both with the same patience."""
    with slow_clients(PORTS["super"], 1) as nginx, slow_clients(PORTS["inside"], 1) as apache:
        began = time.monotonic()
        for client in (*nginx, *apache):
            client.settimeout(HEADER_SECONDS + 5)
            while client.recv(1000):  # Apache says why
                pass
        assert HEADER_SECONDS - 1 < time.monotonic() - began < HEADER_SECONDS + 5


def supervisor_log(host: Target) -> str:
    """The log of the app under supervisord."""
    return host.run(f"readlink -f {ROOTS['super']}/current") + "/supervisor.log"


def assert_closed(host: Target, *logs: str) -> None:
    """Each of these logs is for root and adm, and nobody else reads any of the servers'."""
    for log in logs:
        assert host.run(f"stat --format='%a %U:%G' {log}") == "640 root:adm", log
    assert (
        host.run(f"setpriv --reuid=nobody --regid=nogroup --clear-groups find {LOGS} {ROOTS['super']} -name '*.log*' -readable 2>/dev/null; true")
        == ""
    )


def is_logged(host: Target, port: int, log: str) -> bool:
    """Whether a request is in this log."""
    return host.get("/?rotated", port=port).status == 200 and host.succeeds(f"grep rotated {log}")


def test_logs_are_for_root_and_adm(host: Target) -> None:
    """Also those that a server makes anew, when its logs were moved away: it gets a signal as from logrotate; supervisord itself moves a full one."""
    log = supervisor_log(host)
    assert_closed(host, *SITE_LOGS, log)
    nginx_logs = ["/var/log/nginx/access.log", "/var/log/nginx/error.log"]
    moved = [*SITE_LOGS, *nginx_logs, log]
    host.run("; ".join(f"mv {path} {path}.1" for path in moved))
    # nginx itself would make its logs for all to read, so logrotate makes them first
    (mode, owner, group) = re.findall(r"create (\S+) (\S+) (\S+)", host.run("cat /etc/logrotate.d/nginx"))[0]
    host.run(f"install --mode={mode} --owner={owner} --group={group} /dev/null {nginx_logs[0]} && cp --archive {nginx_logs[0]} {nginx_logs[1]}")
    host.run("systemctl reload apache2.service && systemctl kill --kill-whom=main --signal=USR1 nginx.service")
    host.run("systemctl kill --kill-whom=main --signal=USR2 supervisor.service")
    assert eventually(lambda: host.succeeds(f"ls {' '.join(moved)}"))
    for port, access_log in ((PORTS["super"], nginx_logs[0]), (PORTS["inside"], SITE_LOGS[0])):
        assert eventually(partial(is_logged, host, port, access_log)), access_log
    assert_closed(host, *SITE_LOGS, log)
    assert host.run(f"stat --format='%a %G' {' '.join(nginx_logs)} | sort -u") == "640 adm", "www-data's, because nginx's workers open them anew"


def files(host: Target) -> dict[str, str]:
    """The host's files that a run could change, without its units, which a login starts too."""
    return {path: kind for path, kind in host.snapshot().items() if path.startswith("/")}


def test_a_second_run_changes_and_restarts_nothing(host: Target, source: Path) -> None:
    """A restart would lose requests of all sites."""
    asked = f"systemctl show --property=ActiveEnterTimestamp --value {' '.join(UNITS)}"
    before, started = files(host), host.run(asked)
    again = host.converge(apps(source), "--diff", playbook=PLAYBOOK)
    assert (again.recap["changed"], again.changed, again.diffs) == (0, [], set())
    assert differences(before, files(host)) == {}
    assert host.run(asked) == started


def test_the_last_app_leaves_the_units_as_they_were(host: Target, source: Path) -> None:
    """No drop-in, and nginx's own file as the distribution has it."""
    host.converge([{"flask_app_name": name, "flask_app_state": "absent"} for name in PORTS], playbook=PLAYBOOK)
    assert host.run("find /etc/systemd /etc/flaskops/owners -name '*flaskops*' -o -name '*.service.d' -o -name '*.json'") == ""
    (packaged,) = re.findall(rf"{NGINX_CONF} ([0-9a-f]{{32}})", host.run("dpkg-query --show --showformat='${Conffiles}' nginx-common"))
    assert host.run(f"md5sum {NGINX_CONF}").split()[0] == packaged
    assert not host.succeeds("systemctl is-active nginx.service apache2.service supervisor.service")
