"""A host of each topology is as docs/facts.yml says, after a converge and a reboot."""

from __future__ import annotations

import json
import socket
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from testinfra.host import Host

from ansible_collections.flaskops.hosting.tests.infra.facts import (
    EVERYWHERE,
    FACTS,
    Fact,
    address,
    ask,
    each,
    live_unit,
    of,
    open_ports,
    processes,
    properties,
    whole,
)

DOCKERS_RESOLVER = "127.0.0.11:"
UNITS_WITH_PROCESSES = [
    Fact(topology, {"unit": unit, "lines": [line for line in facts["processes"] if line["unit"] == unit]})
    for topology, facts in FACTS.items()
    for unit in dict.fromkeys(line["unit"] for line in facts["processes"])
]
REFUSED = [
    Fact(topology, {"port": line["port"], "path": path}) for topology, facts in FACTS.items() for line in facts["refused"] for path in line["paths"]
]


@each("answers")
def test_answer(host: Host, fact: Fact) -> None:
    """Status, content type and body."""
    wanted = fact.what
    status, headers, body = ask(host, fact.topology, wanted["port"], wanted["path"], wanted.get("method", "GET"))
    assert (status, headers["Content-Type"]) == (wanted.get("status", 200), wanted["type"]), body[:500]
    if "body" in wanted:
        assert body == wanted["body"]
    if "json" in wanted:
        assert json.loads(body) == wanted["json"]
    assert wanted.get("has", "") in body
    if wanted.get("served_by") == "front":
        assert "Content-Disposition" not in headers  # Flask would name the file there


@of(REFUSED)
def test_refused(host: Host, fact: Fact) -> None:
    """The path does not exist, or is forbidden."""
    status, _headers, body = ask(host, fact.topology, fact.what["port"], fact.what["path"])
    assert status in (400, 403, 404), body[:500]


def listening(host: Host) -> dict[str, str]:
    """The address of each listening socket, with its unit."""
    found = {}
    for line in host.check_output("ss --listening --tcp --udp --numeric --no-header --extended").splitlines():
        at, unit = line.split()[4], line.partition(" cgroup:")[2].split()[0].rpartition("/")[2]
        for any_address in ("0.0.0.0:", "[::]:"):
            at = at.replace(any_address, EVERYWHERE)
        if not at.startswith(DOCKERS_RESOLVER):
            found[at] = unit
    return found


@each("listens")
def test_listens(host: Host, fact: Fact) -> None:
    """The unit holds it."""
    at, unit = fact.what["at"], fact.what["unit"]
    if not at.startswith("/"):
        found = listening(host)[at]
        # systemd itself may hold the socket of a socket unit
        assert fnmatchcase(found, unit) or (unit.endswith(".*") and found == "init.scope")
        return
    path = host.check_output("realpath %s", at)
    assert path in [line.split()[4] for line in host.check_output("ss --listening --unix --no-header").splitlines()]
    found = live_unit(host, unit)
    if found.endswith(".socket"):
        assert properties(host, found, "Listen")["Listen"] == f"{path} (Stream)"
    else:
        assert found.partition("@")[2].removesuffix(".service") in path.split("/")


@whole("listens")
def test_nothing_else_listens(host: Host, fact: Fact) -> None:
    """On no address, TCP or UDP."""
    assert set(listening(host)) == {line["at"] for line in fact.what if not line["at"].startswith("/")}


@whole("listens")
def test_the_firewall_allows_exactly_what_listens_for_other_machines(host: Host, fact: Fact) -> None:
    """It allows exactly these ports, and another machine reaches exactly these."""
    status = host.check_output("ufw status verbose")
    assert "Status: active" in status and "Default: deny (incoming)" in status
    allowed = {line.split()[0] for line in status.splitlines() if "ALLOW IN" in line}
    assert allowed == {f"{port}/tcp" for port in open_ports(fact.topology)}
    for port in {int(line["at"].rpartition(":")[2]) for line in fact.what if ":" in line["at"]}:
        with socket.socket() as connection:
            connection.settimeout(1)
            assert (connection.connect_ex((address(host), port)) == 0) == (port in open_ports(fact.topology)), port


@of(UNITS_WITH_PROCESSES)
def test_processes(host: Host, fact: Fact) -> None:
    """All processes of a unit: their accounts, their parents and their number."""
    unit = live_unit(host, fact.what["unit"])
    shown = properties(host, unit, "MainPID", "UID", "User")
    # an account that systemd made only for the unit may have no name outside of it
    names = {int(line.split(":")[2]): line.split(":")[0] for line in host.check_output("getent passwd").splitlines()}
    if shown["UID"].isdecimal():
        names[int(shown["UID"])] = shown["User"]
    parents = {1: "systemd", int(shown["MainPID"]): fact.what["lines"][0]["what"]}
    found = Counter(
        ("+".join(sorted(names[uid] for uid in one.uids)), parents.get(one.parent, "another process")) for one in processes(host) if one.unit == unit
    )
    wanted = {(line["account"], line["parent"]): line.get("count") for line in fact.what["lines"]}
    assert found == {key: count or found[key] for key, count in wanted.items() if count or found[key]}
    assert set(found) == set(wanted)


@each("files")
def test_file(host: Host, fact: Fact) -> None:
    """It has the right owner, group and mode."""
    file = host.check_output("stat --dereference --format='%%U %%G 0%%a' %s", fact.what["path"])
    assert file == f"{fact.what['owner']} {fact.what['group']} {fact.what['mode']}"


@whole("sites")
def test_sites(host: Host, fact: Fact) -> None:
    """Exactly these sites are enabled; the disabled ones exist."""
    enabled = {PurePosixPath(path) for path in fact.what["enabled"]}
    for directory in {path.parent for path in enabled}:
        assert {directory / name for name in host.file(str(directory)).listdir()} == enabled
    for path in fact.what["disabled"]:
        assert host.file(path).exists


@whole("modules")
def test_modules(host: Host, fact: Fact) -> None:
    """What Apache has loaded."""
    listed = host.check_output("apache2ctl -M 2>/dev/null").splitlines()
    loaded = {line.split()[0].removesuffix("_module") for line in listed if "_module" in line}
    assert set(fact.what["loaded"]) <= loaded
    assert not set(fact.what["not_loaded"]) & loaded


@each("units")
def test_unit(host: Host, fact: Fact) -> None:
    """It is one unit, which runs now and after a boot."""
    unit = live_unit(host, fact.what)
    assert properties(host, unit, "ActiveState", "UnitFileState") == {"ActiveState": "active", "UnitFileState": "enabled"}
    enabled = host.check_output("systemctl list-unit-files --no-legend --state=enabled %s", fact.what).splitlines()
    assert [line.split()[0] for line in enabled] == [unit]


@whole("database")
def test_database_accounts(host: Host, fact: Fact) -> None:
    """Each has the privileges that it needs in its database, and no others."""
    client = "mariadb" if host.exists("mariadb") else "mysql"
    query = "SELECT grantee, privilege_type, table_schema FROM information_schema.schema_privileges UNION {} UNION {}".format(
        "SELECT grantee, privilege_type, '*' FROM information_schema.user_privileges",
        "SELECT grantee, privilege_type, CONCAT(table_schema, '.', table_name) FROM information_schema.table_privileges",
    )
    rows = [line.split("\t") for line in host.check_output(f'{client} --batch --skip-column-names --execute "{query}"').splitlines()]
    for account, privileges in fact.what["accounts"].items():
        found = {(privilege, where) for grantee, privilege, where in rows if grantee.startswith(f"'{account}'@") and privilege != "USAGE"}
        assert found == {(privilege, fact.what["name"]) for privilege in privileges}, account
