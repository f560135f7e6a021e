"""The rule that guards an app's own port, whatever its address."""

from __future__ import annotations

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils.units import port_on_host
from ansible_collections.flaskops.hosting.tests.unit.hosts import app_of


@pytest.mark.parametrize(
    ("listen", "rule"),
    [
        ("127.0.0.2:8080", "oifname lo ip daddr 127.0.0.2 tcp dport 8080 meta skuid"),
        ("[::1]:8080", "oifname lo ip6 daddr ::1 tcp dport 8080 meta skuid"),
        ("0.0.0.0:8080", "oifname lo tcp dport 8080 meta skuid"),
        ("[::]:8080", "oifname lo tcp dport 8080 meta skuid"),
    ],
)
def test_the_rule_names_the_address(listen: str, rule: str) -> None:
    socket, _service = port_on_host(app_of("nginx_gunicorn"), listen).files
    assert rule in getattr(socket, "content", "")


@pytest.mark.parametrize(("topology", "accounts"), [("nginx_gunicorn", "{ root, www-data }"), ("dev_server", "{ root, 1000-59999 }")])
def test_who_may_connect(topology: str, accounts: str) -> None:
    socket, _service = port_on_host(app_of(topology), "127.0.0.1:8080").files
    assert f"meta skuid != {accounts} reject" in getattr(socket, "content", "")
