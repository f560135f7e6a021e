# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables that an app has in its environment about its release, whatever runs it."""

from __future__ import annotations

PREFIX = "FLASKOPS_"  # of these variables; no other variable of an app begins with it
# the phases: an app's scheduler, say, must start in one of them only
WEB, WORKER, JOB, BUILD, PREFLIGHT, COMMAND = "web", "worker", "job", "build", "preflight", "command"


def release_variables(app: str, release: str, path: str, phase: str) -> dict[str, str]:
    """The variables. ``path`` is the release's own: one through ``current`` would be another release's during a switch."""
    return {f"{PREFIX}APP": app, f"{PREFIX}RELEASE": release, f"{PREFIX}RELEASE_PATH": path, f"{PREFIX}PHASE": phase}
