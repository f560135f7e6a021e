"""The examples of the README and of the roles' pages are valid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.plugins.plugin_utils.settings import Settings
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TOPOLOGIES
from ansible_collections.flaskops.hosting.tests.documents import sections_of

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return [block.text for section in sections_of(ROOT / "README.md").values() for block in section if block.language == language]


def topology_of(app: dict[str, Any]) -> str:
    """The first topology that has all of an app's variables, for an example without a group."""
    if "flask_app_topology" in app:
        return str(app["flask_app_topology"])
    return next(name for name, row in TOPOLOGIES.items() if all(key.startswith(tuple(f"{role}_" for role in row.roles)) for key in app))


def examples() -> list[tuple[str, dict[str, Any]]]:
    """Each app in the examples of the README, the example inventory and the roles, with its topology."""
    found = []
    for document in [*map(yaml.safe_load, blocks("yaml")), yaml.safe_load((ROOT / "inventories/example/hosts.yml").read_text())]:
        if "flask_apps" in document:
            found += [(topology_of(app), app) for app in document["flask_apps"]]
        for group in document.keys() & TOPOLOGIES:
            for variables in [document[group].get("vars") or {}, *[host or {} for host in document[group].get("hosts", {}).values()]]:
                found += [(group, app) for app in variables.get("flask_apps", [])]
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        for play in yaml.safe_load(yaml.safe_load(path.read_text())["argument_specs"]["main"]["examples"]) or []:
            found += [(topology_of(role["vars"]), role["vars"]) for role in play.get("roles", []) if "flask_app_name" in role["vars"]]
    return found


@pytest.mark.parametrize(("topology", "app"), examples(), ids=lambda value: value if isinstance(value, str) else value["flask_app_name"])
def test_the_variables_of_an_example_are_right(topology: str, app: dict[str, Any]) -> None:
    found = Settings(TOPOLOGIES[topology].roles, {}, app, lambda path: yaml.safe_load(path.read_text()), lambda value, _variables: value)
    unresolved = ("flask_app_root:", "flask_app_user:", "flask_app_group:")  # only Ansible can render these defaults
    assert [problem for problem in found.problems if not problem.startswith(unresolved)] == []


def test_the_commands_are_there() -> None:
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"make ([a-z][\w-]*)", README)) - {"install"}
    assert {"demo", "test"} <= shown <= targets
    for playbook in re.findall(r"ansible-playbook (\S+\.yml)", README):
        assert (ROOT / playbook).is_file()
