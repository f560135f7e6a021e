"""How often the controller goes to the host: a task costs about the same however little it does."""

from __future__ import annotations

import shutil
from pathlib import Path

from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Play, Target, app

ADDRESS = "198.18.2.120"
PHASES = ["survey", "stage", "nginx", "activate"]


def round_trips(play: Play) -> int:
    """The commands that were sent over SSH."""
    return play.output.count("SSH: EXEC")


def test_second_run_and_code_only_release_take_four_round_trips(target: Target, tmp_path: Path) -> None:
    """One for each phase that has to look at the host."""
    source = tmp_path / "probe"
    shutil.copytree(APPS / "probe", source)
    target.converge([app("shop", source)])
    assert round_trips(target.converge([app("shop", source)], "-vvv")) == len(PHASES)
    before = target.live("shop")
    with (source / "main.py").open("a") as code:
        code.write("# changed\n")
    assert round_trips(target.converge([app("shop", source)], "-vvv")) == len(PHASES)
    assert target.live("shop") != before
