"""An app's workers and jobs: their variables, on which host they run, and their units."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils import plan, processes
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App
from ansible_collections.flaskops.hosting.plugins.plugin_utils.conflicts import conflicts
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TOPOLOGIES
from ansible_collections.flaskops.hosting.tests.unit.hosts import a_host, app_of, settings_of

RQ = {"command": "rq worker"}
CLEANUP = {"command": "flask cleanup", "schedule": "daily"}


def texts(app: App) -> dict[str, str]:
    """The units of an app's processes by their files."""
    return {text.dest: text.content for text in processes.units(app)}


def test_defaults_complete_a_worker_and_a_job() -> None:
    found = settings_of("nginx_gunicorn", flask_app_workers={"rq": {**RQ, "count": "2"}}, flask_app_jobs={"cleanup": CLEANUP})
    assert found.problems == []
    assert found.values["flask_app_workers"]["rq"] == {
        "command": "rq worker", "count": 2, "stop_timeout": 60, "settle": 5, "check": "", "memory_max": 0, "hosts": "all",
    }  # fmt: skip
    job = found.values["flask_app_jobs"]["cleanup"]
    assert (job["timeout"], job["persistent"], job["hosts"]) == (3600, True, "first")


@pytest.mark.parametrize(
    ("variable", "given", "words"),
    [
        ("flask_app_workers", {"Rq": RQ}, "got the name 'Rq', needs 1 to 32 of a-z, 0-9 and -"),
        ("flask_app_workers", {"r.q": RQ}, "got the name 'r.q', needs"),
        ("flask_app_workers", {1: RQ}, "got the name 1, needs"),
        ("flask_app_workers", {"web": RQ}, "got the name 'web', which is that of the app's web server"),
        ("flask_app_workers", {"rq": "rq worker"}, "rq is 'rq worker', needs a dictionary"),
        ("flask_app_workers", {"rq": {}}, "rq has no command. For example:"),
        ("flask_app_workers", {"rq": {"command": "  "}}, "command of rq is '  ', needs a program"),
        ("flask_app_workers", {"rq": {"command": "rq 'worker"}}, "needs a program and its arguments, with every quote closed"),
        ("flask_app_workers", {"rq": {**RQ, "counts": 2}}, "rq has 'counts', which is none of command, count,"),
        ("flask_app_workers", {"rq": {**RQ, "count": 0}}, "count of rq is 0, needs a whole number of at least 1"),
        ("flask_app_workers", {"rq": {**RQ, "count": "two"}}, "count of rq is 'two', needs a whole number of at least 1"),
        ("flask_app_workers", {"rq": {**RQ, "stop_timeout": 0}}, "stop_timeout of rq is 0, needs"),
        ("flask_app_workers", {"rq": {**RQ, "memory_max": 3}}, "memory_max of rq is 3, needs a whole number of MiB"),
        ("flask_app_workers", {"rq": {**RQ, "hosts": "web1"}}, "hosts of rq is 'web1', needs all or first"),
        ("flask_app_jobs", {"cleanup": {"command": "flask cleanup"}}, "cleanup has no schedule"),
        ("flask_app_jobs", {"cleanup": {**CLEANUP, "schedule": ""}}, "schedule of cleanup is '', needs times"),
        ("flask_app_jobs", {"cleanup": {**CLEANUP, "persistent": "perhaps"}}, "persistent of cleanup is 'perhaps', needs true or false"),
        ("flask_app_jobs", {"cleanup": {**CLEANUP, "count": 2}}, "cleanup has 'count', which is none of command, schedule,"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_rejected_by_its_name(variable: str, given: Any, words: str) -> None:
    problems = settings_of("nginx_gunicorn", **{variable: given}).problems
    assert len(problems) == 1, problems
    assert problems[0].startswith(f"{variable}: ") and words in problems[0]


def test_a_job_has_no_name_of_a_worker() -> None:
    found = settings_of("nginx_gunicorn", flask_app_workers={"rq": RQ}, flask_app_jobs={"rq": CLEANUP})
    assert found.problems == ["flask_app_jobs: got the name 'rq', which is that of a worker; give it another one"]


def test_the_host_judges_a_schedule() -> None:
    app = app_of("nginx_gunicorn", jobs={"cleanup": {**CLEANUP, "schedule": "0 3 * * *"}})
    found = list(conflicts(app, a_host(calendars={"0 3 * * *": "systemd does not understand it"})))
    assert len(found) == 1 and found[0].startswith("flask_app_jobs: schedule of cleanup is '0 3 * * *': systemd does not understand it.")
    assert list(conflicts(app, a_host())) == []


@pytest.mark.parametrize(("first", "workers", "jobs"), [(True, ["all", "first"], ["all", "first"]), (False, ["all"], ["all"])])
def test_the_first_host_runs_what_one_host_is_to_run(first: bool, workers: list[str], jobs: list[str]) -> None:
    app = app_of(
        "nginx_gunicorn",
        workers={name: {**RQ, "hosts": name} for name in ("all", "first")},
        jobs={f"job-{name}": {**CLEANUP, "hosts": name} for name in ("all", "first")},
    )
    found = processes.on_this_host(app, lambda: first)
    assert (list(found.workers), list(found.jobs)) == (workers, [f"job-{name}" for name in jobs])


def test_nobody_looks_for_the_first_host_if_all_run_everything() -> None:
    app = app_of("nginx_gunicorn", workers={"rq": RQ})
    assert processes.on_this_host(app, lambda: pytest.fail("not needed")).workers == app.workers


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_workers_run_under_systemd_in_each_topology(topology: str) -> None:
    found = plan.plan_present(app_of(topology, workers={"rq": {**RQ, "count": 2}}, jobs={"cleanup": CLEANUP}), a_host(), "192.0.2.1", "ubuntu")
    names = [(one["name"], one["manager"]) for one in found["release"]["instances"][1:]]
    expected = ["rq-1"] if topology == "dev_server" else ["rq-1", "rq-2"]
    assert names == [(name, "worker") for name in expected]
    assert found["release"]["jobs"] == ["cleanup"]
    files = {one["dest"] for one in found["release"]["settings"]}
    assert {"worker-rq.service", "job-cleanup.service", "job-cleanup.timer"} <= files


def test_one_process_of_a_worker_checks_for_all() -> None:
    found = processes.instances(app_of("nginx_gunicorn", workers={"rq": {**RQ, "count": 2, "check": "rq info", "settle": 9}}))
    assert [(one["check"], one["settle"]) for one in found] == [("rq info", 9), ("", 9)]


def test_a_worker_has_the_apps_memory_unless_it_has_its_own() -> None:
    found = texts(app_of("nginx_gunicorn", memory_max=64, workers={"rq": RQ, "big": {**RQ, "memory_max": 128}}))
    assert "MemoryMax=64M\nLimitDATA=64M\n" in found["worker-rq.service"]
    assert "MemoryMax=128M\nLimitDATA=128M\n" in found["worker-big.service"]


def test_each_word_of_a_command_is_quoted_for_systemd() -> None:
    """What systemd makes of it, a test on a host tells."""
    line = processes.exec_words(["celery", "-n", "w@%h", "$HOME", "it's", 'a "b"', "\\n", ""])
    assert line == """celery -n "w@%%h" "$$HOME" "it's" "a \\"b\\"" "\\\\n" \"\""""


def test_a_timer_runs_at_the_jobs_times() -> None:
    found = texts(app_of("nginx_gunicorn", jobs={"cleanup": {**CLEANUP, "delay": 60, "persistent": False}}))["job-cleanup.timer"]
    for line in ("OnCalendar=daily", "RandomizedDelaySec=60", "Persistent=false"):
        assert f"{line}\n" in found
