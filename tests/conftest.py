"""What all tests share: in which order they start, and fresh targets."""

from __future__ import annotations

from itertools import chain, zip_longest

import pytest

from ansible_collections.flaskops.hosting.tests.suite import ALL_OF_IT
from ansible_collections.flaskops.hosting.tests.targets.harness import TOPOLOGIES, NewTarget, Target


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest tests start first, so that no long test is left at the end; load, which mostly waits, runs beside what computes."""
    left_out = [] if ALL_OF_IT else [item for item in items if item.get_closest_marker("thorough")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
    load = [item for item in items if item.path.parent.name == "load"]
    others = [item for item in items if item.path.parent.name != "load"]
    others.sort(key=_place)
    items[:] = [item for item in chain.from_iterable(zip_longest(others, load)) if item]


def _place(item: pytest.Item) -> int:
    """The place of a test: the lower, the earlier it starts."""
    if item.get_closest_marker("molecule"):
        return 0
    return 1 if item.path.stem == "test_sanity" or item.path.parent.name in ("controllers", "aws") else 2


@pytest.fixture(scope="module")
def new_target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewTarget:
    """Starts targets, and removes them after the module's last test."""

    def start(address: str, variant: str = "ubuntu-like-ready") -> Target:
        name = f"{request.path.stem}-{address.rpartition('.')[2]}".replace("_", "-")
        topology = getattr(request.module, "TOPOLOGY", TOPOLOGIES[0])
        target = Target(name, address, variant, tmp_path_factory.mktemp(name), topology)
        request.addfinalizer(target.down)
        target.up()
        return target

    return start
