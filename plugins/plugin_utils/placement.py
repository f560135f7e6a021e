# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an app fits onto a host: what it would hurt there, where it answers, and what it leaves behind when it moves."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Iterator

# The process of each front, by the name of its role.
FRONTS = {"nginx_site": "nginx", "apache_site": "apache2"}
OWN_SOCKET = "unix:run/app.sock"
NO_SITE = {"site": "", "site_listen": "", "site_names": [], "front": {}, "front_port": 0, "url": ""}


@dataclass(frozen=True)
class Topology:
    """A chain of roles: the topology's own, and those of its application server and its front, where it has them.

    By convention a server's role has a variable ``<role>_listen``, a front's has ``<role>_listen`` and ``<role>_server_names``.
    """

    name: str
    server: str = ""
    front: str = ""

    def listen(self, values: dict[str, Any]) -> str:
        """Where the app's instance listens; empty where it has no socket of its own."""
        return str(values.get(f"{self.server}_listen", ""))


def conflicts(values: dict[str, Any], host: dict[str, Any], topology: Topology) -> Iterator[str]:
    """What of one app's settings would hurt something else on the host, as ``survey`` found it."""
    name = values["flask_app_name"]
    if host["account"]["foreign"]:
        yield (
            f"flask_app_user: {values['flask_app_user']!r} is an account that this collection did not make, and it has a login shell "
            f"or another group; give the app one of its own. For example:\n    flask_app_user: {name.lower()}-app"
        )
    own = host["apps"].get(name)
    if own and own["root"] != values["flask_app_root"]:
        yield f"flask_app_root: got {values['flask_app_root']!r}, but {name} is in {own['root']}; remove it there first, or keep that"
    others = [record for record in host["apps"].values() if record["app"] != name]
    yield from _conflicts_of_development(values, host, topology, others)
    yield from _conflicts_of_python(values, host, topology)
    for other in others:
        yield from _conflicts_with_app(values, topology, other)
    for socket in host["sockets"]:
        yield from _conflicts_with_socket(values, topology, socket, own or {}, others)


def _conflicts_of_development(values: dict[str, Any], host: dict[str, Any], topology: Topology, others: list[dict[str, Any]]) -> Iterator[str]:
    if topology.name == "dev_server" and values["flask_app_mount"] != "/":
        yield f"flask_app_mount: got {values['flask_app_mount']!r}, but the development server knows no mount; leave it out"
    found = host["apps"].values() if topology.name == "dev_server" else others
    for other in found:
        if other["topology"] != "removed" and (other["topology"] == "dev_server") != (topology.name == "dev_server"):
            yield (
                f"flask_app_name: this host has the app {other['app']} ({other['topology']}), and a development server and production "
                "apps do not share a host; remove that app first (flask_app_state: absent), or take another host"
            )


def _conflicts_of_python(values: dict[str, Any], host: dict[str, Any], topology: Topology) -> Iterator[str]:
    if not host["python"]["given"]:
        yield f"flask_app_python: got {values['flask_app_python']!r}, which is not there. For example:\n    flask_app_python: /usr/bin/python3"
        return
    linked = {"apache_wsgi": "mod_wsgi", "uwsgi_app": "uWSGI"}.get(topology.server)
    if not linked or values.get("uwsgi_app_origin") == "venv":
        return
    given, needed = host["python"]["given"], host["python"]["distribution"]
    if given != needed:
        yield (
            f"flask_app_python: got {values['flask_app_python']!r}, which is Python {given}, but the distribution's "
            f"{linked} is built for Python {needed}. For example:\n    flask_app_python: /usr/bin/python3"
        )


def _conflicts_with_app(values: dict[str, Any], topology: Topology, other: dict[str, Any]) -> Iterator[str]:
    name = values["flask_app_name"]
    for variable, key in (("flask_app_root", "root"), ("flask_app_user", "user")):
        if values[variable] == other.get(key):
            yield f"{variable}: {values[variable]!r} is the app {other['app']}'s; give this app its own. For example:\n    {variable}: {name}"
    front = topology.front
    if front and front == other.get("front_role"):
        listen, names = f"{front}_listen", f"{front}_server_names"
        same_site = [str(values[listen]), sorted(values[names])] == [other["site_listen"], other["site_names"]]
        for mount in sorted({values["flask_app_mount"], *values.get("uwsgi_app_mounts", [])} & set(other["mounts"])) if same_site else []:
            yield (
                f"flask_app_mount: {mount} on port {values[listen]} is the app {other['app']}'s; "
                f"give this app another flask_app_mount, {names} or {listen}"
            )
        if same_site != (site_of(values, front) == other["site"]):
            yield (
                f"{front}_name: got {site_of(values, front)!r}, but the app {other['app']} is on the site {other['site']!r}; apps share a site's "
                f"name where they share {listen} and {names}, and only there"
            )
    if topology.listen(values) == other.get("listen") and other["listen"] not in ("", OWN_SOCKET):
        yield f"{topology.server}_listen: {other['listen']} is the app {other['app']}'s; give this app another port"


def _conflicts_with_socket(
    values: dict[str, Any], topology: Topology, socket: dict[str, Any], own: dict[str, Any], others: list[dict[str, Any]]
) -> Iterator[str]:
    holder = f"{socket['process'] or 'a process'} of {socket['user']}" + (f" ({socket['unit']})" if socket["unit"] else "")
    # an app that moves takes its port along, unless another app of the front that it leaves needs it too
    leaves = own.get("front_role") if own.get("front_role") not in [other.get("front_role") for other in others] else None
    fronts = [FRONTS[front] for front in (topology.front, leaves) if front]
    for variable, is_ours in (
        (f"{topology.front}_listen", socket["process"] in fronts),
        (f"{topology.server}_listen", socket["unit"].startswith(f"{values['flask_app_name']}-port-")),
    ):
        if not is_ours and _is_same_port(values.get(variable), socket):
            yield f"{variable}: port {socket['port']} is in use by {holder}; stop that, or give another port"


def _is_same_port(listen: Any, socket: dict[str, Any]) -> bool:
    address, _colon, port = str(listen).rpartition(":")
    if port != str(socket["port"]):
        return False
    everywhere = ("", "0.0.0.0", "::")
    mine, other = address.strip("[]"), socket["address"]
    return mine == other or mine in everywhere or other in everywhere


def recorded(values: dict[str, Any], host: dict[str, Any]) -> dict[str, Any]:
    """The settings that the host has noted of this app, which say where it is and whose."""
    record = host["apps"].get(values["flask_app_name"], {})
    return {f"flask_app_{key}": record[key] for key in ("root", "user", "group") if key in record}


def port_unit(name: str, listen: str) -> str:
    """The name of the units that hold an app's own TCP port; empty where it has none."""
    return f"{name}-port-{_port(listen)}" if listen and not listen.startswith("unix:") else ""


def site_of(values: dict[str, Any], front: str) -> str:
    """The name of the site that an app is on, as given or made of its port and names. Apps with the same ones share it."""
    words = [str(values[f"{front}_listen"]).replace("[::]", "all6"), *sorted(values[f"{front}_server_names"])]
    name = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(words).replace("*", "wildcard")).strip("-")
    return values.get(f"{front}_name") or (name if len(name) <= 80 else f"{name[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}")


def derive(values: dict[str, Any], host: dict[str, Any], topology: Topology, reached_at: str) -> dict[str, Any]:
    """What follows from the settings and the host: the site, its address, the ports that must stay open, what the app leaves behind.

    ``reached_at`` is the name or address that the controller reaches the host at, for the URL.
    """
    before = host["apps"].get(values["flask_app_name"], {})
    others = [record for record in host["apps"].values() if record["app"] != values["flask_app_name"]]
    ssh_ports = {one["port"] for one in host["sockets"] if one["process"] == "sshd"} or {22}
    present = values["flask_app_state"] == "present"
    site = _site(values, topology, reached_at) if present else NO_SITE
    needed = ssh_ports | {_front_port(record) for record in others} | {site["front_port"]}
    unit = port_unit(values["flask_app_name"], topology.listen(values)) if present else ""
    unit_before = port_unit(values["flask_app_name"], before.get("listen", ""))
    return {
        "before": before,
        "port_unit": unit,
        "left_port_unit": unit_before if unit_before != unit else "",
        **site,
        **_left(before, others, site, topology.front if present else ""),
        "left_ports": sorted({_front_port(before)} - needed - {0}),
        "ssh_ports": sorted(ssh_ports),
        "foreign_modules": sorted(set(host["apache"]["modules"]) - {module for record in host["apps"].values() for module in record["modules"]}),
    }


def _site(values: dict[str, Any], topology: Topology, reached_at: str) -> dict[str, Any]:
    mount = values["flask_app_mount"].rstrip("/")
    if not topology.front:
        return {**NO_SITE, "url": f"http://{topology.listen(values)}{mount}/"}
    listen = str(values[f"{topology.front}_listen"])
    address, _colon, port = listen.rpartition(":")
    local = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(address, address)
    names = [name for name in values[f"{topology.front}_server_names"] if "*" not in name]
    shown = names[0] if names else reached_at
    return {
        "site": site_of(values, topology.front),
        "site_listen": listen,
        "site_names": sorted(values[f"{topology.front}_server_names"]),
        "front": {"address": f"{local}:{port}", "host": names[0] if names else "localhost"},
        "front_port": int(port),
        "url": f"http://{shown}{'' if port == '80' else f':{port}'}{mount}/",
    }


def _left(before: dict[str, Any], others: list[dict[str, Any]], site: dict[str, Any], front: str) -> dict[str, Any]:
    """What the app had on a front and has no more: all of it when it goes, and what it left when it moved."""
    left_front = before.get("front_role", "") if before.get("front_role") != front else ""
    moved = left_front or before.get("site") != site["site"]
    neighbours = [other for other in others if other.get("front_role") == before.get("front_role")]
    # of the front that was left: a front listens on a port once, whatever sites share it
    ports = {_port(one["site_listen"]) for one in [*neighbours, *([] if left_front else [site])]}
    return {
        "left_front": left_front,
        "left_front_is_empty": not neighbours,
        "left_site": before.get("site", "") if moved else "",
        "left_site_is_shared": before.get("site") in [other["site"] for other in neighbours],
        "left_listen": before.get("site_listen", "") if moved and _port(before.get("site_listen", "")) not in ports else "",
        "left_modules": sorted(set(before.get("modules", [])) - {module for other in others for module in other["modules"]}),
    }


def _port(listen: str) -> str:
    return listen.rpartition(":")[2]


def _front_port(record: dict[str, Any]) -> int:
    return int(record["front"]["address"].rpartition(":")[2]) if record.get("front") else 0
