# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Host names as people write them, and as browsers send them."""

from __future__ import annotations

import re

LENGTH = 253  # of a whole name; each of its labels may have 63
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def ascii_name(name: str) -> str:
    """A host name, which may begin with ``*.``, in small letters and in punycode. Raises ``ValueError`` if it is none."""
    wildcard, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    found = rest.encode("idna").decode().lower()
    if len(found) > LENGTH or not all(map(LABEL.fullmatch, found.split("."))):
        raise ValueError(f"{name!r} is no host name")
    return wildcard + found


def is_host_name(name: str) -> bool:
    """Return whether browsers can ask for a name, or for the names that a wildcard stands for."""
    try:
        return bool(ascii_name(name))
    except ValueError:  # also if punycode cannot express it
        return False
