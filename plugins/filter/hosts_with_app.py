# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the hosts that have an app."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

DOCUMENTATION = r"""
name: hosts_with_app
short_description: Find the hosts that have an app
version_added: 0.1.0
description:
  - Keeps the hosts of a list whose variables give them the app, in the same order. Work that is done once for all hosts of an app, such as
    a migration, is done on the first or on the last of them.
  - A host without C(flask_apps) has one app, which is this one unless its C(flask_app_name) says otherwise.
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
- name: Show the hosts of the app shop
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | flaskops.hosting.hosts_with_app(hostvars, 'shop') }}"
"""

RETURN = r"""
_value:
  description: Names of the hosts that have the app.
  type: list
  elements: str
  sample: [web1, web2]
"""


def hosts_with_app(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], name: str) -> list[str]:
    """The hosts that must have the app."""
    return [host for host in hosts if _has(hostvars[host], name)]


def _has(variables: Mapping[str, Any], name: str) -> bool:
    plain = {key: variables[key] for key in ("flask_app_name", "flask_app_state") if key in variables}
    apps = [{**plain, **app} for app in variables["flask_apps"]] if "flask_apps" in variables else [plain]
    return any(app.get("flask_app_name", name) == name and app.get("flask_app_state") != "absent" for app in apps)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file."""
        return {"hosts_with_app": hosts_with_app}
