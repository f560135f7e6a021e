# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take one of a host's apps by its name."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: app_named
short_description: Take one of a host's apps by its name
version_added: 0.1.0
description:
  - Takes an app from a list of apps by its name, so that a loop can go over the names. Hosts whose apps have the same names then do
    each step together, even if other values differ. In a loop over the apps themselves, Ansible would run such hosts one after the other.
positional: _input, name
author: flaskops contributors (@flaskops)
options:
  _input:
    description: A host's apps, as dictionaries of variables.
    type: list
    elements: dict
    required: true
  name:
    description: The app's C(flask_app_name). Empty for the app without a name. Exactly one app of the list must have it.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Host each app
  ansible.builtin.include_role:
    name: flaskops.hosting.nginx_gunicorn
  vars:
    flask_app: "{{ flask_apps | flaskops.hosting.app_named(app_name) }}"
  loop: "{{ flask_apps | map(attribute='flask_app_name') }}"
  loop_control:
    loop_var: app_name
"""

RETURN = r"""
_value:
  description: The app, as a dictionary of variables.
  type: dict
"""


def app_named(apps: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The app of this name. Raises ``AnsibleFilterError`` if no app or several apps have it."""
    found = [app for app in apps if app.get("flask_app_name", "") == name]
    if len(found) > 1:
        raise AnsibleFilterError(f"flask_apps: {len(found)} apps have the flask_app_name {name!r}; each needs one of its own")
    if not found:
        raise AnsibleFilterError(f"flask_apps: no app has the flask_app_name {name!r}")
    return found[0]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file."""
        return {"app_named": app_named}
