# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show that a long task is alive: Ansible itself says nothing between a task's begin and its end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Callable

INTERVAL = 10  # seconds; a release of an app whose virtual environment is there takes fewer


@contextlib.contextmanager
def sign_of_life(tell: Callable[[str], None], what: str) -> Iterator[None]:
    """Call ``tell`` every 10 seconds with what is under way, and for how long already."""
    over, began = threading.Event(), time.monotonic()

    def keep_telling() -> None:
        while not over.wait(INTERVAL):
            tell(f"{what}, {time.monotonic() - began:.0f} s so far")

    teller = threading.Thread(target=keep_telling, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
