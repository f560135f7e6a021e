# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the release that each host of an app goes back to, and why it must not be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

DOCUMENTATION = r"""
name: rollback_plan
short_description: Find the release that each host of an app goes back to
version_added: 0.2.0
description:
  - A rollback means the same build on all hosts, and goes back on all of them or on none. So each problem is found before a host is changed.
  - The second half of a release's name differs between hosts. Without it, the name is that of the build. The name of one host's release means the
    release of the same build on the others; if they have several, the one that is as many releases of this build back.
positional: _input, hostvars, left, name, release
author: flaskops contributors (@flaskops)
options:
  _input:
    description: Names of hosts. Those that are left have the result of C(flaskops.hosting.survey) in the variable C(__host).
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, which is Ansible's C(hostvars).
    type: dict
    required: true
  left:
    description: The hosts that are still in the play, which is Ansible's C(ansible_play_hosts).
    type: list
    elements: str
    required: true
  name:
    description: The app's C(flask_app_name).
    type: str
    required: true
  release:
    description: Name of a release of one of the hosts, or of a build. Empty for the release that was live before.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what each host would go back to
  ansible.builtin.debug:
    msg: "{{ (ansible_play_hosts_all | flaskops.hosting.rollback_plan(hostvars, ansible_play_hosts, 'shop')).releases }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: A message for each problem in C(problems), and in C(releases) the name of the release for each host that has the app.
  type: dict
  sample: {problems: [], releases: {web1: 3f786850e387-89e6c98d, web2: 3f786850e387-0fcd19b3}}
"""


def rollback_plan(
    hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], left: Iterable[str], name: str, release: str = ""
) -> dict[str, Any]:
    """The problems, and for each host with the app the release that it goes back to."""
    remaining = set(left)
    found = {host: hostvars[host]["__host"]["apps"].get(name) for host in hosts if host in remaining}
    apps = {host: app for host, app in found.items() if app and app["live"]}
    problems = [f"{host}: failed or was not reached; to leave it out: --limit 'all:!{host}'" for host in hosts if host not in remaining]
    if not apps:
        problems.append(f"flask_app_name: {name} has no live release on these hosts, so there is nothing to go back from")
    chosen = _named(apps, release) if release else {host: app["previous"] for host, app in apps.items()}
    problems += list(_of_named(apps, chosen, release) if release else _of_previous(apps, chosen))
    return {"problems": problems, "releases": chosen}


def _build(release: str) -> str:
    return release.partition("-")[0]


def _good(app: Mapping[str, Any], build: str = "") -> list[str]:
    """An app's releases that one can go back to, newest first."""
    good = [one for one in app["releases"] if one["live"] and not one["failed"] and one["fits"] and build in ("", _build(one["name"]))]
    return [one["name"] for one in sorted(good, key=lambda one: one["live"], reverse=True)]


def _named(apps: Mapping[str, Any], release: str) -> dict[str, str]:
    """The release of each host that a name means; none for a host that has no such release."""
    build = _build(release)
    lists = {host: _good(app, build) for host, app in apps.items()}
    if release == build:
        back = 0
    else:
        back = next((names.index(release) for names in lists.values() if release in names), -1)
    return {host: names[back] if 0 <= back < len(names) else "" for host, names in lists.items()}


def _of_named(apps: Mapping[str, Any], chosen: Mapping[str, str], release: str) -> Iterator[str]:
    lacking = [host for host, name in chosen.items() if not name]
    for host in lacking:
        same = [one for one in apps[host]["releases"] if _build(one["name"]) == _build(release)]
        there = [one for one in same if one["name"] == release] or same
        yield f"flask_app_release: got {release!r}, {_why_not(there)} on {host}"
    if lacking:
        yield _proposal(apps)


def _why_not(there: list[Mapping[str, Any]]) -> str:
    if not there:
        return "which is no release that was live"
    if any(one["failed"] for one in there):
        return "which failed before"
    return "which the web server does not reach as it is configured now" if there[-1]["live"] else "which was never live"


def _of_previous(apps: Mapping[str, Any], chosen: Mapping[str, str]) -> Iterator[str]:
    for host in [host for host, name in chosen.items() if not name]:
        yield f"{host}: there is no good release to go back to"
    if len({_build(name) for name in chosen.values() if name}) > 1:
        listed = ", ".join(f"{host} to {name}" for host, name in chosen.items() if name)
        yield f"The hosts would go back to different builds: {listed}"
        yield _proposal(apps)


def _proposal(apps: Mapping[str, Any]) -> str:
    first, *others = [list(dict.fromkeys(map(_build, _good(app)))) for app in apps.values()]
    live = {_build(app["live"]) for app in apps.values()}
    common = [build for build in first if all(build in other for other in others) and live != {build}]
    if not common:
        return "No other build was live on all of them"
    return f"Builds that were live on all of them, newest first: {', '.join(common)}. For example: -e flask_app_release={common[0]}"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """The filters of this file."""
        return {"rollback_plan": rollback_plan}
