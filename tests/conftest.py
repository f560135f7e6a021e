"""What all tests share: in which order they start."""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Scenarios first, then load, as they take longest: with two workers, one of them at the very end would be waited for alone."""
    items.sort(key=lambda item: (item.get_closest_marker("molecule") is None, item.path.parent.name != "load"))
