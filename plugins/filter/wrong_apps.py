# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say what is wrong with a host's list of apps."""

from __future__ import annotations

from typing import Callable

from ansible_collections.flaskops.hosting.plugins.plugin_utils.apps_of_host import problem_of_list

DOCUMENTATION = r"""
name: wrong_apps
short_description: Say what is wrong with a host's list of apps
version_added: 0.2.0
description:
  - Says whether C(flask_apps) is a list of dictionaries, before anything looks into it. The module M(flaskops.hosting.check_apps) checks what is in
    the apps.
author: flaskops contributors (@flaskops)
options:
  _input:
    description: The C(flask_apps) of a host.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Reject apps that are no list
  ansible.builtin.fail:
    msg: "{{ flask_apps | flaskops.hosting.wrong_apps }}"
  when: flask_apps | flaskops.hosting.wrong_apps != ''
"""

RETURN = r"""
_value:
  description: What is wrong, and what would be right. Empty if nothing is.
  type: str
  sample: "flask_apps: got a dict, needs a list of apps, each a dictionary. For example: …"
"""


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters of this file."""
        return {"wrong_apps": problem_of_list}
