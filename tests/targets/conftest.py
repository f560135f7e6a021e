"""Fresh targets for the tests of this directory. A module names its address, so that no two modules meet on one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import TOPOLOGIES, Target

# Test bodies that two modules share; their asserts explain themselves like those of a test module.
pytest.register_assert_rewrite("ansible_collections.flaskops.hosting.tests.targets.database_promises")
NewTarget = Callable[..., Target]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of one module in one worker: they share a target."""
    item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="module")
def new_target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewTarget:
    """Starts targets, and removes them after the module's last test."""

    def start(address: str, variant: str = "ubuntu-like") -> Target:
        name = f"{request.path.stem}-{address.rpartition('.')[2]}".replace("_", "-")
        topology = getattr(request.module, "TOPOLOGY", TOPOLOGIES[0])
        target = Target(name, address, variant, tmp_path_factory.mktemp(name), topology)
        request.addfinalizer(target.down)
        target.up()
        return target

    return start


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest, new_target: NewTarget) -> Target:
    """The module's own target, at its ADDRESS."""
    return new_target(request.module.ADDRESS, getattr(request.module, "VARIANT", "ubuntu-like"))
