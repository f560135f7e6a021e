# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hosts and sources say, in a form that a terminal only shows."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.command import CONTROLS, without_controls
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import hide_credentials

# The same in a module's answer: as JSON writes them, behind an even number of backslashes.
IN_JSON = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u00(0[0-8b-f]|1[0-9a-f]|7f|[89][0-9a-f])|([bfr]))", re.IGNORECASE)
IN_LINES = re.compile(rf"(?!\r\n|\r\Z){CONTROLS.pattern}")  # a line may end as a terminal of the host ends it
SHORT = {"b": "08", "f": "0c", "r": "0d"}


def printable_output(text: str) -> str:
    """Return what a host has sent, JSON with or without other lines, with the control characters in it as ``printable`` writes them."""
    written = IN_JSON.sub(lambda found: f"{found[1]}\\\\x{(found[2] or SHORT[found[3].lower()]).lower()}", text)
    return IN_LINES.sub(lambda found: f"\\\\x{ord(found[0]) & 0xFF:02x}", written)


def printable(value: Any) -> Any:
    r"""Return a value, such as a module's result, with each control character in its strings written as ``\x1b``, and no credentials in URLs.

    What ansible-core 2.19 and later show of a failure is in objects of theirs.
    """
    if isinstance(value, str):
        shown = hide_credentials(without_controls(value))
        return value if shown == value else shown  # as it is, because it may be marked as no template
    if isinstance(value, dict):
        return {printable(name): printable(one) for name, one in value.items()}
    if isinstance(value, list):
        return [printable(one) for one in value]
    if isinstance(value, tuple):
        return tuple(printable(one) for one in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{field.name: printable(getattr(value, field.name)) for field in dataclasses.fields(value)})
    return value
