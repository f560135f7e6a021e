# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A process that a release runs, whatever manages it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ansible_collections.flaskops.hosting.plugins.module_utils.record import InstanceFacts
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, Tree


class Instance(Protocol):
    """What activation needs of each process of a release."""

    @property
    def release(self) -> Release:
        """The release that it runs."""

    @property
    def facts(self) -> InstanceFacts:
        """What was noted of it when the release was staged."""

    @property
    def name(self) -> str:
        """What people call it."""

    @classmethod
    def active(cls, instances: Iterable[Instance]) -> list[Instance]:
        """Those of the instances that run, or would after a boot."""

    @staticmethod
    def forget(tree: Tree) -> None:
        """Clean up after an app that has none of them any more."""

    def start(self) -> None:
        """Start it, now and after each boot. Raises ``ReleaseError`` if it does not start."""

    def is_up(self) -> bool:
        """Return whether it runs, and would after a boot."""

    def state(self) -> str:
        """What its manager says of it, in systemd's words, such as ``active``."""

    def stop(self) -> None:
        """Stop it for good, once it has completed its requests."""

    def restart(self) -> None:
        """Replace the processes that serve, without losing a request if the server can do that. Raises ``ReleaseError``."""

    def log(self, lines: int = 80, times: bool = False) -> str:
        """The last ``lines`` that it wrote, with their ``times`` if its manager notes them."""

    @property
    def follow(self) -> str:
        """The command that shows what it writes from now on, as root's shell takes it."""
