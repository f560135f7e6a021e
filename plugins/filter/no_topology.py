# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say why a run would do nothing: none of its hosts is in a group that is a topology."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TOPOLOGIES

DOCUMENTATION = r"""
name: no_topology
short_description: Say why a run would do nothing
version_added: 0.2.0
description:
  - Looks for a host in a group that is a topology. If there is none, a run would end well without having done anything.
positional: _input, groups, limit
author: flaskops contributors (@flaskops)
options:
  _input:
    description: Names of the hosts of the run.
    type: list
    elements: str
    required: true
  groups:
    description: The groups of the inventory, which is Ansible's C(groups).
    type: dict
    required: true
  limit:
    description: What the run was limited to, which is Ansible's C(ansible_limit).
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Reject an inventory without a host of a topology
  ansible.builtin.fail:
    msg: "{{ ansible_play_hosts_all | flaskops.hosting.no_topology(groups) }}"
  when: ansible_play_hosts_all | flaskops.hosting.no_topology(groups) != ''
"""

RETURN = r"""
_value:
  description: The reason. Empty if a host is in such a group.
  type: str
  sample: "No host of the inventory is in a group that is a topology. Its group nginx_gunicron: did you mean nginx_gunicorn?"
"""

NO_GROUPS = ("all", "ungrouped")
MOST_NAMES = 10


def no_topology(hosts: Iterable[str], groups: Mapping[str, list[str]], limit: str = "") -> str:
    """Why there is nothing to do for these hosts; empty if there is something."""
    there = [host for name in TOPOLOGIES for host in groups.get(name, [])]
    if set(there) & set(hosts):
        return ""
    if not groups.get("all"):
        return "The inventory has no host, or it could not be read: see the warnings above. Name an inventory of yours, for example: -i hosts.yml"
    if limit and there:
        return f"--limit: got {limit!r}, which leaves no host of a topology. It needs some of: {_listed(there)}"
    own = [name for name in groups if name not in NO_GROUPS]
    reasons = [_of_group(name, groups[name]) for name in own]
    proposals = " ".join(filter(None, reasons)) or f"Its groups: {_listed(own) if own else 'none'}."
    return f"No host of the inventory is in a group that is a topology. {proposals} The topologies: {', '.join(TOPOLOGIES)}"


def _of_group(name: str, hosts: list[str]) -> str:
    if name in TOPOLOGIES:
        return "" if hosts else f"Its group {name} has no host."
    nearest = get_close_matches(name.replace("-", "_").lower(), TOPOLOGIES, n=1)
    return f"Its group {name}: did you mean {nearest[0]}?" if nearest else ""


def _listed(names: Iterable[str]) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join([*unique[:MOST_NAMES], *(["…"] if len(unique) > MOST_NAMES else [])])


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters of this file."""
        return {"no_topology": no_topology}
