# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the hosts on which workers of an old release run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

DOCUMENTATION = r"""
name: hosts_with_old_workers
short_description: Find the hosts on which workers of an old release run
version_added: 0.2.0
description:
  - Keeps the hosts of a list that have workers of a release that another one, which this run has staged, will replace.
positional: _input, hostvars
author: flaskops contributors (@flaskops)
options:
  _input:
    description: Names of hosts that have an app.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, which is Ansible's C(hostvars). The role P(flaskops.hosting.flask_app#role) has noted the app in them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the hosts with old workers
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts | flaskops.hosting.hosts_with_old_workers(hostvars) }}"
"""

RETURN = r"""
_value:
  description: Names of the hosts.
  type: list
  elements: str
  sample: [web1]
"""


def hosts_with_old_workers(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The hosts whose live release has workers and is not the one that was staged."""
    return [host for host in hosts if _has(hostvars[host])]


def _has(variables: Mapping[str, Any]) -> bool:
    before = variables.get("__flask_app", {}).get("before", {})
    staged = variables.get("__flask_app_staged", {}).get("release", "")
    return staged not in ("", before.get("live", "")) and any(one["manager"] == "worker" for one in before.get("instances", []))


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """The filters of this file."""
        return {"hosts_with_old_workers": hosts_with_old_workers}
