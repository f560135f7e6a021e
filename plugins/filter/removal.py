# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell what removing an app would take from its hosts, and why it must not be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

DOCUMENTATION = r"""
name: removal
short_description: Tell what removing an app would take from its hosts, and why it must not be done
version_added: 0.1.0
description:
  - Compares what is to be removed with the inventory and with what C(flaskops.hosting.survey) has found on the hosts.
  - An app or a database that neither of them has is a problem, because its name may be misspelt. So is a database that another live app uses.
positional: _input, hostvars, name, database, with_data
author: flaskops contributors (@flaskops)
options:
  _input:
    description: Names of hosts. Each has the result of C(flaskops.hosting.survey) in the variable C(__remove_host).
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
  database:
    description: Name of the database that is removed too. Empty for none.
    type: str
    default: ""
  with_data:
    description: Whether the files in C(shared/) are removed too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show what would be removed from this host
  ansible.builtin.debug:
    msg: "{{ (ansible_play_hosts | flaskops.hosting.removal(hostvars, 'shop')).removed[inventory_hostname] }}"
"""

RETURN = r"""
_value:
  description: A message for each problem in C(problems), and for each host in C(removed) what would be removed from it and what would stay.
  type: dict
  sample: {problems: [], removed: {web1: ["the app shop in /srv/shop, release 3f786850e387-89e6c98d"]}}
"""


def removal(
    hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], name: str, database: str = "", with_data: bool = False
) -> dict[str, Any]:
    """The problems, and for each host what would be removed."""
    found = {host: hostvars[host]["__remove_host"] for host in hosts}
    inventory = [hostvars[host] for host in found]
    problems = [*_of_app(name, found, inventory), *_of_database(database, name, found, inventory)]
    return {"problems": problems, "removed": {host: list(_removed(one, name, database, with_data)) for host, one in found.items()}}


def _of_app(name: str, found: dict[str, Any], inventory: list[Mapping[str, Any]]) -> Iterator[str]:
    # a host without flask_apps has one app, whose name the name that was typed replaces: only the host itself can tell
    known = {app.get("flask_app_name", "") for variables in inventory for app in variables.get("flask_apps", [])}
    known |= {app for one in found.values() for app in one["apps"]}
    if name not in known - {""}:
        yield f"flask_app_name: got {name!r}, needs an app of the inventory or of these hosts: {_listed(known)}"


def _of_database(database: str, name: str, found: dict[str, Any], inventory: list[Mapping[str, Any]]) -> Iterator[str]:
    if not database:
        return
    known = {str(variables["mysql_webapp_database"]) for variables in inventory if "mysql_webapp_database" in variables}
    known |= {one for host in found.values() for one in host["databases"]}
    if database not in known:
        yield f"remove_database: got {database!r}, needs the name of a database of the inventory or of these hosts: {_listed(known)}"
    for host, one in found.items():
        for app in [app for app, noted in one["apps"].items() if app != name and database in noted["databases"]]:
            yield f"remove_database: got {database!r}, which {app} uses on {host}; remove that app first, or leave remove_database out"


def _listed(known: Iterable[str]) -> str:
    return ", ".join(sorted(filter(None, known))) or "they have none"


def _removed(host: dict[str, Any], name: str, database: str, with_data: bool) -> Iterator[str]:
    app = host["apps"].get(name)
    if app:
        yield f"the app {name} in {app['root']}, {'release ' + app['live'] if app['live'] else 'without a live release'}"
        yield f"its data in {app['root']}/shared {'goes' if with_data else 'stays'}"
    if database and database in host["databases"]:
        yield f"the database {database} with its accounts"
    elif not app:
        yield f"nothing: this host has no app {name}"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file."""
        return {"removal": removal}
