# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter for what all hosts of an app do together."""

from __future__ import annotations

from typing import Callable, Iterable

DOCUMENTATION = r"""
name: hosts_lost
short_description: Find the hosts that a play has lost
version_added: 0.1.0
description:
  - Of a list of hosts, keeps those that are not in the play any more, because a task failed there or they cannot be reached, in their order.
positional: _input, left
author: flaskops contributors (@flaskops)
options:
  _input:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  left:
    description: The hosts that are still in the play, which is Ansible's C(ansible_play_hosts).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Say which hosts failed
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | flaskops.hosting.hosts_lost(ansible_play_hosts) }}"
"""

RETURN = r"""
_value:
  description: Names of the hosts that were lost.
  type: list
  elements: str
  sample: [web2]
"""


def hosts_lost(hosts: Iterable[str], left: Iterable[str]) -> list[str]:
    """Those of the hosts that are not among those that are left."""
    remaining = set(left)
    return [host for host in hosts if host not in remaining]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """The filters of this file."""
        return {"hosts_lost": hosts_lost}
