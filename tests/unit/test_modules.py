"""A module's documentation and its arguments say the same, and ansible-doc can show it."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in ROOT.glob("plugins/modules/*.py"))


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


@pytest.mark.parametrize("name", MODULES)
def test_arguments_are_documented_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"ansible_collections.flaskops.hosting.plugins.modules.{name}")
    seen: dict[str, Any] = {}

    class Stop(Exception):
        """Raised instead of running the module."""

    def catch(**arguments: Any) -> None:
        seen.update(arguments["argument_spec"])
        raise Stop

    monkeypatch.setattr(module, "AnsibleModule", catch)
    with pytest.raises(Stop):
        module.main()
    assert declared(seen) == documented(yaml.safe_load(module.DOCUMENTATION)["options"])


@pytest.mark.parametrize("name", MODULES)
def test_ansible_doc_shows_the_page(name: str) -> None:
    command = ["ansible-doc", "--json", f"flaskops.hosting.{name}"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    page = json.loads(shown.stdout)[f"flaskops.hosting.{name}"]
    assert page["doc"]["short_description"] and page["examples"] and page["return"]
