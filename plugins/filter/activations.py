# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collect how the activation of an app went on each host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Callable

DOCUMENTATION = r"""
name: activations
short_description: Collect how the activation of an app went on each host
version_added: 0.1.0
description:
  - Selects the hosts of a list that have reached the activation of an app in this run, and returns what each of them has noted about it.
positional: _input, hostvars, name
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
  name:
    description: The app's C(flask_app_name).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the hosts on which the app shop could not go live
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | flaskops.hosting.activations(hostvars, 'shop') | selectattr('failure') | map(attribute='host') }}"
"""

RETURN = r"""
_value:
  description: For each host its name, the failure if there was one, whether the release went live, and which was live before.
  type: list
  elements: dict
  sample: [{host: web1, failure: "", went_live: true, previous: 0fcd19b3a1d2-89e6c98d}]
"""


def activations(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """What the hosts have noted about the app's activation, in the order of the hosts."""
    noted = [hostvars[host].get("__flask_app_activations", {}) for host in hosts]
    return [activation[name] for activation in noted if name in activation]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        """The filters of this file."""
        return {"activations": activations}
