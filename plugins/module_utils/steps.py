# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run has done, shown with -v."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Steps:
    """The steps that were taken, each with its length in seconds."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    @contextlib.contextmanager
    def take(self, what: str) -> Iterator[None]:
        """Note a step once it has ended well."""
        began = time.monotonic()
        yield
        self.taken.append(f"{what}: {time.monotonic() - began:.1f} s")
