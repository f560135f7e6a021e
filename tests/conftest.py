"""What all tests share: in which order they start."""

from __future__ import annotations

from itertools import chain, zip_longest

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, or it would be waited for alone at the end; load, which mostly waits, runs beside what computes."""
    load = [item for item in items if item.path.parent.name == "load"]
    others = [item for item in items if item.path.parent.name != "load"]
    others.sort(key=lambda item: (item.get_closest_marker("molecule") is None, item.path.parent.name not in ("controllers", "aws")))
    items[:] = [item for item in chain.from_iterable(zip_longest(others, load)) if item]
