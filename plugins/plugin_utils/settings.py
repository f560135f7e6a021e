# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The roles' variables: completed with their defaults, and rejected if they are wrong."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Callable

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.flaskops.hosting.plugins.module_utils.release_variables import PREFIX
from ansible_collections.flaskops.hosting.plugins.plugin_utils import processes
from ansible_collections.flaskops.hosting.plugins.plugin_utils.entry import first_name
from ansible_collections.flaskops.hosting.plugins.plugin_utils.rules import RULES
from ansible_collections.flaskops.hosting.plugins.plugin_utils.server_options import FURTHER, problems_of_options

# libyaml reads ten times as fast, and is not in every PyYAML
FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
ROLES = Path(__file__).resolve().parents[2] / "roles"
BINDS_UNSEEN = re.compile(rb"\b(?:global\s|globals\b|vars\b|exec\b|setattr\b|__dict__\b|sys\.modules\b)")
LOOKED_AT_AT_MOST = 64 << 10  # bytes of a module; Python 3.10 crashes on a longer one that is nested deeply enough
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


class Settings:
    """The variables of some roles for one app or database, gathered from the host's variables and its own.

    ``render`` templates a value with a dictionary of variables; it is the only thing that needs Ansible.
    """

    def __init__(
        self,
        roles: list[str],
        variables: dict[str, Any],
        own: dict[str, Any],
        load: Callable[[Path], Any],
        render: Callable[[Any, dict[str, Any]], Any],
    ) -> None:
        self.problems: list[str] = []
        self.values: dict[str, Any] = {}
        self._specs = {role: read_specs(role) for role in known_roles()}
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
        self._problems_of_overlaps()
        self._problems_of_health()
        self._problems_of_balancers()
        self.problems += processes.problems_of(self.values)
        self.problems += [problem for name in FURTHER for problem in problems_of_options(name, self.values.get(name) or {})]

    def _problems_of_names(self, own: dict[str, Any]) -> None:
        known = {name for spec in self._specs.values() for name in spec}
        for name in sorted(self._scope):
            ours = any(name.startswith(f"{role}_") for role in self._specs)
            if name not in known and (ours or name in own):
                near = difflib.get_close_matches(name, known, n=1)
                self.problems.append(f"{name}: unknown variable" + (f"; did you mean {near[0]}?" if near else ""))

    def _take(self, name: str, value: Any) -> None:
        spec = self._wanted[name]
        if value is None and not spec.get("required"):
            return
        checked = ArgumentSpecValidator({name: _without_required(spec)}).validate({name: value})
        if checked.error_messages:
            needs = TYPE_NEEDS.get(spec.get("type", "str"), "another value")
            if spec.get("choices"):
                needs = "one of " + ", ".join(map(str, spec["choices"]))
            self._reject(name, value, needs)
            return
        value = checked.validated_parameters[name]
        rule = RULES.get(name)
        if rule and not rule.holds(value):
            self._reject(name, value, rule.needs)
        else:
            self.values[name] = without_secrets(value, spec)

    def _reject(self, name: str, value: Any, needs: str) -> None:
        if name not in self._given and self.problems:
            return  # a default that follows from what was rejected already
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

    def _problems_of_overlaps(self) -> None:
        """What the front serves by itself is made readable by root, and below ``shared/`` the app could make that any file of the host."""
        for name in ("flask_app_static", "apache_site_php"):
            for url, directory in (self.values.get(name) or {}).items():
                for shared in self.values.get("flask_app_shared") or []:
                    mine, other = PurePosixPath(directory).parts, PurePosixPath(shared).parts
                    if mine[: len(other)] == other or other[: len(mine)] == mine:
                        overlap = f"{directory!r}, which overlaps {shared!r} of flask_app_shared"
                        self.problems.append(f"{name}: {url} is served from {overlap}; let the app serve it")

    def _problems_of_health(self) -> None:
        """A file that the front serves by itself says nothing of the app."""
        path = str(self.values.get("flask_app_health_path") or "").partition("?")[0]
        for url, directory in (self.values.get("flask_app_static") or {}).items():
            if path.startswith(f"{url.rstrip('/')}/"):
                self.problems.append(
                    f"flask_app_health_path: got {path!r}, which is served from {directory!r} (flask_app_static) without the app; give a path that "
                    "the app itself answers. For example:\n    flask_app_health_path: /healthz"
                )

    def _problems_of_balancers(self) -> None:
        """The path is the front's own, and it sends a balancer on to the health path, whose characters must mean nothing else to it."""
        path, health = (str(self.values.get(f"flask_app_{name}_path") or "") for name in ("balancer", "health"))
        if path and path == health.partition("?")[0]:
            self.problems.append(f"flask_app_balancer_path: got {path!r}, which is flask_app_health_path too; give one that the app does not answer")
        if path and not re.fullmatch(r"[\w/.~?=&,-]+", health):
            self.problems.append(
                f"flask_app_health_path: got {health!r}, needs nothing but letters, digits and / . ~ ? = & , _ - if there is flask_app_balancer_path"
            )

    def _problems_of_environment(self) -> None:
        for variable, value in (self.values.get("flask_app_environment") or {}).items():
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                self.problems.append(f"flask_app_environment: {variable} is {value!r}, needs a string; put it in quotes")
        for variable, value in self.secrets.items():
            if not isinstance(value, str):
                self.problems.append(f"{SECRETS}: {variable} is a {type_of(value)}, needs a string; put it in quotes")
        for name, found in (("flask_app_environment", self.values.get("flask_app_environment") or {}), (SECRETS, self.secrets)):
            for variable, value in found.items():
                if str(variable).startswith(PREFIX):
                    self.problems.append(f"{name}: {variable} begins with {PREFIX}, which only what the host tells an app does; give it another name")
                if not VARIABLE_NAME.match(str(variable)):
                    self.problems.append(f"{name}: got {variable!r}, needs a variable name of letters, digits and _")
                if isinstance(value, str) and ("\0" in value or len(value.encode("utf-8", "replace")) > 120_000):
                    self.problems.append(f"{name}: {variable} must contain no NUL byte and have at most 120,000 bytes, because Linux allows no more")


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
    options: dict[str, Any] = yaml.load(text, FAST_LOADER)["argument_specs"]["main"]["options"]
    return options


def _without_required(spec: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in spec.items() if key in ("type", "elements", "choices")}
    return {**kept, "options": {name: _without_required(inner) for name, inner in spec["options"].items()}} if "options" in spec else kept


def problems_of_static(directory: Path, static: dict[str, str]) -> Iterator[str]:
    """Directories that a front is to serve and that a source does not have."""
    for url, name in static.items():
        if not (directory / name).is_dir():
            yield f"flask_app_static: {url} is {name!r}, which is no directory of {directory}"


def problems_of_module(directory: Path, wanted: str, requires: bool = False) -> Iterator[str]:
    """What is certainly wrong with ``module:callable`` in a source, as far as the code shows without being run; the rest is the pre-flight's.

    An app that ``requires`` packages may have its module in one of these.
    """
    module, _colon, name = wanted.partition(":")
    tops = [directory, directory / "src"]
    places = [top / f"{module.replace('.', '/')}{ending}" for top in tops for ending in (".py", "/__init__.py")]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        first = module.partition(".")[0]
        if requires and not any(path.exists() for top in tops for path in (top / first, top / f"{first}.py")):
            return
        there = ", ".join(sorted({path.stem for top in tops for path in top.glob("*.py")})) or "none"
        yield f"flask_app_module: got {wanted!r}, but {directory} has no module {module}; its modules: {there}"
        return
    if found.stat().st_size > LOOKED_AT_AT_MOST:
        return
    try:
        code = found.read_bytes()
        names = set(_top_level_names(ast.parse(code)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the host's Python may be newer than this one
        return
    plain = first_name(name)
    if plain not in names and not names & {"*", "__getattr__"} and not BINDS_UNSEEN.search(code):
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
