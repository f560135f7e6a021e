# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In place: for processes that the web server itself replaces when they end, with what ``current`` names then."""

from __future__ import annotations

from typing import Any


def switch(steps: Any) -> None:
    """Flip ``current`` when its workers run, have the processes replaced. Raises ``ReleaseError``."""
    steps.prove()
    steps.change_workers()
    steps.flip()
    steps.start_new()
    steps.verify()
    steps.change_jobs()
