# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Workers that were asked to end for a release that never came, because whoever ran the switch is gone: systemd starts them again."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_worker import WorkerInstance, tell_to_end
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Tree

RETURN_AFTER = 900  # seconds
TRANSIENT = Path("/run/systemd/transient")  # the units that systemd-run makes


def tell_to_end_for_now(tree: Tree, workers: list[WorkerInstance]) -> None:
    """Tell workers to end, and have systemd start them again if ``stay_ended`` is not called in time. Only those of the live release do start."""
    unit = _unit(tree)
    stay_ended(tree)
    command = ["systemctl", "start", "--no-block", *(one.name for one in workers)]
    run("systemd-run", "--quiet", "--collect", f"--unit={unit}", f"--on-active={RETURN_AFTER}", "--timer-property=AccuracySec=1s", "--", *command)
    tell_to_end(workers)


def stay_ended(tree: Tree) -> None:
    """The switch has come to its end, so nothing is to be started any more."""
    timer = f"{_unit(tree)}.timer"
    if (TRANSIENT / timer).exists():
        run("systemctl", "stop", "--quiet", timer)


def _unit(tree: Tree) -> str:
    return f"flaskops-{tree.app}-workers"
