# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The roles' variables: completed by their defaults, and refused where they cannot be right."""

from __future__ import annotations

import ast
import difflib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.flaskops.hosting.plugins.plugin_utils.rules import RULES

ROLES = Path(__file__).resolve().parents[2] / "roles"
SECRETS = "flask_app_secrets"
VARIABLE_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
TYPE_NEEDS = {
    "int": "a whole number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a dictionary",
    "str": "a string",
    "path": "a path",
}


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


class Settings:
    """The variables of some roles for one app or database, gathered from the host's variables and its own.

    ``render`` templates a value with a dictionary of variables; it is the only thing that needs Ansible.
    """

    def __init__(
        self, roles: list[str], variables: dict[str, Any], own: dict[str, Any],
        load: Callable[[Path], Any], render: Callable[[Any, dict[str, Any]], Any],
    ) -> None:
        self.problems: list[str] = []
        self.values: dict[str, Any] = {}
        self._specs = {role: read_specs(role) for role in known_roles()}
        if roles == ["flask_app"] and own.get("flask_app_state") != "absent":  # removing takes no server: the host has noted it
            topologies = ", ".join(role for role in self._specs if role not in ("flask_app", "mysql_webapp", *FRONTS))
            self.problems.append(f"flask_app serves nothing by itself; use a topology's role instead, one of: {topologies}")
        self._wanted = {name: spec for role in roles for name, spec in self._specs[role].items()}
        defaults = {name: value for role in roles for name, value in load(ROLES / role / "defaults" / "main.yml").items()}
        self._given = {*variables, *own}
        self._scope = {**defaults, **variables, **own}
        self._problems_of_names(own)
        for name in self._wanted:
            if name not in self._scope:
                continue
            try:
                value = render(self._scope[name], self._scope)
            except AnsibleError as error:
                if name in self._given:  # a default that cannot be rendered follows from what is missing
                    self.problems.append(f"{name}: {error}")
                continue
            self._take(name, value)
        self.secrets = self.values.pop(SECRETS, {})
        self._problems_of_missing()
        self._problems_of_environment()

    def _problems_of_names(self, own: dict[str, Any]) -> None:
        known = {name for spec in self._specs.values() for name in spec}
        for name in sorted(self._scope):
            ours = any(name.startswith(f"{role}_") for role in self._specs)
            if name not in known and (ours or name in own):
                near = difflib.get_close_matches(name, known, n=1)
                self.problems.append(f"{name}: there is no such variable" + (f"; did you mean {near[0]}?" if near else ""))

    def _take(self, name: str, value: Any) -> None:
        spec = self._wanted[name]
        if value is None and not spec.get("required"):
            return
        checked = ArgumentSpecValidator({name: _without_required(spec)}).validate({name: value})
        if checked.error_messages:
            needs = TYPE_NEEDS.get(spec.get("type", "str"), "another value")
            if spec.get("choices"):
                needs = "one of " + ", ".join(map(str, spec["choices"]))
            self._refuse(name, value, needs)
            return
        value = checked.validated_parameters[name]
        rule = RULES.get(name)
        if rule and not rule.holds(value):
            self._refuse(name, value, rule.needs)
        else:
            self.values[name] = without_secrets(value, spec)

    def _refuse(self, name: str, value: Any, needs: str) -> None:
        if name not in self._given and self.problems:
            return  # a default that follows from what was refused already
        given = f"a {type_of(value)}" if name == SECRETS else repr(without_secrets(value, self._wanted[name]))
        example = f". For example:\n    {name}: {RULES[name].example}" if name in RULES else ""
        self.problems.append(f"{name}: got {given}, needs {needs}{example}")

    def _problems_of_missing(self) -> None:
        absent = self.values.get("flask_app_state") == "absent"
        for name, spec in self._wanted.items():
            needed = spec.get("required") or (name == "flask_app_source" and not absent)
            if needed and name not in self.values and not any(problem.startswith(f"{name}:") for problem in self.problems):
                example = RULES[name].example if name in RULES else "/home/me/shop"
                self.problems.append(f"{name}: is not given. For example:\n    {name}: {example}")

    def _problems_of_environment(self) -> None:
        for variable, value in (self.values.get("flask_app_environment") or {}).items():
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                self.problems.append(f"flask_app_environment: {variable} is {value!r}, needs a string; put it in quotes")
        for variable, value in self.secrets.items():
            if not isinstance(value, str):
                self.problems.append(f"{SECRETS}: {variable} is a {type_of(value)}, needs a string; put it in quotes")
        for name, found in (("flask_app_environment", self.values.get("flask_app_environment") or {}), (SECRETS, self.secrets)):
            for variable, value in found.items():
                if not VARIABLE_NAME.match(str(variable)):
                    self.problems.append(f"{name}: got {variable!r}, needs a variable name of letters, digits and _")
                if isinstance(value, str) and ("\0" in value or len(value.encode("utf-8", "replace")) > 120_000):
                    self.problems.append(f"{name}: {variable} must hold no NUL byte and at most 120,000 bytes, as Linux demands")


def type_of(value: Any) -> str:
    """The plain name of a value's type; Ansible's own types, which carry where a value came from, have a prefix."""
    name, prefix = type(value).__name__, "_AnsibleTagged"
    return name.removeprefix(prefix).lower() if name.startswith(prefix) else name


def without_secrets(value: Any, spec: dict[str, Any]) -> Any:
    """A value as it may be shown: without the parts that its argument spec keeps out of logs."""
    if not any(option.get("no_log") for option in spec.get("options", {}).values()):
        return value
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return f"a {type_of(value)}"
    shown = {name for name, option in spec["options"].items() if not option.get("no_log")}
    return [{name: part for name, part in one.items() if name in shown and part is not None} for one in value]


def known_roles() -> list[str]:
    """The roles of this collection."""
    return sorted(path.parent.parent.name for path in ROLES.glob("*/meta/argument_specs.yml"))


def read_specs(role: str) -> dict[str, Any]:
    """A role's variables with their types, from its argument specs."""
    text = (ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["argument_specs"]["main"]["options"]


def _without_required(spec: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in spec.items() if key in ("type", "elements", "choices")}
    return {**kept, "options": {name: _without_required(inner) for name, inner in spec["options"].items()}} if "options" in spec else kept


def problems_of_module(directory: Path, wanted: str) -> Iterator[str]:
    """What is wrong with ``module:callable`` in a source, as far as reading the code without running it can tell."""
    module, _colon, name = wanted.partition(":")
    places = [directory / f"{module.replace('.', '/')}.py", directory / module.replace(".", "/") / "__init__.py"]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        there = ", ".join(sorted(path.stem for path in directory.glob("*.py"))) or "none"
        yield f"flask_app_module: got {wanted!r}, but {directory} has no module {module}; its modules: {there}"
        return
    try:
        names = set(_top_level_names(ast.parse(found.read_bytes())))
    except SyntaxError as error:
        yield f"flask_app_source: {found}, line {error.lineno}: {error.msg}"
        return
    plain = name.removesuffix("()")
    if plain not in names and "*" not in names and "__getattr__" not in names:
        yield f"flask_app_module: got {wanted!r}, but {found.name} defines no {plain}; it defines: {', '.join(sorted(names)) or 'nothing'}"


def _top_level_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        else:
            yield from _top_level_names(node)  # what a try, an if or a with binds is bound at the top level too


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
    linked = {"apache_wsgi": "mod_wsgi", "uwsgi_app": "uWSGI"}.get(topology.server)
    if not linked or values.get("uwsgi_app_origin") == "venv":
        return
    given, needed = host["python"]["given"], host["python"]["distribution"]
    if given != needed:
        yield (
            f"flask_app_python: got {values['flask_app_python']!r}, which is {f'Python {given}' if given else 'not there'}, but the distribution's "
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
    if topology.listen(values) == other.get("listen") not in ("", OWN_SOCKET):
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
        (f"{topology.server}_listen", socket["user"] == values["flask_app_user"]),
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
    return {
        "before": before,
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
