# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say what is wrong with the lists of apps of hosts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Callable

from ansible_collections.flaskops.hosting.plugins.plugin_utils.apps_of_host import problem_of_list

DOCUMENTATION = r"""
name: wrong_apps
short_description: Say what is wrong with the lists of apps of hosts
version_added: 0.2.0
description:
  - Says whether the C(flask_apps) of each host is a list of dictionaries, before anything looks into it. The module M(flaskops.hosting.check_apps)
    checks what is in the apps.
positional: _input, hostvars
author: flaskops contributors (@flaskops)
options:
  _input:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, which is Ansible's C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Reject apps that are no list
  ansible.builtin.fail:
    msg: "{{ ansible_play_hosts_all | flaskops.hosting.wrong_apps(hostvars) }}"
  when: ansible_play_hosts_all | flaskops.hosting.wrong_apps(hostvars) != ''
"""

RETURN = r"""
_value:
  description: The first host whose apps are wrong, with what would be right. Empty if none is.
  type: str
  sample: "web1: flask_apps: got a dictionary, needs a list of apps, each a dictionary. For example: …"
"""


def wrong_apps(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> str:
    """What is wrong with the ``flask_apps`` of the first of the hosts whose are no apps; empty if all are right."""
    problems = ((host, problem_of_list(hostvars[host]["flask_apps"])) for host in hosts if "flask_apps" in hostvars[host])
    return next((f"{host}: {problem}" for host, problem in problems if problem), "")


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters of this file."""
        return {"wrong_apps": wrong_apps}
