# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The roles' variables: completed by their defaults, and refused where they cannot be right."""

from __future__ import annotations

import ast
import difflib
import hashlib
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROLES = Path(__file__).resolve().parents[2] / "roles"
SECRETS = "flask_app_secrets"
HOST_NAME = re.compile(r"^(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")
VARIABLE_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
TYPE_NEEDS = {
    "int": "a whole number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a dictionary",
    "str": "a string",
    "path": "a path",
}


@dataclass(frozen=True)
class Rule:
    """What a value must fulfil beyond its type: a test, the same in words, and an example as YAML."""

    holds: Callable[[Any], bool]
    needs: str
    example: str


def matches(pattern: str) -> Callable[[Any], bool]:
    """A test whether the whole value matches a regular expression."""
    return lambda value: re.fullmatch(pattern, str(value)) is not None


def is_listen_address(value: Any) -> bool:
    """Tell whether a value is a port, or an IP address and a port."""
    address, _colon, port = str(value).rpartition(":")
    try:
        if address:
            ipaddress.ip_address(address.strip("[]"))
        return 0 < int(port) < 65536
    except ValueError:
        return False


def is_instance_address(value: Any) -> bool:
    """Tell whether a value is the release's own unix socket, or an IP address and a port."""
    return str(value) == "unix:run/app.sock" or (":" in str(value) and is_listen_address(value))


def are_names_to_directories(value: dict[str, Any]) -> bool:
    """Tell whether a value maps URL paths to relative directories."""
    return all(matches(r"/[\w./-]*")(url) and is_inside(path) for url, path in value.items())


def is_inside(value: Any) -> bool:
    """Tell whether a value is a relative path that stays inside."""
    return matches(r"[\w.][\w./ -]*")(value) and ".." not in str(value).split("/")


ACCOUNT = Rule(
    lambda value: matches(r"[a-z_][a-z0-9_-]{0,31}")(value) and value not in ("root", "www-data"),
    "an account name of a-z, 0-9, - and _ that is neither root's nor the web server's",
    "shop",
)
AT_LEAST_1 = Rule(lambda value: value >= 1, "a whole number of at least 1", "4")
RULES = {
    "flask_app_name": Rule(matches(r"[A-Za-z][A-Za-z0-9_-]{0,31}"), "1 to 32 letters, digits, - and _, a letter first", "shop"),
    "flask_app_root": Rule(matches(r"/[\w.-]+(?:/[\w.-]+)+"), "an absolute path below a top-level directory", "/srv/shop"),
    "flask_app_user": ACCOUNT,
    "flask_app_group": ACCOUNT,
    "flask_app_module": Rule(
        matches(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(?:\(\))?"), "module:callable, or module:factory() for a factory", "main:app"
    ),
    "flask_app_python": Rule(matches(r"/\S+"), "the absolute path of a Python on the host", "/usr/bin/python3"),
    "flask_app_mount": Rule(matches(r"/|(?:/[\w.~-]+)+"), "a URL path with a leading slash and no trailing one", "/shop"),
    "flask_app_health_path": Rule(matches(r"/[^\s#]*"), "a URL path with a leading slash, below the mount", "/healthz"),
    "flask_app_static": Rule(are_names_to_directories, "URL paths and directories of the source", "{/static: static}"),
    "flask_app_shared": Rule(lambda value: all(map(is_inside, value)), "directories of the source", "[uploads]"),
    "flask_app_health_timeout": AT_LEAST_1,
    "flask_app_keep_releases": AT_LEAST_1,
    "nginx_site_listen": Rule(is_listen_address, "a port, or an IP address and a port", '"80"'),
    "nginx_site_server_names": Rule(
        lambda value: all(HOST_NAME.match(str(name)) for name in value), "host names", "[shop.example.com]"
    ),
    "nginx_gunicorn_listen": Rule(is_instance_address, "unix:run/app.sock, or an IP address and a port", '"127.0.0.1:8080"'),
    "nginx_gunicorn_workers": AT_LEAST_1,
    "nginx_gunicorn_threads": AT_LEAST_1,
    "nginx_gunicorn_timeout": AT_LEAST_1,
}


class Settings:
    """The variables of some roles for one app, gathered from the host's variables and one app's own.

    ``render`` templates a value with a dictionary of variables; it is the only thing that needs Ansible.
    """

    def __init__(
        self, roles: list[str], variables: dict[str, Any], own: dict[str, Any],
        load: Callable[[Path], Any], render: Callable[[Any, dict[str, Any]], Any],
    ) -> None:
        self.problems: list[str] = []
        self.values: dict[str, Any] = {}
        self._specs = {role: read_specs(role) for role in known_roles()}
        if "nginx_site" not in roles:
            topologies = ", ".join(role for role in self._specs if role not in ("flask_app", "nginx_site"))
            self.problems.append(f"{roles[0]} serves nothing by itself; use a topology's role instead, one of: {topologies}")
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
            self.values[name] = value

    def _refuse(self, name: str, value: Any, needs: str) -> None:
        if name not in self._given and self.problems:
            return  # a default that follows from what was refused already
        given = f"a {type_of(value)}" if name == SECRETS else repr(value)
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


def conflicts(values: dict[str, Any], host: dict[str, Any]) -> Iterator[str]:
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
    for other in others:
        for variable, key in (("flask_app_root", "root"), ("flask_app_user", "user")):
            if values[variable] == other.get(key):
                yield f"{variable}: {values[variable]!r} is the app {other['app']}'s; give this app its own. For example:\n    {variable}: {name}"
        if site_of(values) == other.get("site") and values["flask_app_mount"] == other.get("mount"):
            yield (
                f"flask_app_mount: {values['flask_app_mount']} on port {values['nginx_site_listen']} is the app {other['app']}'s; "
                "give this app another flask_app_mount, nginx_site_server_names or nginx_site_listen"
            )
        if "nginx_gunicorn_listen" in values and values["nginx_gunicorn_listen"] == other.get("listen") != "unix:run/app.sock":
            yield f"nginx_gunicorn_listen: {values['nginx_gunicorn_listen']} is the app {other['app']}'s; give this app another port"
    for socket in host["sockets"]:
        holder = f"{socket['process'] or 'a process'} of {socket['user']}" + (f" ({socket['unit']})" if socket["unit"] else "")
        for variable, is_ours in (
            ("nginx_site_listen", socket["process"] == "nginx"),
            ("nginx_gunicorn_listen", socket["user"] == values["flask_app_user"]),
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


def site_of(values: dict[str, Any]) -> str:
    """The name of the server block that an app is in. Apps with the same address and names share one."""
    words = [str(values.get("nginx_site_listen")), *sorted(values.get("nginx_site_server_names", []))]
    name = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(words).replace("*", "wildcard")).strip("-")
    return name if len(name) <= 80 else f"{name[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def derive(values: dict[str, Any], host: dict[str, Any], reached_at: str) -> dict[str, Any]:
    """What follows from the settings and the host: the site, its address, and the ports that must stay open.

    ``reached_at`` is the name or address that the controller reaches the host at, for the URL.
    """
    listen = str(values["nginx_site_listen"])
    address = listen.rpartition(":")[0] or "0.0.0.0"
    local = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(address, address)
    names = [name for name in values["nginx_site_server_names"] if "*" not in name]
    port = int(listen.rpartition(":")[2])
    shown = names[0] if names else reached_at
    site = site_of(values)
    present = values["flask_app_state"] == "present"
    before = host["apps"].get(values["flask_app_name"], {})
    others = [record for record in host["apps"].values() if record["app"] != values["flask_app_name"]]
    ssh_ports = {one["port"] for one in host["sockets"] if one["process"] == "sshd"} or {22}
    # what the app had and has no more: all of it when it goes, and what it left when it moved
    left_site = before.get("site", "") if not present or before.get("site") != site else ""
    needed = ssh_ports | {_front_port(record) for record in others} | ({port} if present else set())
    return {
        "site": site,
        "left_site": left_site,
        "left_site_is_shared": left_site in [record.get("site") for record in others],
        "left_ports": sorted({_front_port(before)} - needed - {0}),
        "front": {"address": f"{local}:{port}", "host": names[0] if names else "localhost"},
        "front_port": port,
        "ssh_ports": sorted(ssh_ports),
        "url": f"http://{shown}{'' if port == 80 else f':{port}'}{values['flask_app_mount'].rstrip('/')}/",
    }


def _front_port(record: dict[str, Any]) -> int:
    return int(record["front"]["address"].rpartition(":")[2]) if "front" in record else 0
