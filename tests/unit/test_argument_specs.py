"""What a role documents is what it does by default."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROLES = sorted(Path(__file__).resolve().parents[2].glob("roles/*"))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_argument_specs_say_the_same(role: Path) -> None:
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    options = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in options.items() if "default" in option} == defaults


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_start_with_the_roles_name_and_are_described(role: Path) -> None:
    options = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    for name, option in options.items():
        assert name.startswith(f"{role.name}_")
        assert option["description"] and option["type"]
