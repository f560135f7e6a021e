"""What was noted of releases, for tests."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.activation import MANAGERS
from ansible_collections.flaskops.hosting.plugins.module_utils.instance import Instance
from ansible_collections.flaskops.hosting.plugins.module_utils.record import InstanceFacts, ReleaseFacts
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Tree


def noted(manager: str = "systemd", socket: str = "run/app.sock", protocol: str = "http", log: str = "", **facts: Any) -> ReleaseFacts:
    """The facts of a release with one process."""
    file = "supervisor.conf" if manager == "supervisord" else "app.service"
    return ReleaseFacts(instances=[InstanceFacts("web", manager, file, socket, protocol, log)], **facts)


def instance(tree: Tree, release: str, manager: str = "systemd", **facts: str) -> Instance:
    """The process of a release, as its manager runs it."""
    made: Instance = MANAGERS[manager](tree.release(release), noted(manager, **facts).web)
    return made
