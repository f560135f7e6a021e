# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show what a run has made live, and what it could not reach or does not know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.record import REMOVED
from ansible_collections.flaskops.hosting.plugins.plugin_utils.table import table

DOCUMENTATION = r"""
name: live_table
short_description: Show what a run has made live
version_added: 0.2.0
description:
  - Makes a table with a line for each app on each host. A host that failed or was not reached has a line too, and so has an app that is on a
    host and that the inventory does not name.
positional: _input, hostvars, left, heading, all_apps
author: flaskops contributors (@flaskops)
options:
  _input:
    description: Names of the hosts of the run.
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
  heading:
    description: The heading of the column with the releases.
    type: str
    default: live release
  all_apps:
    description: Whether the run was for all apps of the inventory. If not, nothing is said of apps that it does not name.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Show what is live
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | flaskops.hosting.live_table(hostvars, ansible_play_hosts) }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
  sample: ["host  app   answers at          live release", "web1  shop  http://192.0.2.10/  3f786850e387-89e6c98d"]
"""


def live_table(
    hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], left: Iterable[str], heading: str = "live release", all_apps: bool = True
) -> list[str]:
    """The lines of the table, in the order of the hosts."""
    remaining, rows = set(left), [["host", "app", "answers at", heading]]
    for host in hosts:
        answers = hostvars[host].get("__flask_app_answers", {})
        rows += [[host, app, answer["url"], answer["release"]] for app, answer in answers.items()]
        if host not in remaining:
            rows.append([host, "failed or was not reached, see above"])
        elif all_apps:
            rows += [[host, app, _unnamed(app)] for app in _apps_there(hostvars[host]) if app not in _names(hostvars[host])]
    return table(rows)


def _unnamed(app: str) -> str:
    return f"is not in the inventory; remove it with ansible-playbook flaskops.hosting.remove -e flask_app_name={app}"


def _apps_there(variables: Mapping[str, Any]) -> list[str]:
    found = variables.get("__flask_app", {}).get("apps", {})
    return [name for name, app in found.items() if app["topology"] != REMOVED]  # of a removed one, only its data is there


def _names(variables: Mapping[str, Any]) -> set[str]:
    plain = variables.get("flask_app_name", "")
    return {app.get("flask_app_name", plain) for app in variables["flask_apps"]} if "flask_apps" in variables else {plain}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """The filters of this file."""
        return {"live_table": live_table}
