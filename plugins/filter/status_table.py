# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show how the apps are on their hosts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.flaskops.hosting.plugins.plugin_utils.table import short, table

DOCUMENTATION = r"""
name: status_table
short_description: Show how the apps are on their hosts
version_added: 0.2.0
description:
  - Makes a table with a line for each app on each host, from what C(flaskops.hosting.survey) has found there, and a line for each host that has no
    app, failed or was not reached.
positional: _input, hostvars, left, name
author: flaskops contributors (@flaskops)
options:
  _input:
    description: Names of hosts. Those that are left have the result of C(flaskops.hosting.survey) in the variable C(__host).
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, which is Ansible's C(hostvars).
    type: dict
    required: true
  left:
    description: The hosts that are still in the play, which is Ansible's C(ansible_play_hosts).
    type: list
    elements: str
    required: true
  name:
    description: The C(flask_app_name) of the only app to show. Empty for all apps.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Look at the host
  flaskops.hosting.survey:
    status: true
  register: __host

- name: Show how the apps are
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | flaskops.hosting.status_table(hostvars, ansible_play_hosts) }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
  sample: ["host  app   URL                 health  live release  …", "web1  shop  http://192.0.2.10/  200 OK  3f786850e387-89e6c98d  …"]
"""

HEADINGS = ["host", "app", "URL", "health", "certificate", "live release", "since", "version", "by", "processes"]
CERTIFICATE = HEADINGS.index("certificate")  # a column that is shown if an app has one
COMMIT = re.compile("[0-9a-f]{40}")


def status_table(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], left: Iterable[str], name: str = "") -> list[str]:
    """The lines of the table, in the order of the hosts."""
    remaining, rows = set(left), [HEADINGS]
    for host in hosts:
        if host not in remaining:
            rows.append([host, "failed or was not reached, see above"])
            continue
        apps = hostvars[host]["__host"]["apps"]
        shown = [_row(host, app, facts) for app, facts in apps.items() if name in ("", app)]
        rows += shown or [[host, f"has no app {name}".rstrip()]]
    if not any(len(row) == len(HEADINGS) and row[CERTIFICATE] for row in rows[1:]):
        rows = [row[:CERTIFICATE] + row[CERTIFICATE + 1 :] for row in rows]
    return table(rows)


def _row(host: str, app: str, facts: Mapping[str, Any]) -> list[str]:
    live: Mapping[str, Any] = next((one for one in facts["releases"] if one["name"] == facts["live"]), {})
    health = ("closed, " if facts["maintenance"] else "") + facts.get("health", "")
    version = live.get("version", "")
    since = re.sub(r":\d\dZ$", "Z", facts["live_since"])
    # no single space far right, because Ansible's YAML output breaks a line there
    states = {**facts.get("processes", {}), **{worker: one["state"] for worker, one in facts.get("workers", {}).items()}}
    states.update({job: one["result"] or one["state"] for job, one in facts.get("jobs", {}).items()})
    processes = ",".join(f"{process}={state}" for process, state in states.items())
    shown = [
        health,
        ", ".join(filter(None, [_certificate(facts.get("certificate", {})), _certificate(facts.get("database_certificate", {}), "database ")])),
        facts["live"],
        since,
        version[:12] if COMMIT.fullmatch(version) else version,
        live.get("by", ""),
        processes,
    ]
    return [host, app, facts["url"], *map(short, shown)]


def _certificate(certificate: Mapping[str, Any], of: str = "") -> str:
    if not certificate:
        return ""
    if "days" not in certificate:
        return f"{of}missing"
    return f"{of}{certificate['days']} days{', error' if certificate.get('error') else ''}"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """The filters of this file."""
        return {"status_table": status_table}
