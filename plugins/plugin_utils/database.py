# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run will do for a database server on one host."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from ansible_collections.flaskops.hosting.plugins.plugin_utils.plan import plan_firewall

PORT = 3306
LOOPBACK = "127.0.0.1"  # the accounts' environment files name it, so the server always listens there


def plan_database(values: dict[str, Any], host: dict[str, Any]) -> dict[str, Any]:
    """Where the server listens, whether others than the host reach it, and what the firewall must allow for them."""
    listen = values["mysql_webapp_listen"]
    address = ip_address(listen)
    remote = not address.is_loopback
    needed = {PORT} if remote and values["mysql_webapp_state"] == "present" else set()
    return {
        "remote": remote,
        "addresses": [listen] if address.is_unspecified else list(dict.fromkeys([LOOPBACK, listen])),
        "firewall_plan": {**plan_firewall("", host, needed), "close": sorted({PORT} & set(host["firewall"]["ports"]) - needed)},
    }
