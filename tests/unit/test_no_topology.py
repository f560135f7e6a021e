"""A run that would do nothing says why."""

from __future__ import annotations

import pytest

from ansible_collections.flaskops.hosting.plugins.filter.no_topology import FilterModule, no_topology

TWO = {"all": ["web1", "db1"], "ungrouped": [], "nginx_gunicorn": ["web1"], "databases": ["db1"]}


@pytest.mark.parametrize("hosts", [["web1", "db1"], ["web1"]])
def test_one_host_of_a_topology_is_enough(hosts: list[str]) -> None:
    assert no_topology(hosts, TWO) == ""
    assert FilterModule().filters() == {"no_topology": no_topology}


@pytest.mark.parametrize(
    ("groups", "limit", "reason"),
    [
        ({"all": [], "ungrouped": []}, "", "The inventory has no host, or it could not be read: see the warnings above."),
        (TWO, "db1", "--limit: got 'db1', which leaves no host of a topology. It needs some of: web1"),
        (
            {"all": ["db1"], "nginx_gunicron": ["db1"]},
            "",
            "topology. Its group nginx_gunicron: did you mean nginx_gunicorn? The topo",
        ),
        ({"all": ["db1"], "Apache-Mod-WSGI": ["db1"]}, "db1", "Its group Apache-Mod-WSGI: did you mean apache_mod_wsgi?"),
        ({"all": ["db1"], "nginx_uwsgi": [], "web": ["db1"]}, "", "Its group nginx_uwsgi has no host. The topologies: "),
        ({"all": ["db1"], "ungrouped": [], "web": ["db1"]}, "", "Its groups: web. The topologies: "),
        ({"all": ["db1"], "ungrouped": ["db1"]}, "", "Its groups: none. The topologies: "),
        ({"all": ["x"], **{f"group{number}": ["x"] for number in range(12)}}, "", "group8, group9, …. The topologies"),
    ],
)
def test_the_reason_proposes_what_would_be_right(groups: dict[str, list[str]], limit: str, reason: str) -> None:
    assert reason in no_topology(["localhost", "db1"], groups, limit)
