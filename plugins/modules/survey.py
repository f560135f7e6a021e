#!/usr/bin/python
# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check an app's variables and look at the host, before anything is touched."""

from __future__ import annotations

DOCUMENTATION = r"""
module: survey
short_description: Check an app's variables and look at the host, before anything is touched
version_added: 0.1.0
description:
  - On the controller, it takes the variables of the named roles, fills in the roles' defaults, and refuses what cannot be
    right. A message names the variable, what was given and what would be right.
  - On the host, in one round trip, it reads what those roles need to know, such as packages, accounts, listening sockets, the firewall,
    and which apps there are. So a task that has nothing to do costs no round trip of its own.
  - It refuses what would hurt something else on the host, such as a port that another service holds.
  - It changes nothing.
author: flaskops contributors (@flaskops)
options:
  roles:
    description: Roles of this collection whose variables are checked and returned. None are needed to look at a host.
    type: list
    elements: str
    default: []
  variables:
    description:
      - One app's variables as a dictionary. They win over the host's variables of the same names, so that a loop can
        go over the apps of a host.
    type: dict
    default: {}
  topology:
    description:
      - The chain that the app is part of. C(name) is the topology's, C(server) and C(front) are the roles of its application
        server and of its front, where it has them.
    type: dict
  packages:
    description: Packages of the distribution to look for.
    type: list
    elements: str
    default: []
  packages_by_setting:
    description:
      - More O(packages) that only some value of a variable needs, by the variable's name and the value, as in the example.
      - The value C(*) is any that is not empty.
    type: dict
    default: {}
  status:
    description:
      - Whether each app is looked at more closely. Its health path is asked for through its web server, and its releases, the state of
        what runs it and its last lines of log are told.
    type: bool
    default: false
  user:
    description: Internal. An account to look for. The controller takes it from C(flask_app_user).
    type: str
    default: ""
  group:
    description: Internal. A group to look for. The controller takes it from C(flask_app_group).
    type: str
    default: ""
  python:
    description: Internal. A Python to look for. The controller takes it from C(flask_app_python).
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: There is nothing to show.
"""

EXAMPLES = r"""
- name: Check the variables, and look at the host
  flaskops.hosting.survey:
    roles: [flask_app, nginx_site, nginx_gunicorn]
    topology: {name: nginx_gunicorn, server: nginx_gunicorn, front: nginx_site}
    packages: [nginx, python3-venv]
    packages_by_setting: {nginx_gunicorn_worker_class: {gevent: [libev4t64]}}
  register: app

- name: Tell where it will answer
  ansible.builtin.debug:
    msg: "{{ app.settings.flask_app_name }} answers at port {{ app.settings.nginx_site_listen }}"

- name: Which apps does the host have?
  flaskops.hosting.survey:
  register: host
"""

RETURN = r"""
settings:
  description: The variables of O(roles), checked and complete. Secrets are not among them.
  returned: when O(roles) are given
  type: dict
  sample: {flask_app_name: shop, flask_app_root: /srv/shop}
distribution:
  description: Name and major version of the distribution, as Ansible's facts name them.
  returned: always
  type: dict
  sample: {name: Ubuntu, major_version: "24"}
packages_missing:
  description: Those of O(packages) that are not installed.
  returned: always
  type: list
  elements: str
  sample: [nginx]
package_lists:
  description: Whether the package manager knows any package that could be installed.
  returned: always
  type: bool
  sample: true
account:
  description:
    - Whether the group exists, and whether the user exists in it without a login shell.
    - Whether the user was made by this collection, and whether it is somebody else's that must not be changed.
  returned: always
  type: dict
  sample: {user: true, group: true, ours: true, foreign: false}
sockets:
  description: The TCP ports that are listened on, with the address, the account, the process and its systemd unit.
  returned: always
  type: list
  elements: dict
  sample: [{address: 0.0.0.0, port: 22, user: root, process: sshd, unit: ssh.service}]
firewall:
  description: Whether ufw is installed and enabled, its policy for what comes in, and the TCP ports it lets in.
  returned: always
  type: dict
  sample: {installed: true, enabled: true, incoming: DROP, ports: [22, 80]}
apache:
  description: The modules that Apache has enabled, and the ports that its C(ports.conf) listens on. Where it is not installed, what its package brings.
  returned: always
  type: dict
  sample: {modules: [proxy, wsgi], ports: [80]}
python:
  description: The versions of the Python that was looked for and of the distribution's own. Empty where it does not run.
  returned: always
  type: dict
  sample: {given: "3.13", distribution: "3.13"}
url:
  description: Where the app will answer. Empty for an app that is to go.
  returned: when O(roles) has V(flask_app)
  type: str
  sample: http://192.0.2.10/
front:
  description: How to ask for the app through its web server, as O(flaskops.hosting.release#module:front). Empty without one.
  returned: when O(roles) has V(flask_app)
  type: dict
  sample: {address: "127.0.0.1:80", host: localhost}
front_port:
  description: The port of the web server that must be open. V(0) for none.
  returned: when O(roles) has V(flask_app)
  type: int
  sample: 80
site:
  description: Name of the site that the app is on. Apps with the same port and names share one.
  returned: when O(roles) has V(flask_app)
  type: str
  sample: "80"
site_listen:
  description: Where the site listens.
  returned: when O(roles) has V(flask_app)
  type: str
  sample: "80"
site_names:
  description: The host names of the site.
  returned: when O(roles) has V(flask_app)
  type: list
  elements: str
  sample: [www.example.com]
port_unit:
  description: Name of the units that hold the app's own TCP port. Empty where it has none.
  returned: when O(roles) has V(flask_app)
  type: str
  sample: shop-port-8080
before:
  description: What the app had noted on the host before this run. Empty for a new app.
  returned: when O(roles) has V(flask_app)
  type: dict
  sample: {root: /srv/shop, topology: nginx_uwsgi}
left_front:
  description: The role of the front that the app had before and has no more. Empty for none.
  returned: when O(roles) has V(flask_app)
  type: str
  sample: apache_site
left_front_is_empty:
  description: Whether no other app is on the front that the app was on.
  returned: when O(roles) has V(flask_app)
  type: bool
  sample: true
left_site:
  description: The site that the app has left. Empty for none.
  returned: when O(roles) has V(flask_app)
  type: str
  sample: 80-www.example.com
left_site_is_shared:
  description: Whether another app is on the site that the app was on.
  returned: when O(roles) has V(flask_app)
  type: bool
  sample: false
left_listen:
  description: Where the site listened that the app has left. Empty where another site listens there, or for none.
  returned: when O(roles) has V(flask_app)
  type: str
  sample: "8080"
left_modules:
  description: Apache's modules that the app had enabled and no other app needs.
  returned: when O(roles) has V(flask_app)
  type: list
  elements: str
  sample: [wsgi]
left_port_unit:
  description: Name of the units that held the app's own TCP port and do no more. Empty for none.
  returned: when O(roles) has V(flask_app)
  type: str
  sample: shop-port-8080
left_ports:
  description: Ports of the web server that need not be open any more.
  returned: when O(roles) has V(flask_app)
  type: list
  elements: int
  sample: [8080]
ssh_ports:
  description: The ports that sshd listens on, which must stay open.
  returned: when O(roles) has V(flask_app)
  type: list
  elements: int
  sample: [22]
foreign_modules:
  description: Apache's modules that none of the collection's apps has enabled.
  returned: when O(roles) has V(flask_app)
  type: list
  elements: str
  sample: [mpm_event]
apps:
  description: The apps of this collection on the host, by name, with what they noted and which release is live.
  returned: always
  type: dict
  sample: {shop: {root: /srv/shop, live: 3f786850e387-89e6c98d}}
  contains:
    live:
      description: Name of the release that is live. Empty for none.
      returned: always
      type: str
      sample: 3f786850e387-89e6c98d
    live_since:
      description: When it went live, in UTC. Empty for none.
      returned: with O(status)
      type: str
      sample: "2026-11-21T08:00:00Z"
    health:
      description: What its health path answers through the web server.
      returned: with O(status), where a release is live
      type: str
      sample: 200 OK
    state:
      description: What systemd, supervisord or Apache says of the instance.
      returned: with O(status), where a release is live
      type: str
      sample: active
    log:
      description: The last lines that the instance wrote, without its secrets.
      returned: with O(status), where a release is live
      type: list
      elements: str
      sample: ["Listening at: unix:/srv/shop/releases/3f786850e387-89e6c98d/run/app.sock"]
    maintenance:
      description: Whether visitors get the maintenance page.
      returned: with O(status)
      type: bool
      sample: false
    releases:
      description: The releases that are kept, oldest first, each with its name, its source's version, when it was made and went live, and why it failed.
      returned: with O(status)
      type: list
      elements: dict
      sample: [{name: 0fcd19b3a1d2-89e6c98d, version: v1.4, created: "2026-11-20T08:00:00Z", live: "", failed: importing main raised KeyError}]
"""

import glob
import grp
import ipaddress
import json
import os
import pwd
import re
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flaskops.hosting.plugins.module_utils import activation
from ansible_collections.flaskops.hosting.plugins.module_utils.command import run
from ansible_collections.flaskops.hosting.plugins.module_utils.health import ask
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_systemd import UNITS
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import RECORDS, Release, Tree

LISTENING = "0A"  # the state column of /proc/net/tcp
DISTRIBUTION_PYTHON = "/usr/bin/python3"
HEALTH_TIMEOUT = 5  # seconds
LOG_LINES = 5
OUR_COMMENT = "Flask app"  # what the role flask_app writes into the account's comment
NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false")


def distribution() -> dict[str, str]:
    """Name and major version, from os-release."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    release = dict(line.split("=", 1) for line in lines if "=" in line)
    name, version = (release.get(key, "").strip('"') for key in ("ID", "VERSION_ID"))
    return {"name": name.capitalize(), "major_version": version.split(".")[0]}


def missing_packages(packages: list[str]) -> list[str]:
    """Those of the packages that dpkg has not installed."""
    if not packages:
        return []
    shown = run("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages)
    installed = {line.split()[0] for line in shown.stdout.splitlines() if line.endswith(" installed")}
    return sorted(set(packages) - installed)


def account(user: str, group: str) -> dict[str, bool]:
    """Whether the group exists, whether the user is right, and whose it is."""
    has_group = any(entry.gr_name == group for entry in grp.getgrall())
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return {"user": False, "group": has_group, "ours": False, "foreign": False}
    right = has_group and found.pw_gid == grp.getgrnam(group).gr_gid and found.pw_shell in NO_LOGIN
    ours = found.pw_gecos.startswith(OUR_COMMENT)
    return {"user": right, "group": has_group, "ours": ours, "foreign": not (right or ours)}


def sockets() -> list[dict[str, Any]]:
    """The listening TCP sockets, with who holds them."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not os.path.exists(table):
            continue
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                address, port = fields[1].split(":")
                found.append({"address": _address(address), "port": int(port, 16), "user": _user(int(fields[7])), "inode": fields[9]})
    owners = _socket_owners({one["inode"] for one in found})
    # root without CAP_SYS_PTRACE, as in a container, does not see the sockets of another account's process
    found = [{**one, **owners.get(one.pop("inode"), {"process": "", "unit": ""})} for one in found]
    for one in found:
        if one["process"] == "systemd":  # it holds an app's port
            one["unit"] = next((path.name for path in UNITS.glob(f"*-port-{one['port']}.socket")), one["unit"])
    return found


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _address(digits: str) -> str:
    words = [bytes.fromhex(digits[start:start + 8])[::-1] for start in range(0, len(digits), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _socket_owners(inodes: set[str]) -> dict[str, dict[str, str]]:
    owners = {}
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
            inode = target[len("socket:["):-1] if target.startswith("socket:[") else ""
            if inode in inodes and inode not in owners:
                process = Path(link).parent.parent
                owners[inode] = {"process": (process / "comm").read_text().strip(), "unit": _unit_of(process)}
        except OSError:
            continue  # the process has ended in between
    return owners


def _unit_of(process: Path) -> str:
    units = re.findall(r"[^/\n]+\.(?:service|socket|scope)", (process / "cgroup").read_text())
    return units[0] if units else ""


def firewall() -> dict[str, Any]:
    """What ufw is told, from its own files: its command takes a quarter of a second to say the same."""
    rules = Path("/etc/ufw/user.rules")
    if not rules.exists():
        return {"installed": False, "enabled": False, "incoming": "", "ports": []}
    ports: set[int] = set()
    for words in re.findall(r"^### tuple ### allow (?:tcp|any) (\S+) 0\.0\.0\.0/0 any 0\.0\.0\.0/0 (?:\S+ \S+ )?in\b", rules.read_text(), re.MULTILINE):
        ports |= {int(port) for port in words.split(",") if port.isdigit()}
    enabled = re.search(r"^ENABLED=yes", Path("/etc/ufw/ufw.conf").read_text(), re.MULTILINE)
    policy = re.search(r'^DEFAULT_INPUT_POLICY="(\w+)"', Path("/etc/default/ufw").read_text(), re.MULTILINE)
    return {"installed": True, "enabled": bool(enabled), "incoming": policy[1] if policy else "", "ports": sorted(ports)}


def apache() -> dict[str, Any]:
    """What Apache has enabled, from its files."""
    ports = Path("/etc/apache2/ports.conf")
    text = ports.read_text(encoding="utf-8", errors="replace") if ports.exists() else "Listen 80"
    plain = re.sub(r"<IfModule.*?</IfModule>", "", text, flags=re.DOTALL)  # of modules for TLS
    return {
        "modules": sorted(path.stem for path in Path("/etc/apache2/mods-enabled").glob("*.load")),
        "ports": [int(port) for port in re.findall(r"^\s*Listen\s+(\d+)\s*$", plain, re.MULTILINE)],
    }


def pythons(given: str) -> dict[str, str]:
    """Major and minor version of a Python and of the distribution's own; empty where it does not run."""
    # the distribution's is a link to the file of its version, so it need not be run
    distribution = Path(DISTRIBUTION_PYTHON).resolve().name.removeprefix("python")
    if given in ("", DISTRIBUTION_PYTHON):
        return {"given": distribution, "distribution": distribution}
    asked = run(given, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    return {"given": "" if asked.returncode else asked.stdout.strip(), "distribution": distribution}


def apps(status: bool) -> dict[str, dict[str, Any]]:
    """The apps that this collection put on the host, with the release that is live, and more of them where asked for."""
    found = {}
    for path in sorted(RECORDS.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        tree = Tree(record["app"], Path(record["root"]))
        live = tree.live()
        record["live"] = live.name if live else ""
        if status:
            record.update(more_of(record, tree))
        found[record["app"]] = record
    return found


def more_of(record: dict[str, Any], tree: Tree) -> dict[str, Any]:
    """What a person asks who looks after an app: what runs, since when, how it is, and what went wrong."""
    live = tree.live()
    told: dict[str, Any] = {
        "live_since": _time(tree.current.lstat().st_mtime) if live else "",
        "maintenance": tree.maintenance.exists(),
        "releases": [_describe(release) for release in tree.kept_releases()],
    }
    if live and live.is_complete():
        front = record.get("front") or {"address": record["listen"], "host": "localhost"}
        path = record["mount"].rstrip("/") + live.facts()["health_path"]
        told["health"] = ask(front["address"], front["host"], path, HEALTH_TIMEOUT)
        told["state"] = activation.instance_of(live).state()
        told["log"] = activation.instance_log(live).splitlines()[-LOG_LINES:]
    return told


def _describe(release: Release) -> dict[str, str]:
    facts = release.facts() if release.is_complete() else {}
    failure = release.failure()
    return {
        "name": release.name,
        "version": facts.get("version", ""),
        "created": _time(facts.get("created", failure.get("failed", 0))),
        "live": _time(release.went_live()),
        "failed": failure.get("reason", ""),
    }


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "roles": {"type": "list", "elements": "str", "default": []},
            "variables": {"type": "dict", "default": {}},
            "topology": {"type": "dict"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "packages_by_setting": {"type": "dict", "default": {}},
            "status": {"type": "bool", "default": False},
            "user": {"type": "str", "default": ""},
            "group": {"type": "str", "default": ""},
            "python": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    module.exit_json(
        changed=False,
        distribution=distribution(),
        packages_missing=missing_packages(module.params["packages"]),
        package_lists=bool(glob.glob("/var/lib/apt/lists/*_Packages*")),
        account=account(module.params["user"], module.params["group"]),
        sockets=sockets(),
        firewall=firewall(),
        apache=apache(),
        python=pythons(module.params["python"]),
        apps=apps(module.params["status"]),
    )


if __name__ == "__main__":
    main()
