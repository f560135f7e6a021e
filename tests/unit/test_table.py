"""Columns that are aligned, to be read on a terminal."""

from __future__ import annotations

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils.table import short, table


def test_columns_are_aligned() -> None:
    assert table([["host", "app", "by"], ["web1", "blueoctopus", "x"], ["ペン", "e\u0301", ""], ["web2", "cannot be reached"]]) == [
        "host  app          by",
        "web1  blueoctopus  x",
        "ペン  e\u0301            -",
        "web2  cannot be reached",
    ]
    assert table([]) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [("200 OK", "200 OK"), ("two\n lines", "two lines"), ("x" * 40, "x" * 40), ("x" * 41, "x" * 39 + "…"), ("ペ" * 30, "ペ" * 19 + "…")],
)
def test_a_long_text_is_cut(text: str, shown: str) -> None:
    assert short(text) == shown
