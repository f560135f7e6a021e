"""Controllers with the oldest and the newest ansible-core, the collection's tarball, and fresh targets."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.tests.controllers.controller import Controller
from ansible_collections.flaskops.hosting.tests.controllers.examples import DOCUMENTED, at_the_documents_address
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Target

Start = Callable[..., Target]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of one controller in one worker, and those of documents too: there is one host at the address that they show."""
    kind = item.callspec.params.get("kind") if hasattr(item, "callspec") else None
    item.add_marker(pytest.mark.xdist_group(f"installed-{kind}" if kind else "documents"))


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make build` makes."""
    out = tmp_path_factory.mktemp("tarball")
    command = [ROOT / ".venv/bin/ansible-galaxy", "collection", "build", "--output-path", out, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def start(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts containers by address and variant, and removes them after the module's last test."""
    started: list[Target] = []

    def up(address: str, variant: str = "ubuntu-like") -> Target:
        name = f"{request.path.stem}-{address.rpartition('.')[2]}".replace("_", "-")
        target = Target(name, address, variant, tmp_path_factory.mktemp(name))
        started.append(target)
        target.up()
        return target

    yield up
    for target in started:
        target.down()


@pytest.fixture(scope="module")
def controller(start: Start, request: pytest.FixtureRequest) -> Controller:
    """The module's own controller, at its CONTROLLER address."""
    return Controller(start(request.module.CONTROLLER, "controller-newest"))


@pytest.fixture(scope="module")
def host(start: Start, controller: Controller, request: pytest.FixtureRequest) -> Iterator[Target]:
    """A fresh host at the address that documents show, which the controller's user can log in to; its own is the module's HOST."""
    target = start(request.module.HOST, "debian13")
    with at_the_documents_address(target, controller.target):
        controller.prepare(f"ubuntu@{DOCUMENTED}")
        yield target
