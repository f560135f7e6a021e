# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rows of text as lines with aligned columns, as a terminal shows them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

LONGEST = 40  # columns of a terminal


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row. An empty cell becomes a dash; the last cell of a shorter row may be as long as it likes."""
    filled = [[cell or "-" for cell in row] for row in rows]
    columns = max(map(len, filled), default=0)
    aligned = [row if len(row) == columns else row[:-1] for row in filled]
    widths = [max(_width(row[column]) for row in aligned if column < len(row)) for column in range(columns)]
    return ["  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths)).rstrip() for row in filled]


def short(text: str) -> str:
    """A text that an app, a host or a source has chosen, on one line and not longer than ``LONGEST``."""
    line = " ".join(text.split())
    if _width(line) <= LONGEST:
        return line
    while _width(line) >= LONGEST:
        line = line[: min(LONGEST, len(line)) - 1]
    return f"{line}…"


def _width(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide character, none for one that is drawn over another."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text if unicodedata.category(one) not in ("Mn", "Me", "Cf"))
