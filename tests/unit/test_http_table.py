"""docs/http.yml is whole, and docs/http.md shows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TOPOLOGIES

ROOT = Path(__file__).resolve().parents[2]
TABLE: dict[str, Any] = yaml.safe_load((ROOT / "docs/http.yml").read_text(encoding="utf-8"))
ROWS = [row for section in TABLE["sections"] for row in section["rows"]]
PROMISE = {"status", "app", "answer", "text", "pieces", "then"}


def test_the_page_is_what_the_table_is(tmp_path: Path) -> None:
    page = tmp_path / "http.md"
    subprocess.run([sys.executable, ROOT / "dev/docs.d/http_page.py", page], check=True)
    assert (ROOT / "docs/http.md").read_text(encoding="utf-8") == page.read_text(encoding="utf-8"), "run: make docs"


def test_no_row_has_an_unknown_key() -> None:
    for row in ROWS:
        assert {"send", "status"} <= set(row) <= {"what", "send", "over", "while", "headers", "body", "differs"} | PROMISE, row


def test_each_difference_has_a_reason_and_a_topology_that_visitors_reach() -> None:
    fronted = {name for name, topology in TOPOLOGIES.items() if topology.front}
    differences = [other for row in ROWS for other in row.get("differs", [])]
    for other in differences:
        assert {"in", "status", "why"} <= set(other) <= {"in", "by", "why"} | PROMISE, other
        assert {name.removesuffix(" (HTTP)") for name in other["in"]} <= fronted, other
    assert {other["why"] for other in differences} == set(TABLE["reasons"])
