# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the hosts that a play has lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Callable

DOCUMENTATION = r"""
name: hosts_lost
short_description: Find the hosts that a play has lost
version_added: 0.1.0
description:
  - Keeps the hosts of a list that are no longer in the play, because a task failed there or they are unreachable, in the same order.
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
- name: Show the hosts that failed
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
    """The hosts that are not left in the play."""
    remaining = set(left)
    return [host for host in hosts if host not in remaining]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """The filters of this file."""
        return {"hosts_lost": hosts_lost}
