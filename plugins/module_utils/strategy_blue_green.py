# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Blue/green: the new release runs beside the old one before it gets traffic. Needs a unix socket per release."""

from __future__ import annotations

from typing import Any


def switch(steps: Any) -> None:
    """Start the new instance, flip ``current`` when it is healthy and its workers run, stop the old one. Raises ``ReleaseError``."""
    steps.start_new()
    steps.change_workers()
    steps.flip()
    steps.verify()
    steps.change_jobs()
    steps.stop_old()
