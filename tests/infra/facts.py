"""docs/facts.yml for tests: each line as a parameter, and functions that check it on a host."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

FACTS: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).resolve().parents[2] / "docs/facts.yml").read_text(encoding="utf-8"))
EVERYWHERE = "*:"
ASK = """
import http.client, json, sys
port, method, path = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
connection.request(method, path)
answer = connection.getresponse()
print(json.dumps([answer.status, dict(answer.getheaders()), answer.read().decode()]))
"""


@dataclass(frozen=True)
class Fact:
    """One fact of a topology; it applies only to that topology's hosts, and conftest.py leaves out the others."""

    topology: str
    what: Any

    def __str__(self) -> str:
        """Its name in pytest."""
        what = self.what
        if isinstance(what, dict):
            what = " ".join(str(what[key]) for key in ("method", "name", "at", "unit", "path", "port") if key in what)
        return f"{self.topology} {what}".strip()


def each(section: str) -> pytest.MarkDecorator:
    """A parameter `fact` for each line of a section, in all topologies."""
    return of([Fact(topology, line) for topology, facts in FACTS.items() for line in lines(facts.get(section, []))])


def whole(section: str) -> pytest.MarkDecorator:
    """A parameter `fact` for each topology: the section as a whole."""
    return of([Fact(topology, facts[section]) for topology, facts in FACTS.items() if section in facts], ids=lambda fact: fact.topology)


def of(facts: list[Fact], ids: Any = str) -> pytest.MarkDecorator:
    """A parameter `fact` for each of these facts."""
    return pytest.mark.parametrize("fact", facts, ids=ids)


def lines(section: Any) -> list[Any]:
    """A section's lines; if they have names, each with its `name`."""
    return [{"name": name, **line} for name, line in section.items()] if isinstance(section, dict) else section


def open_ports(topology: str) -> set[int]:
    """The ports that other machines can reach."""
    return {int(line["at"].removeprefix(EVERYWHERE)) for line in FACTS[topology]["listens"] if line["at"].startswith(EVERYWHERE)}


def address(host: Host) -> str:
    """The host's address for other machines: from the inventory, or from the host, if Ansible does not come over the network."""
    return str(host.ansible.get_variables().get("ansible_host") or host.check_output("hostname --all-ip-addresses").split()[0])


def ask(host: Host, topology: str, port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
    """Send a request from outside, through the firewall, or on the host, if only it reaches the port. Returns status, headers, body."""
    if port not in open_ports(topology):
        return tuple(json.loads(host.check_output("python3 -c %s %s %s %s", ASK, str(port), method, path)))
    connection = http.client.HTTPConnection(address(host), port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def live_unit(host: Host, pattern: str) -> str:
    """The one running unit that matches a pattern: the live release's."""
    listed = host.check_output("systemctl list-units --plain --no-legend %s", pattern).splitlines()
    assert len(listed) == 1, f"{pattern} is not one unit: {listed}"
    return str(listed[0].split()[0])


def properties(host: Host, unit: str, *names: str) -> dict[str, str]:
    """Some of a unit's properties."""
    shown = host.check_output("systemctl show --property=%s %s", ",".join(names), unit)
    return dict(line.split("=", 1) for line in shown.splitlines())


@dataclass(frozen=True)
class Process:
    """A process, with all its ids (real, effective, saved, for files)."""

    pid: int
    parent: int
    unit: str
    uids: frozenset[int]
    gids: frozenset[int]
    groups: frozenset[int]


def processes(host: Host) -> Iterator[Process]:
    """Every process of the host that has not ended before it is inspected."""
    shown = host.check_output("ps -e -o pid=,ppid=,unit:256=")
    statuses = host.check_output("grep --no-messages --extended-regexp '^(Uid|Gid|Groups):' /proc/[0-9]*/status || true")
    ids: dict[int, dict[str, frozenset[int]]] = {}
    for line in statuses.splitlines():
        path, kind, numbers = line.split(":", 2)
        ids.setdefault(int(path.split("/")[2]), {})[kind] = frozenset(map(int, numbers.split()))
    for line in shown.splitlines():
        pid, parent, unit = line.split()
        if int(pid) in ids:
            found = ids[int(pid)]
            yield Process(int(pid), int(parent), unit, found["Uid"], found["Gid"], found["Groups"])
