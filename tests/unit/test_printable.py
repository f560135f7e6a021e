"""What hosts say never controls a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils.printable import printable

ACTIONS = sorted((Path(__file__).resolve().parents[2] / "plugins/action").glob("[a-z]*.py"))


def test_control_characters_are_written_out_wherever_they_are() -> None:
    found = printable({"msg": "a\x1b]0;owned\x07\r\n\tペン", "lines": ["\x9b2J", 7, None], "changed": False})
    assert found == {"msg": "a\\x1b]0;owned\\x07\\x0d\n\tペン", "lines": ["\\x9b2J", 7, None], "changed": False}


@pytest.mark.parametrize("action", ACTIONS, ids=lambda path: path.stem)
def test_every_action_shows_what_its_module_says_in_that_form(action: Path) -> None:
    calls = re.findall(r"(printable\()?self\._execute_module\(", action.read_text(encoding="utf-8"))
    assert calls and all(calls), f"{action.name} returns what a host said as it is"
