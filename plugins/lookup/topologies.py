# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lookup for what goes over all topologies."""

from __future__ import annotations

DOCUMENTATION = r"""
name: topologies
short_description: The names of the topologies that this collection knows
version_added: 0.1.0
description:
  - Returns the names of all topologies. An inventory group of such a name holds its hosts.
author: flaskops contributors (@flaskops)
"""

EXAMPLES = r"""
- name: Look at all hosts with apps
  # a regular expression, so that a topology that the inventory has no group for costs no warning
  hosts: "~^({{ query('flaskops.hosting.topologies') | join('|') }})$"
  tasks:
    - name: Look at the host
      flaskops.hosting.survey:
"""

RETURN = r"""
_raw:
  description: The names.
  type: list
  elements: str
  sample: [nginx_gunicorn, nginx_uwsgi]
"""

from typing import Any

from ansible.plugins.lookup import LookupBase

# Each playbook asks this lookup for its hosts before Ansible forks a process for each task of each host. What is imported by then, none of them
# imports: without compiled files, which Ansible has none of for collections, that costs each 20 to 100 ms of processor time.
from ansible_collections.flaskops.hosting.plugins.action import (  # noqa: F401  # pylint: disable=unused-import
    check_apps,
    config_files,
    release,
    survey,
)
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TOPOLOGIES


class LookupModule(LookupBase):
    """What Ansible asks for."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[str]:
        """Return the names."""
        return list(TOPOLOGIES)
