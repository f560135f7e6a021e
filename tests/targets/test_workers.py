"""What an app runs beside its web server, on a host: workers and jobs, through releases, failures, boots and its removal."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import each
from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, ROOT, Target, app, eventually, missing, write_source

ADDRESS = "198.18.2.185"
BUSY = (APPS / "busy/main.py").read_text()
SHARED = "/srv/busy/shared/shared"
WORKER: dict[str, Any] = {"command": "python main.py work", "count": 2, "settle": 1, "stop_timeout": 300}
JOB: dict[str, Any] = {"command": "python main.py job", "schedule": "*:*:0/2", "timeout": 300}
JOBS = {
    "tidy": JOB,
    "missed": {"command": "python main.py words missed", "schedule": "yearly"},
    "skipped": {"command": "python main.py words skipped", "schedule": "yearly", "persistent": False},
}


def busy(source: Path, **settings: Any) -> list[dict[str, Any]]:
    """The app with its workers and its jobs. One release is kept, so an older one stays only as long as something needs it."""
    given = {"workers": {"loop": WORKER}, "jobs": JOBS, "shared": ["shared"], "keep_releases": 1, **settings}
    return [app("busy", source, **given)]


def release(source: Path, version: str) -> Path:
    """Make the source that of another version."""
    return write_source(source, {"main.py": BUSY.replace('"one"', f'"{version}"')})


def units(host: Target, pattern: str = "busy.loop*") -> list[str]:
    """The units of the app's processes that run or are to run, each with its state."""
    listed = host.run(f"systemctl list-units --all --plain --no-legend '{pattern}' | awk '$3 != \"inactive\" {{print $1, $3}}'")
    return listed.splitlines()


def workers_of(host: Target, release: str = "") -> list[str]:
    """The units of a release's workers with their states, if they run; without a release, of the live one."""
    return [f"busy.loop-{number}@{release or host.live('busy')}.service active" for number in (1, 2)]


def run_as_their_app_does(host: Target, name: str, workers: list[str], jobs: list[str], given: dict[str, dict[str, str]]) -> None:
    """Insist that these units of an app have its account and its sandbox, and the environment and the secrets that it was given."""
    for unit in (*workers, *jobs):
        assert host.exposure(unit) <= 1.5
    shown = {host.run(f"systemctl show --property=User,EnvironmentFiles {unit}") for unit in (*workers, *jobs)}
    assert len(shown) == 1 and f"User={name}" in shown.pop().splitlines()
    variables = {f"{key}={value}" for one in given.values() for key, value in one.items()}
    for unit in workers:
        main = host.run(f"systemctl show --property=MainPID --value {unit}")
        assert variables <= set(host.run(f"cat /proc/{main}/environ").split("\0"))


def notes(host: Target) -> list[str]:
    """What the workers and jobs have noted since the last call."""
    return host.run(f"cat {SHARED}/notes; : >{SHARED}/notes").splitlines()


def until(host: Target, condition: str, seconds: float = 20) -> bool:
    """Return whether a shell's condition becomes true on the host in this time. It is asked there, which costs little."""
    return host.succeeds(f"timeout {seconds} sh -c {shlex.quote(f'until {condition}; do sleep 0.1; done')}")


def noted(words: str) -> str:
    """The condition that a worker or a job has noted something."""
    return f"grep -qx '{words}' {SHARED}/notes"


def send(host: Target, name: str, held: bool = False) -> None:
    """Give the workers a message; one that is held takes until `let_go`."""
    host.run(f"{f'touch {SHARED}/hold-{name};' if held else ''} touch {SHARED}/{name} && mv {SHARED}/{name} {SHARED}/queue/")


def hold_job(host: Target, version: str) -> None:
    """Have a run of the job under way that takes until `let_go`."""
    host.run(f"touch {SHARED}/hold-job")
    assert until(host, f"tail -n 1 {SHARED}/notes | grep -qx 'job {version} begins'")


def let_go(host: Target, name: str) -> None:
    """Let a message or the job come to its end."""
    host.run(f"rm {SHARED}/hold-{name}")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's code, which the tests change."""
    return release(tmp_path_factory.mktemp("busy"), "one")


@pytest.fixture(scope="module")
def host(target: Target, source: Path) -> Target:
    """A host with version one."""
    target.converge(busy(source))
    target.run(f"install -d -o busy -g busy {SHARED}/queue")
    return target


def test_workers_and_jobs_run_in_the_sandbox(host: Target) -> None:
    assert units(host) == workers_of(host)
    assert until(host, noted("job one is-done"))
    assert sorted(line for line in notes(host) if line.startswith("worker")) == [f"worker one starts busy.loop-{number}" for number in (1, 2)]
    for unit in (f"busy.loop-1@{host.live('busy')}.service", "busy.tidy.service"):
        assert host.exposure(unit) <= 1.5


def test_a_release_waits_for_no_worker_and_no_job(host: Target, source: Path) -> None:
    """Those that are busy complete what they do, as the old release, which stays; meanwhile the new ones work, and a second run does nothing."""
    old = host.live("busy")
    send(host, "long", held=True)
    assert until(host, f"test -e {SHARED}/taken-long")
    hold_job(host, "one")
    notes(host)
    play = host.converge(busy(release(source, "two")), "-vvv")
    new = host.live("busy")
    took = dict(re.findall(r"(asked the old workers to end|started the new workers, which run): ([\d.]+) s", play.output))
    assert len(took) == 2 and sum(map(float, took.values())) < WORKER["settle"] + 3, "a release takes hardly longer than they settle"
    send(host, "short")
    assert until(host, noted("worker two did short"))
    states = units(host)
    assert [one for one in states if "deactivating" in one] == [one for one in states if old in one], "one of the old ones is busy"
    assert sorted(one for one in states if new in one) == workers_of(host)
    lines = notes(host)
    assert lines.index("worker one ends") < min(lines.index(f"worker two starts busy.loop-{number}") for number in (1, 2)), play.output
    assert [line for line in lines if line.startswith("job ")] == [], "the job that is under way is not begun again"
    host.run("systemctl daemon-reload")
    assert host.converge(busy(source)).recap["changed"] == 0
    assert (host.get("/").text, host.releases("busy")) == ("two", sorted([old, new]))


def test_a_job_ends_as_its_release_and_the_next_run_is_the_new_ones(host: Target) -> None:
    let_go(host, "job")
    assert until(host, noted("job two is-done"))
    lines = [line.split()[1:] for line in notes(host) if line.startswith("job ")]
    assert lines[0] == ["one", "is-done"] and {version for version, _what in lines[1:]} == {"two"}, lines
    assert [what for _version, what in lines[1:]] == (["begins", "is-done"] * len(lines))[: len(lines) - 1], lines


BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "ends after a while": (  # the first alone: one that ends by itself while it is asked to end is a failed unit
        {"command": "sh -c 'echo my last words; sleep 1; test $FLASKOPS_PROCESS = busy.loop-1 || exec sleep 60; exit 3'", "settle": 3},
        ["the worker loop-1 ended with code 3, and must run for 3 s without that", "my last words"],
    ),
    "lacks a package": ({"command": "python -m rq_scheduler"}, ["the worker loop-1 ended", "No module named rq_scheduler", "status=1/FAILURE"]),
    "lacks its program": ({"command": "rq worker"}, ["the worker loop-1 ended", "rq: not found", "status=127/n/a"]),
    "crashes again and again": ({"command": "sh -c 'kill -SEGV $$'", "settle": 3}, ["the worker loop-1 ended", "status=11/SEGV"]),
    "check fails": ({"check": "sh -c 'echo the queue is away; exit 4'"}, ["the check", "of a worker ended with code 4", "the queue is away"]),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_worker_that_cannot_run_fails_the_release(host: Target, source: Path, fault: str) -> None:
    """Before the switch: the old web server, the old workers and the jobs go on, and the reason is shown and kept."""
    changes, words = BAD[fault]
    live, before, job = host.live("busy"), units(host), host.run("cat /etc/systemd/system/busy.tidy.*")
    notes(host)
    play = host.play(busy(release(source, fault), workers={"loop": {**WORKER, **changes}}, jobs={**JOBS, "tidy": {**JOB, "timeout": 60}}))
    assert play.returncode == 2 and missing(play.output, [*words, f"Release {live} keeps serving."]) == [], play.output
    assert (host.live("busy"), host.get("/").text) == (live, "two")
    send(host, "next")
    assert until(host, noted("worker two did next"))
    assert eventually(lambda: units(host) == before), units(host)
    assert host.run("cat /etc/systemd/system/busy.tidy.*") == job
    assert not host.succeeds("ls /run/systemd/transient | grep busy"), "nothing starts them again, because they run"


def test_status_and_logs_show_workers_and_jobs(host: Target) -> None:
    """Why a release failed, too."""
    hold_job(host, "two")
    shown = host.converge(None, str(ROOT / "playbooks/status.yml"), playbook="logs", variables={"flask_app_name": "busy", "process": "tidy"}).output
    words = [
        BAD["ends after a while"][1][0], "web=active,loop-1=active,loop-2=active", "loop-1 active since", "restarts 0",
        "tidy runs, last ", "Finished busy.tidy.service", "--unit='busy.tidy.service'",
    ]  # fmt: skip
    assert missing(" ".join(shown.split()), words) == [], shown
    let_go(host, "job")


def test_a_rollback_changes_the_workers_too_and_a_restart_replaces_them(host: Target) -> None:
    """A worker that still completes what it was asked to end with starts again when it has."""
    new = host.live("busy")
    (old,) = {one.partition("@")[2].partition(".")[0] for one in units(host)} - {new}
    notes(host)
    host.converge(None, playbook="rollback", variables={"flask_app_name": "busy"})
    assert host.live("busy") == old
    assert eventually(lambda: sorted(one.split()[1] for one in units(host)) == ["active", "deactivating"]), units(host)
    let_go(host, "long")
    assert until(host, noted("worker one did long")), "a reload of systemd took its time away"
    assert eventually(lambda: units(host) == workers_of(host, old)), units(host)
    starts = [f"worker one starts busy.loop-{number}" for number in (1, 2)]
    assert all(until(host, noted(line)) for line in starts), "a unit is active before its process has begun to work"
    lines = [line for line in notes(host) if line.startswith("worker")]
    assert lines[:2] == ["worker two ends"] * 2 and sorted(lines[2:]) == sorted(["worker one did long", "worker one ends", *starts])
    host.converge(None, playbook="restart", variables={"flask_app_name": "busy"})
    assert until(host, f"test $(grep -c ^worker {SHARED}/notes) = 4")
    assert sorted(line for line in notes(host) if line.startswith("worker")) == [*["worker one ends"] * 2, *starts]


# In place of systemctl on the host: instead of a certain call it kills who has called it, or waits as long as he is there.
LAST_CALL = """#!/bin/sh
if [ -e /run/last-call ] && sh /run/last-call "$*"; then
    mv /run/last-call /run/reached
    $(cat /run/then) $PPID
    exit 1
fi
exec /usr/bin/systemctl "$@"
"""
SETTLE = 'case "$1" in show*ExecMainCode*) true;; *) false;; esac'
KILL, WAIT = "kill -9", "tail -f /dev/null --pid"
KILLS = {
    "the old workers are asked to end": 'case "$1" in "start --no-block busy.loop"*) true;; *) false;; esac',
    "the new workers settle": SETTLE,
    "the jobs are being changed": '[ "$1" = daemon-reload ] && ! cmp -s /run/job /etc/systemd/system/busy.tidy.service',
}


def interrupt(host: Target, at: str, then: str) -> None:
    """Have the next run come to its end at a call of systemctl."""
    host.run("install -m 755 /dev/stdin /usr/local/sbin/systemctl", stdin=LAST_CALL)
    host.run(f"cp /etc/systemd/system/busy.tidy.service /run/job; echo '{then}' >/run/then; rm -f /run/reached; cat >/run/last-call", stdin=at)


def test_power_is_cut_while_the_new_workers_settle(host: Target, source: Path) -> None:
    """The live release's workers run after the boot, and no others, though both have a unit. They need no help if their queue comes late.

    systemd itself gives up after five starts in ten seconds. A job that was missed meanwhile is made up for, unless it is not persistent.
    """
    live = host.live("busy")
    interrupt(host, SETTLE, WAIT)
    process = host.start(busy(release(source, "cut")))
    assert until(host, "test -e /run/reached", 60) and host.run("ls /etc/systemd/system | grep -c busy.loop") == "4"
    host.run(f"touch {SHARED}/away; for job in missed skipped; do touch -d '2 years ago' /var/lib/systemd/timers/stamp-busy.$job.timer; done")
    subprocess.run([ROOT / "dev/docker", "kill", f"flaskops-{host.name}"], check=True, capture_output=True)
    process.communicate()
    host.reboot()
    assert until(host, f"test $(systemctl show --property=NRestarts --value busy.loop-1@{live}.service) -gt 6", 60)
    host.run(f"rm {SHARED}/away")
    assert eventually(lambda: units(host) == workers_of(host, live)), units(host)
    assert (host.succeeds(f"grep missed {SHARED}/notes"), host.succeeds(f"grep skipped {SHARED}/notes")) == (True, False)


@pytest.mark.parametrize("step", KILLS)
def test_who_switches_is_killed_on_the_host(host: Target, source: Path, step: str) -> None:
    """Visitors are served, and in a quarter of an hour systemd starts the live release's workers, if they do not run. The next run goes on."""
    before = host.live("busy")
    interrupt(host, KILLS[step], KILL)
    play = host.play(busy(source))
    assert play.returncode == 2 and host.succeeds("test -e /run/reached"), play.output
    flipped = step == list(KILLS)[-1]
    live = host.live("busy")
    assert (live != before, host.get("/").text) == (flipped, "cut" if flipped else "one")
    assert "OnActiveUSec=15min " in host.run("systemctl show --property=TimersMonotonic flaskops-busy-workers.timer")
    host.run("systemctl start flaskops-busy-workers.service")
    assert eventually(lambda: set(workers_of(host, live)) <= set(units(host))), units(host)


def test_the_run_after_it_converges(host: Target, source: Path) -> None:
    """The jobs are the new release's too, and of the old one's processes nothing is left."""
    host.run("rm -f /usr/local/sbin/systemctl /run/job /run/then /run/reached")
    host.converge(busy(source))
    live = host.live("busy")
    assert eventually(lambda: units(host) == workers_of(host, live)), units(host)
    notes(host)
    assert until(host, noted("job cut is-done"))
    assert {line.split()[1] for line in notes(host)[1:]} == {"cut"}
    assert not host.succeeds("ls -A /run/systemd/transient /run/flaskops | grep busy.")
    assert host.run("ls /etc/systemd/system | grep 'busy[.@]'").split() == [
        *(f"busy.loop-{number}@{live}.service" for number in (1, 2)),
        *(f"busy.{job}.{kind}" for job in sorted(JOBS) for kind in ("service", "timer")),
        f"busy@{live}.service",
    ]


def test_what_is_wrong_with_a_job_is_reported_before_anything_is_touched(host: Target, source: Path) -> None:
    host.run("touch /run/before")
    jobs = {"cron": {**JOB, "schedule": "0 3 * * *"}, "never": {**JOB, "schedule": "*-02-30"}}
    play = host.play(busy(source, jobs=jobs))
    words = [
        "schedule of cron is '0 3 * * *': systemd does not understand it",
        "of never is '*-02-30': that time never comes",
        "Nothing was changed.",
    ]
    assert play.returncode == 2 and missing(" ".join(play.output.split()), words) == [], play.output
    assert host.run("find /etc /srv -newer /run/before ! -path '*/shared*'") == ""


WORDS = ["w@%h", "$HOME", "${PATH}", "$$", "a b", "it's", '"', "\\n", "猫", ";", "", "-"]
OTHER = {"command": shlex.join(["python", "main.py", "words", *WORDS]), "schedule": "yearly"}
ONE = {**WORKER, "count": 1}
SLOW = {"command": "python main.py job", "schedule": "yearly", "timeout": 300}
# Each with its workers and jobs, which go in the next one. The development server stands beside no other: test_dev_server.py has it.
MOVES: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "apache_mod_wsgi": (81, {"flask_app_listen": "81"}, {"workers": {"loop": ONE}, "jobs": {}}),
    "apache_gunicorn": (81, {"flask_app_listen": "81"}, {"workers": {"other": WORKER}, "jobs": {"slow": SLOW}}),
    "apache_uwsgi_mysql": (81, {"flask_app_listen": "81"}, {"workers": {"loop": WORKER}, "jobs": {"other-job": OTHER}}),
    "nginx_uwsgi": (80, {"uwsgi_app_manager": "supervisord"}, {"workers": {"other": ONE}, "jobs": {"other-job": OTHER}}),
}


def test_a_job_that_is_removed_while_it_runs_comes_to_its_end(host: Target, source: Path) -> None:
    """As long its service is there, and no longer."""
    hold_job(host, "cut")
    host.converge(busy(source, jobs={}))
    assert units(host, "busy.tidy*") == ["busy.tidy.service activating"]
    let_go(host, "job")
    assert until(host, noted("job cut is-done"))
    assert until(host, "! test -e /etc/systemd/system/busy.tidy.service")
    assert units(host, "busy.tidy*") == [] and "not-found" in host.run("systemctl show --property=LoadState busy.tidy.service")


@pytest.mark.parametrize("topology", each(MOVES, "apache_mod_wsgi", "nginx_uwsgi"))
def test_workers_and_jobs_are_systemds_in_each_topology(host: Target, source: Path, topology: str) -> None:
    """They move with their app. Of fewer and renamed workers, and of jobs that are named no more, nothing is left. `flaskops` is the same, too."""
    port, settings, processes = MOVES[topology]
    given = {"environment": {"FRUIT": "an apple"}, "secrets": {"TOKEN": topology}}
    host.converge(busy(source, **settings, **processes, **given), playbook=topology)
    assert host.get("/", port=port).text == "cut"
    workers = [
        f"busy.{name}-{number}@{host.live('busy')}.service"
        for name, worker in processes["workers"].items()
        for number in range(1, 1 + worker["count"])
    ]
    jobs = [f"busy.{name}.{kind}" for name in processes["jobs"] for kind in ("service", "timer")]
    assert eventually(lambda: sorted(units(host, "busy.*")) == sorted(f"{one} active" for one in [*workers, *jobs[1:]])), units(host, "busy.*")
    assert host.run("ls /etc/systemd/system | grep 'busy\\.'").split() == sorted([*workers, *jobs])
    assert host.run("ls /etc/systemd/system/*.wants | grep 'busy\\.'").split() == sorted([*workers, *jobs[1:]])
    assert host.run("ls /var/lib/systemd/timers | grep busy || true").split() == [f"stamp-{timer}" for timer in jobs[1:]]
    run_as_their_app_does(host, "busy", workers, jobs[:1], given)
    assert host.run("flaskops busy run -- id -un") == "busy" and host.succeeds("flaskops busy logs")
    assert host.run("flaskops busy shell", stdin="import main; print(main.app.__name__)\n") == "app"


def test_each_word_of_a_command_arrives_as_it_is(host: Target) -> None:
    notes(host)
    host.run("systemctl start busy.other-job")
    assert [line.partition("begins ")[2] for line in notes(host) if line.startswith("job")] == [repr(WORDS), ""]


def test_removal_leaves_nothing_and_kills_what_does_not_end(host: Target, source: Path) -> None:
    host.run(f"touch {SHARED}/hold-job; systemctl start --no-block busy.other-job")
    assert until(host, noted("job cut begins .*"))
    host.converge([{**busy(source)[0], "flask_app_state": "absent", "flask_app_remove_data": True}])
    assert units(host, "busy.*") == []
    assert host.run("find /etc/systemd /run/systemd /run/flaskops /etc/flaskops /var/lib/systemd /srv -name '*busy*'") == "/run/flaskops/busy"
    assert not host.succeeds("pgrep -f '[m]ain.py'")
