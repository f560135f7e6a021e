"""Controllers with the oldest and the newest ansible-core, the collection's tarball, and fresh targets."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.tests.controllers.controller import Controller
from ansible_collections.flaskops.hosting.tests.controllers.examples import DOCUMENTED, at_the_documents_address
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, NewTarget, Target


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of one controller in one worker, and those of documents too, because only one host can have the documents' address."""
    kind = item.callspec.params.get("kind") if hasattr(item, "callspec") else None
    item.add_marker(pytest.mark.xdist_group(f"installed-{kind}" if kind else "documents"))


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tarball that `make build` makes."""
    out = tmp_path_factory.mktemp("tarball")
    command: list[str | Path] = [ROOT / ".venv/bin/ansible-galaxy", "collection", "build", "--output-path", out, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def controller(new_target: NewTarget, request: pytest.FixtureRequest) -> Controller:
    """The module's own controller, at its CONTROLLER address."""
    return Controller(new_target(request.module.CONTROLLER, "controller-newest"))


@pytest.fixture(scope="module")
def host(new_target: NewTarget, controller: Controller, request: pytest.FixtureRequest) -> Iterator[Target]:
    """A host at the documents' address, to which the controller's user can log in; its own address is the module's HOST.

    It is a fresh one, unless the module has another VARIANT.
    """
    target = new_target(request.module.HOST, getattr(request.module, "VARIANT", "debian13"))
    with at_the_documents_address(target, controller.target):
        controller.prepare(f"ubuntu@{DOCUMENTED}")
        yield target
