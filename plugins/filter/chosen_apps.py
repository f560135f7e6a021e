# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Choose some of a host's apps."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.flaskops.hosting.plugins.plugin_utils.apps_of_host import problem_of_list
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TOPOLOGIES

DOCUMENTATION = r"""
name: chosen_apps
short_description: Choose some of a host's apps
version_added: 0.1.0
description:
  - Keeps the chosen app of a list of apps, with the values given for this run in place of its own. Without a choice, it keeps all.
    On a host without the chosen app the list is empty, so a loop does nothing there.
  - With a topology, it leaves out the apps that belong to another one.
positional: _input, chosen, topology, of_host
author: flaskops contributors (@flaskops)
options:
  _input:
    description: A host's apps, as dictionaries of variables.
    type: list
    elements: dict
    required: true
  chosen:
    description: The chosen app's C(flask_app_name), and variables that replace its own. Empty for no choice.
    type: dict
    default: {}
  topology:
    description: Name of the topology whose apps are kept. Empty for all.
    type: str
    default: ""
  of_host:
    description: The host's C(flask_app_topology), for apps without one of their own.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Deploy one app
  ansible.builtin.include_role:
    name: flaskops.hosting.nginx_gunicorn
  loop: "{{ flask_apps | flaskops.hosting.chosen_apps({'flask_app_name': 'shop', 'flask_app_version': 'v1.5'}) }}"
  loop_control:
    loop_var: flask_app
"""

RETURN = r"""
_value:
  description: The apps that were chosen, as dictionaries of variables.
  type: list
  elements: dict
"""


def chosen_apps(apps: list[dict[str, Any]], chosen: dict[str, Any] | None = None, topology: str = "", of_host: str = "") -> list[dict[str, Any]]:
    """The apps with the chosen name, with the given variables; all apps if none is chosen; without those of another topology.

    Raises ``AnsibleFilterError`` if these are no apps.
    """
    problem = problem_of_list(apps)
    if problem:
        raise AnsibleFilterError(problem)
    if topology:
        # the role rejects an unknown topology
        others = TOPOLOGIES.keys() - {topology}
        apps = [app for app in apps if app.get("flask_app_topology", of_host) not in others]
    if not chosen:
        return apps
    # if a host's variables describe a single app directly, an empty dictionary stands for that app
    return [{**app, **chosen} for app in apps if app.get("flask_app_name", chosen["flask_app_name"]) == chosen["flask_app_name"]]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file."""
        return {"chosen_apps": chosen_apps}
