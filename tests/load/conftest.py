"""One target for each topology under load."""

from __future__ import annotations

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Each topology has a target of its own, so two can run at the same time."""
    item.add_marker(pytest.mark.xdist_group(f"load-{item.callspec.params['topology'].name}"))  # type: ignore[attr-defined]
