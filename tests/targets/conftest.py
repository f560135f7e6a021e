"""Fresh targets for the tests of this directory. A module names its address, so that no two modules meet on one."""

from __future__ import annotations

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import NewTarget, Target

# Test bodies that two modules share; their asserts explain themselves like those of a test module.
pytest.register_assert_rewrite("ansible_collections.flaskops.hosting.tests.targets.database_promises")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of one module in one worker: they share a target."""
    item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest, new_target: NewTarget) -> Target:
    """The module's own target, at its ADDRESS."""
    return new_target(request.module.ADDRESS, getattr(request.module, "VARIANT", "ubuntu-like-ready"))
