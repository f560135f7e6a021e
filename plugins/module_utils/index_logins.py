# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Logins in the URLs of requirements, handed to a build in a file of its own: git gets its URL as an argument, which all accounts see."""

from __future__ import annotations

import re
from urllib.parse import unquote

LOGIN = re.compile(r"(?<=://)([^/\s]+)@([^/\s:]+)")
PLAIN = re.compile(r"[\w.~!$%&*+,;=@-]+")  # what every Python reads in a .netrc without quotes


def without_logins(texts: dict[str, str]) -> dict[str, str]:
    """Files, by their names, without the logins in their URLs, which are in a ``.netrc`` beside them.

    A login that a ``.netrc`` cannot hold stays where it is.
    """
    logins: dict[str, str] = {}

    def take(found: re.Match[str]) -> str:
        name, _colon, password = (unquote(part) for part in found[1].partition(":"))
        line = f"machine {found[2]} login {name} password {password}\n"
        fits = PLAIN.fullmatch(name) and PLAIN.fullmatch(password)
        return found[2] if fits and logins.setdefault(found[2], line) == line else found[0]

    cleared = {name: LOGIN.sub(take, text) for name, text in texts.items()}
    return {**cleared, **({".netrc": "".join(logins.values())} if logins else {})}
