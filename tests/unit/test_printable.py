"""What hosts say never controls a terminal."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils.printable import printable, printable_output

ACTIONS = sorted((Path(__file__).resolve().parents[2] / "plugins/action").glob("[a-z]*.py"))


def test_control_characters_are_written_out_wherever_they_are() -> None:
    found = printable({"msg": "a\x1b]0;owned\x07\r\n\tペン", "lines": ["\x9b2J", 7, None], "changed": False, "\x1b": {}})
    assert found == {"\\x1b": {}, "msg": "a\\x1b]0;owned\\x07\\x0d\n\tペン", "lines": ["\\x9b2J", 7, None], "changed": False}


def test_bytes_that_are_no_text_are_written_out() -> None:
    """As Python has them in names of files; a terminal cannot be sent them."""
    assert printable("caf\udce9 \udcff") == "caf\\xe9 \\xff" == printable_output("caf\udce9 \udcff").replace("\\\\", "\\")


def test_control_characters_are_written_out_before_an_answer_is_read() -> None:
    """Warnings leave an answer before an action has it."""
    said = {"warnings": ["a\x1b]0;\x07\b\f\r\n\t\x9b ペン \\u001b \\\\", "\\"], "\x7f": "C:\\r\\b"}
    for answer in (json.dumps(said), json.dumps(said, ensure_ascii=False)):
        assert json.loads(printable_output(answer)) == {
            "warnings": ["a\\x1b]0;\\x07\\x08\\x0c\\x0d\n\t\\x9b ペン \\u001b \\\\", "\\"], "\\x7f": "C:\\r\\b"
        }  # fmt: skip
    assert printable_output('\r\n{"changed": true}\r\n') == '\r\n{"changed": true}\r\n'
    assert "\x1b" not in printable_output("a banner \x1b[2J\n{}")


@dataclasses.dataclass(frozen=True)
class Summary:
    """What ansible-core keeps of a failure, in its form."""

    msg: str
    events: tuple[Summary, ...] = ()


def test_nor_do_the_objects_that_ansible_makes_of_a_failure() -> None:
    assert printable({"exception": Summary("\x1b", (Summary("a\x07"),))}) == {"exception": Summary("\\x1b", (Summary("a\\x07"),))}


@pytest.mark.parametrize("action", ACTIONS, ids=lambda path: path.stem)
def test_every_action_shows_what_its_module_says_in_that_form(action: Path) -> None:
    calls = re.findall(r"(printable\()?self\._execute_module\(", action.read_text(encoding="utf-8"))
    assert all(calls), f"{action.name} returns what a host said as it is"
    assert re.search(r"class ActionModule\((Host|App)Action\):", action.read_text(encoding="utf-8"))
