# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reload: for releases that share one TCP port, which only one of them can hold.

The port is closed between the two, so a request that comes in this moment is refused.
"""

from __future__ import annotations

from typing import Any


def switch(steps: Any) -> None:
    """Stop the old instance, flip ``current``, start the new one. Raises ``ReleaseError``."""
    steps.stop_old()
    steps.flip()
    steps.start_new()
    steps.verify()
