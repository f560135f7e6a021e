"""How often the controller goes to the host: a task costs about the same however little it does."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Target, app, missing

ADDRESS = "198.18.2.120"
SKIPPED = 3  # tasks, in a run that has nothing to do
PHASES = ["survey", "stage", "configure", "activate"]


@thorough
def test_a_release_takes_four_round_trips_with_deploy_two_and_a_run_without_one_two(target: Target, tmp_path: Path) -> None:
    """One for each phase that has to look at the host; none more for the app's own port, its workers and its jobs."""
    source = tmp_path / "probe"
    shutil.copytree(APPS / "probe", source)
    workers = {"loop": {"command": "sleep infinity", "settle": 0}}
    jobs = {"tidy": {"command": "true", "schedule": "yearly"}}
    apps = [app("shop", source, nginx_gunicorn_listen="127.0.0.1:8080", workers=workers, jobs=jobs)]
    target.converge(apps)
    second = target.converge(apps, "-vvv")
    assert (second.round_trips, second.recap["changed"]) == (2, 0), "survey, and stage, which finds nothing to do"
    assert second.recap["skipped"] <= SKIPPED, "each skipped task costs 26 ms of the controller's CPU"
    before = target.live("shop")
    with (source / "main.py").open("a") as code:
        code.write("# changed\n")
    play = target.converge(apps, "-vvv")
    assert play.round_trips == len(PHASES)
    assert target.live("shop") != before
    steps = ["laid down the code: ", "took the virtual environment ", "pre-flight, main:app answered /: ", "switched current: "]
    assert missing(play.output, steps) == [], "a verbose run shows what was done, and how long each step took"
    groups = yaml.safe_load(target.inventory.read_text())
    target.inventory.write_text(yaml.safe_dump({target.topology: groups[target.topology]}))  # deploy goes by the groups
    before = target.live("shop")
    with (source / "main.py").open("a") as code:
        code.write("# deployed\n")
    play = target.converge(apps, "-vvv", playbook="deploy", variables={"flask_app_name": "shop"})
    assert play.round_trips == 2, "survey, and a step that stages and activates"
    assert missing(play.output, steps) == []
    assert target.live("shop") != before
