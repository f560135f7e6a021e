"""What is true of every app in any topology: what its account may do, and what its server reveals."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

from ansible_collections.flaskops.hosting.tests.infra.facts import FACTS, Fact, ask, each, live_unit, of, open_ports, processes, whole

SANDBOX_SCORE = 1.5
DISTRIBUTIONS = ("nginx.service", "apache2.service", "mariadb.service", "mysql.service")
OUR_UNITS = [
    Fact(topology, unit)
    for topology, facts in FACTS.items()
    for unit in dict.fromkeys(line["unit"] for line in facts["processes"])
    if unit not in DISTRIBUTIONS
]
SSH = 22


def may(host: Host, account: str, command: str) -> bool:
    """Return whether a command succeeds with an account."""
    return bool(host.run(f"setpriv --reuid={account} --regid={account} --init-groups {command}").rc == 0)


@each("accounts")
def test_account(host: Host, fact: Fact) -> None:
    """A system account without a login shell, a home or another group; its processes run only in its units, and with no other ids."""
    user = host.user(fact.what["name"])
    assert user.uid < 1000 and user.shell == "/usr/sbin/nologin" and user.home == "/nonexistent"
    assert user.groups == fact.what["groups"]
    units = {live_unit(host, line["unit"]) for line in FACTS[fact.topology]["processes"] if line["account"] == user.name}
    found = [process for process in processes(host) if user.uid in process.uids]
    assert {process.unit for process in found} == units
    for process in found:
        assert process.uids == {user.uid}
        assert process.gids == {user.gid}
        assert process.groups <= set(user.gids)


@each("apps")
def test_account_writes_no_code_and_reads_no_neighbour(host: Host, fact: Fact) -> None:
    """Root owns its code and its packages; it can write only its socket's directory and its shared data."""
    root, account = fact.what["root"], fact.what["account"]
    current = f"{root}/current"
    for path in (root, current, f"{current}/code", f"{current}/.venv", f"{current}/.venv/bin", f"{current}/environment"):
        assert host.file(host.check_output("realpath %s", path)).user == "root"
        assert not may(host, account, f"test -w {path}"), path
    assert host.check_output("find %s/code %s/.venv/lib -user %s", current, current, account) == ""
    assert may(host, account, f"test -w {current}/run -a -w {root}/shared")
    for other in FACTS[fact.topology]["apps"].values():
        if other["root"] != root:
            assert not may(host, account, f"test -r {other['root']}/current/code -o -r {other['root']}/current/environment"), other


@each("apps")
def test_one_release_is_live(host: Host, fact: Fact) -> None:
    """The link leads to a complete release."""
    release = host.check_output("readlink %s/current", fact.what["root"])
    assert re.fullmatch(r"releases/[0-9a-f]{12}-[0-9a-f]{8}", release)
    assert host.file(f"{fact.what['root']}/{release}/release.json").exists


@of(OUR_UNITS)
def test_sandbox(host: Host, fact: Fact) -> None:
    """The score that systemd gives the unit."""
    verdict = host.check_output("systemd-analyze security --no-pager %s | tail -1", live_unit(host, fact.what))
    assert float(verdict.split(":")[1].split()[0]) <= SANDBOX_SCORE, verdict


@whole("sites")
def test_front_shows_no_version(host: Host, fact: Fact) -> None:
    """Neither a good answer nor an error page shows a version, or a server behind the front."""
    front = fact.what["enabled"][0].split("/")[2]
    for port in open_ports(fact.topology) - {SSH}:
        paths = [line["path"] for line in FACTS[fact.topology]["answers"] if line["port"] == port]
        for path in (*paths, "/nowhere", "/%00"):
            _status, headers, body = ask(host, fact.topology, port, path)
            assert headers["Server"].lower() == front.removesuffix("2"), path
            assert "X-Powered-By" not in headers
            assert not re.search(r"(nginx|apache|php|wsgi)/\d|gunicorn|uwsgi|werkzeug", f"{headers}{body}", re.IGNORECASE), path


@whole("sites")
def test_front_is_content_with_its_files(host: Host, fact: Fact) -> None:
    """The files that its next reload will read are valid."""
    test = {"nginx": "nginx -t", "apache2": "apache2ctl configtest"}[fact.what["enabled"][0].split("/")[2]]
    assert host.run(test).rc == 0


@pytest.mark.parametrize("service", ["ufw", "ssh"])
def test_starts_with_the_host(host: Host, service: str) -> None:
    """The firewall and the way in."""
    assert host.service(service).is_enabled
