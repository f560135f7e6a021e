#!/usr/bin/python
# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check the variables of all apps of a host, before the first of them is touched: the documentation of the action."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_apps
short_description: Check the variables of all apps of a host, before the first of them is touched
version_added: 0.2.0
description:
  - Runs on the controller, and does not ask the host. It rejects what is wrong with an app's variables or its source, and what two apps of the host
    cannot both have, such as an account, a directory or a port. A message names the app, the variable, what was given and what would be right.
  - What only the host can tell, such as a port that another service holds, is what M(flaskops.hosting.survey) rejects, app by app.
author: flaskops contributors (@flaskops)
options:
  apps:
    description: The apps, as dictionaries of variables. They take precedence over the host's variables of the same names.
    type: list
    elements: dict
    required: true
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: There is nothing to show.
"""

EXAMPLES = r"""
- name: Check all apps of the host
  flaskops.hosting.check_apps:
    apps: "{{ flask_apps }}"
"""

RETURN = r"""
checked:
  description: Names of the apps that were checked.
  returned: success
  type: list
  elements: str
  sample: [shop, blog]
"""
