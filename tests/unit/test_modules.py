"""A module's documentation and its arguments say the same, and ansible-doc shows a page of all that has one."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in ROOT.glob("plugins/modules/*.py"))
PARTS = sorted(path.stem.removeprefix("host_") for path in ROOT.glob("plugins/module_utils/host_*.py"))
OF_THEIR_OWN = ["host_part", "mysql_database"]  # all others are actions, and check_apps is nothing else
FILTERS = sorted(path.stem for path in ROOT.glob("plugins/filter/*.py"))
LOOKUPS = sorted(path.stem for path in ROOT.glob("plugins/lookup/*.py"))
ROLES = sorted(path.name for path in ROOT.glob("roles/*"))


def documented(options: dict[str, Any]) -> dict[str, Any]:
    """Options as documented: type, default, whether required, choices, sub-options."""
    return {
        name: {
            **{key: option[key] for key in ("type", "default", "required", "choices", "elements") if key in option},
            "options": documented(option.get("suboptions", {})),
        }
        for name, option in options.items()
    }


def declared(options: dict[str, Any]) -> dict[str, Any]:
    """Options as the module declares them."""
    return {
        name: {
            **{key: option[key] for key in ("type", "default", "required", "choices", "elements") if key in option},
            "options": declared(option.get("options", {})),
        }
        for name, option in options.items()
    }


def module(name: str) -> Any:
    """A module, or what has its documentation."""
    return importlib.import_module(f"ansible_collections.flaskops.hosting.plugins.modules.{name}")


def test_each_module_has_its_arguments_somewhere() -> None:
    assert sorted([*PARTS, *OF_THEIR_OWN, "check_apps"]) == MODULES
    assert module("host_part").PARTS == PARTS == yaml.safe_load(module("host_part").DOCUMENTATION)["options"]["module"]["choices"]


def test_ansible_packs_each_part() -> None:
    """It looks for import statements, wherever they are, and knows nothing of `import_module`."""
    statements = ast.walk(ast.parse((ROOT / "plugins/modules/host_part.py").read_text()))
    packed = {alias.name for one in statements if isinstance(one, ast.ImportFrom) for alias in one.names}
    assert {f"host_{name}" for name in PARTS} <= packed


@pytest.mark.parametrize("name", PARTS)
def test_arguments_of_a_part_are_documented_as_they_are(name: str) -> None:
    assert declared(module("host_part").part_of(name).ARGUMENTS) == documented(yaml.safe_load(module(name).DOCUMENTATION)["options"])


@pytest.mark.parametrize("name", OF_THEIR_OWN)
def test_arguments_are_documented_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Stop(Exception):
        """Raised instead of running the module."""

    def catch(**arguments: Any) -> None:
        seen.update(arguments["argument_spec"])
        raise Stop

    monkeypatch.setattr(module(name), "AnsibleModule", catch)
    with pytest.raises(Stop):
        module(name).main()
    assert declared(seen) == documented(yaml.safe_load(module(name).DOCUMENTATION)["options"])


def pages(kind: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """What ansible-doc shows of each, by its name; a warning about one, or a deprecation, is an error."""
    command = ["ansible-doc", "--json", "--type", kind, *[f"flaskops.hosting.{name}" for name in names]]
    shown = subprocess.run(command, cwd=ROOT, env={**os.environ, "ANSIBLE_DEPRECATION_WARNINGS": "1"}, capture_output=True, text=True, check=True)
    assert "flaskops" not in shown.stderr and "DEPRECATION" not in shown.stderr, shown.stderr
    return {name: json.loads(shown.stdout)[f"flaskops.hosting.{name}"] for name in names}


@pytest.mark.parametrize(("kind", "names"), [("module", MODULES), ("filter", FILTERS), ("lookup", LOOKUPS)])
def test_ansible_doc_shows_the_pages_of_plugins(kind: str, names: list[str]) -> None:
    for name, page in pages(kind, names).items():
        assert page["doc"]["short_description"] and page["examples"] and page["return"], name


def test_ansible_doc_shows_the_pages_of_roles() -> None:
    for name, page in pages("role", ROLES).items():
        main = page["entry_points"]["main"]
        assert main["short_description"] and main["description"] and main["options"] and main["examples"], name
