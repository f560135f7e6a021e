# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The headers by which proxies say what a visitor has asked: whose of them reach an app."""

from __future__ import annotations

from itertools import product

# A front says what it has seen itself, or what a trusted proxy has, in these:
SET = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP"]
# and no app gets any of these, which frameworks, servers and recipes believe in the same way. `Proxy` would be CGI's HTTP_PROXY.
REMOVED = [
    "Proxy", "Forwarded", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Protocol", "X-Forwarded-Scheme", "X-Forwarded-Server",
    "X-Forwarded-Ssl", "X-Scheme", "X-Script-Name",
]  # fmt: skip
# WSGI makes one variable of a name with `-` and of one with `_`, and servers take these for variables of their own.
VARIABLES = ["Content-Length", "Content-Type", "Path-Info", "Script-Name", "Transfer-Encoding"]


def other_spellings() -> list[str]:
    """The names of all these with `_` in any place of a `-`, which nginx drops by itself."""
    return [spelling for name in [*SET, *REMOVED, *VARIABLES] for spelling in _spellings(name)[1:]]


def _spellings(name: str) -> list[str]:
    first, *words = name.split("-")
    return [first + "".join(map("".join, zip(signs, words, strict=True))) for signs in product("-_", repeat=len(words))]
