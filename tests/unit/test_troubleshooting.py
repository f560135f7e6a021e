"""Plays print the messages that docs/troubleshooting.md shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What Ansible itself says before it is in is compared with its output, by tests/targets/test_login.py.
PAGE = re.sub(
    r"^## The host does not let Ansible in\n.*?(?=^## )", "", (ROOT / "docs/troubleshooting.md").read_text(), flags=re.MULTILINE | re.DOTALL
)
# Messages of nginx, Python and the database themselves.
OTHERS = ("nginx:", "OSError:", "PermissionError:", "[Errno", "Access denied")
MESSAGES = [line for line in re.findall(r"^> (.*?)(?:<br>)?$", PAGE, re.MULTILINE) if not line.startswith(OTHERS)]
SOURCES = [path.read_text() for pattern in ("plugins/**/*.py", "roles/*/tasks/*.yml") for path in ROOT.glob(pattern)]
# A text that is split over several lines is joined, and each value that is filled in becomes a dot-dot-dot.
PRINTED = re.sub(r"\{+[^{}]*\}+", "…", re.sub(r"\"\s+f?\"", "", re.sub(r"\s+", " ", " ".join(SOURCES))))


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_printed(message: str) -> None:
    words = message.split()
    assert any(" ".join(words[start : start + 3]) in PRINTED for start in range(len(words) - 2))
