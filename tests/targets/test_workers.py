"""What an app runs beside its web server, on a host: workers and jobs, through releases, failures, boots and its removal."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, ROOT, Target, app, eventually, missing, write_source

ADDRESS = "198.18.2.185"
BUSY = (APPS / "busy/main.py").read_text()
WORKER: dict[str, Any] = {"command": "python main.py work", "count": 2, "settle": 1, "stop_timeout": 30}


def busy(source: Path, **settings: Any) -> list[dict[str, Any]]:
    """The app with its worker."""
    return [app("busy", source, **{"workers": {"loop": WORKER}, "shared": ["shared"], **settings})]


def release(source: Path, version: str) -> Path:
    """Make the source that of another version."""
    return write_source(source, {"main.py": BUSY.replace('"one"', f'"{version}"')})


def units(host: Target, pattern: str = "busy.*") -> list[str]:
    """The units of the app's processes that run or are to run, each with its state."""
    listed = host.run(f"systemctl list-units --all --plain --no-legend '{pattern}' | awk '$3 != \"inactive\" {{print $1, $3}}'")
    return listed.splitlines()


def notes(host: Target) -> list[str]:
    """What the workers and jobs have noted since the last call."""
    return host.run("cat /srv/busy/shared/shared/notes; : >/srv/busy/shared/shared/notes").splitlines()


def send(host: Target, name: str, seconds: float) -> None:
    """Give the workers a message that takes so many seconds."""
    host.run(f"echo {seconds} >/srv/busy/shared/shared/{name} && mv /srv/busy/shared/shared/{name} /srv/busy/shared/shared/queue/")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's code, which the tests change."""
    return release(tmp_path_factory.mktemp("busy"), "one")


@pytest.fixture(scope="module")
def host(target: Target, source: Path) -> Target:
    """A host with version one."""
    target.converge(busy(source))
    target.run("install -d -o busy -g busy /srv/busy/shared/shared/queue")
    return target


def test_workers_run_in_the_sandbox_and_a_second_run_does_nothing(host: Target, source: Path) -> None:
    live = host.live("busy")
    assert units(host) == [f"busy.loop-{number}@{live}.service active" for number in (1, 2)]
    assert sorted(notes(host)) == [f"worker one starts busy.loop-{number}" for number in (1, 2)]
    assert host.exposure(f"busy.loop-1@{live}.service") <= 1.5
    second = host.converge(busy(source), "-vvv")
    assert (second.recap["changed"], second.output.count("SSH: EXEC")) == (0, 4)


def test_a_release_tells_the_old_workers_to_end_and_waits_for_none(host: Target, source: Path) -> None:
    """One that is busy completes what it does, as the old release, with its limits; meanwhile the new ones work, and a second run does nothing."""
    old = host.live("busy")
    notes(host)
    send(host, "long", 25)
    assert eventually(lambda: host.succeeds("test -e /srv/busy/shared/shared/taken-long"))
    play = host.converge(busy(release(source, "two")), "-vvv")
    new = host.live("busy")
    took = dict(re.findall(r"(told the old workers to end|started the new workers, which run): ([\d.]+) s", play.output))
    assert sum(map(float, took.values())) < WORKER["settle"] + 2, "a release takes hardly longer than they settle"
    send(host, "short", 0)
    assert eventually(lambda: "worker two did short" in host.run("cat /srv/busy/shared/shared/notes"))
    states = units(host)
    assert [one for one in states if "deactivating" in one] == [one for one in states if old in one], "one of the old ones is busy"
    assert sorted(one for one in states if new in one) == [f"busy.loop-{number}@{new}.service active" for number in (1, 2)]
    noted = notes(host)
    assert noted.index("worker one ends") < min(noted.index(f"worker two starts busy.loop-{number}") for number in (1, 2)), play.output
    host.run("systemctl daemon-reload")
    assert host.converge(busy(source)).recap["changed"] == 0
    assert eventually(lambda: "worker one did long" in host.run("cat /srv/busy/shared/shared/notes"), 30), "a reload of systemd took its time away"
    assert host.get("/").text == "two"


BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "ends after a while": (
        {"command": "sh -c 'echo my last words; sleep 1; exit 3'", "settle": 3},
        ["the worker loop-1 ended with code 3, and must run for 3 s without that", "my last words"],
    ),
    "check fails": ({"check": "sh -c 'echo the queue is away; exit 4'"}, ["the check", "of a worker ended with code 4", "the queue is away"]),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_worker_that_cannot_run_fails_the_release(host: Target, source: Path, fault: str) -> None:
    """Before the switch: the old web server and the old workers go on, and the reason is told and kept."""
    changes, words = BAD[fault]
    live, before = host.live("busy"), units(host)
    notes(host)
    play = host.play(busy(release(source, fault), workers={"loop": {**WORKER, **changes}}))
    assert play.returncode == 2 and missing(play.output, [*words, f"Release {live} keeps serving."]) == [], play.output
    assert (host.live("busy"), host.get("/").text) == (live, "two")
    send(host, "next", 0)
    assert eventually(lambda: "worker two did next" in host.run("cat /srv/busy/shared/shared/notes"))
    assert eventually(lambda: units(host) == [one for one in before if live in one]), units(host)
    assert not host.succeeds("ls /run/systemd/transient | grep busy"), "nothing starts them again, because they run"


def test_status_shows_why_a_release_failed_and_how_the_workers_are(host: Target) -> None:
    shown = " ".join(host.converge(None, playbook="status", variables={"flask_app_name": "busy"}).output.split())
    words = [BAD["ends after a while"][1][0], "web=active,loop-1=active,loop-2=active", "loop-1 active since", "restarts 0"]
    assert missing(shown, words) == [], shown


def test_a_rollback_changes_the_workers_too_and_a_restart_replaces_them(host: Target) -> None:
    new = host.live("busy")
    notes(host)
    host.converge(None, playbook="rollback", variables={"flask_app_name": "busy"})
    live = host.live("busy")
    assert live != new
    assert eventually(lambda: units(host) == [f"busy.loop-{number}@{live}.service active" for number in (1, 2)]), (live, new, units(host))
    noted = notes(host)
    assert noted[:2] == ["worker two ends"] * 2
    starts = [f"worker one starts busy.loop-{number}" for number in (1, 2)]
    assert sorted(noted[2:]) == starts
    host.converge(None, playbook="restart", variables={"flask_app_name": "busy"})
    assert eventually(lambda: len(host.run("cat /srv/busy/shared/shared/notes").splitlines()) == 4)
    assert sorted(notes(host)) == [*["worker one ends"] * 2, *starts]


SLOW = {"loop": {**WORKER, "settle": 4}}  # long enough to cut it off


def workers_of(host: Target, release: str) -> list[str]:
    """The units of a release's workers with their states."""
    return [f"busy.loop-{number}@{release}.service active" for number in (1, 2)]


def begin_switch(host: Target, source: Path) -> subprocess.Popen[str]:
    """Begin a run, and return it when the new workers have been started, which settle now."""
    live = host.live("busy")
    process = host.start(busy(source, workers=SLOW))
    assert eventually(lambda: any(one.endswith(" active") and live not in one for one in units(host)), 60)
    return process


def test_power_is_cut_while_the_new_workers_settle(host: Target, source: Path) -> None:
    """The live release's workers run after the boot, and no others, though both have a unit; the next run converges."""
    live = host.live("busy")
    process = begin_switch(host, release(source, "cut"))
    subprocess.run([ROOT / "dev/docker", "kill", f"flaskops-{host.name}"], check=True, capture_output=True)
    process.communicate()
    host.reboot()
    assert eventually(lambda: [one for one in units(host) if one.endswith(" active")] == workers_of(host, live), 15), units(host)
    host.converge(busy(source, workers=SLOW))
    assert eventually(lambda: units(host) == workers_of(host, host.live("busy"))), units(host)
    assert (host.live("busy") != live, host.get("/").text) == (True, "cut")


def test_who_switches_is_killed_on_the_host(host: Target, source: Path) -> None:
    """In a quarter of an hour systemd starts the old workers again; the next run converges."""
    live = host.live("busy")
    process = begin_switch(host, release(source, "killed"))
    host.run("kill -9 $(cat /run/flaskops/busy)")
    process.communicate()
    assert (host.live("busy"), host.get("/").text) == (live, "cut")
    assert "OnActiveUSec=15min " in host.run("systemctl show --property=TimersMonotonic flaskops-busy-workers.timer")
    host.run("systemctl start flaskops-busy-workers.service")
    assert eventually(lambda: set(workers_of(host, live)) <= set(units(host))), units(host)
    host.converge(busy(source, workers=SLOW))
    assert eventually(lambda: units(host) == workers_of(host, host.live("busy"))), units(host)
    assert host.get("/").text == "killed"
    assert not host.succeeds("ls -A /run/systemd/transient /run/flaskops | grep busy.")


def test_a_queue_that_comes_late_after_a_boot_needs_no_help(host: Target) -> None:
    """systemd itself gives up after five starts in ten seconds."""
    host.run("touch /srv/busy/shared/shared/away")
    host.reboot()
    unit = f"busy.loop-1@{host.live('busy')}.service"
    assert eventually(lambda: int(host.run(f"systemctl show --property=NRestarts --value {unit}")) > 7, 25)
    host.run("rm /srv/busy/shared/shared/away")
    assert eventually(lambda: units(host) == workers_of(host, host.live("busy"))), units(host)


def test_fewer_and_renamed_workers_leave_nothing(host: Target, source: Path) -> None:
    for workers in ({"other": {**WORKER, "count": 1}}, {}):
        host.converge(busy(source, workers=workers))
        expected = [f"busy.{name}-1@{host.live('busy')}.service active" for name in workers]
        assert eventually(lambda: units(host) == expected), units(host)  # noqa: B023
    assert not host.succeeds("ls /etc/systemd/system /etc/systemd/system/*.wants | grep 'busy\\.'")


MOVES: list[tuple[str, dict[str, Any]]] = [
    ("apache_mod_wsgi", {"flask_app_listen": "81"}),
    ("nginx_uwsgi", {"uwsgi_app_manager": "supervisord"}),
]


def test_workers_are_systemds_in_each_topology_and_move_with_their_app(host: Target, source: Path) -> None:
    for topology, settings in MOVES:
        host.converge(busy(source, **settings), playbook=topology)
        assert eventually(lambda: units(host) == workers_of(host, host.live("busy"))), units(host)
        assert host.get("/", port=int(settings.get("flask_app_listen", 80))).text == "killed"


JOB = {"command": "python main.py job", "schedule": "*:*:0/2", "timeout": 60}


def test_a_job_runs_at_its_times_and_never_twice_through_a_release(host: Target, source: Path) -> None:
    """The one under way ends as the old release, no second one runs beside it, and the next is the new one's."""
    host.converge(busy(release(source, "three"), workers={}, jobs={"tidy": JOB}))
    assert host.exposure("busy.tidy.service") <= 1.5
    notes(host)
    assert eventually(lambda: "job three is-done" in host.run("cat /srv/busy/shared/shared/notes"))
    host.run("echo 12 >/srv/busy/shared/shared/takes")
    assert eventually(lambda: host.run("tail -1 /srv/busy/shared/shared/notes") == "job three begins")
    live = host.live("busy")
    host.converge(busy(release(source, "four"), workers={}, jobs={"tidy": JOB}))
    assert host.live("busy") != live
    shown = host.converge(None, playbook="status", variables={"flask_app_name": "busy"})
    assert "tidy runs, last " in shown.output, shown.output
    host.run("rm /srv/busy/shared/shared/takes")
    assert eventually(lambda: "job four is-done" in host.run("cat /srv/busy/shared/shared/notes"), 20)
    noted = [line.split()[1:] for line in notes(host) if line.startswith("job ")]
    assert [what for _version, what in noted] == ["begins", "is-done"] * (len(noted) // 2) + ["begins"] * (len(noted) % 2), noted
    versions = [version for version, _what in noted]
    assert versions == sorted(versions, key=["three", "four"].index), noted
    shown = host.converge(None, playbook="logs", variables={"flask_app_name": "busy", "process": "tidy"})
    assert missing(shown.output, ["Finished busy.tidy.service", "--unit='busy.tidy.service'"]) == [], shown.output


def test_what_is_wrong_with_a_job_is_told_before_anything_is_touched(host: Target, source: Path) -> None:
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


def test_a_job_that_is_named_no_more_goes_with_its_timer(host: Target, source: Path) -> None:
    words = ["w@%h", "$HOME", "${PATH}", "$$", "a b", "it's", '"', "\\n", "猫", ";", "", "-"]
    other = {"command": shlex.join(["python", "main.py", "words", *words]), "schedule": "yearly"}
    host.converge(busy(source, workers={}, jobs={"other": other}))
    notes(host)
    host.run("systemctl start busy.other")
    assert notes(host)[-1].partition("[")[2] == repr(words)[1:], "each word arrives as it is"
    assert host.run("ls /etc/systemd/system | grep 'busy\\.'").split() == ["busy.other.service", "busy.other.timer"]
    assert host.run("ls /var/lib/systemd/timers | grep busy || true") == "stamp-busy.other.timer"


def test_removal_leaves_nothing_and_kills_what_does_not_end(host: Target, source: Path) -> None:
    host.run("echo 300 >/srv/busy/shared/shared/takes")
    host.converge(busy(source, workers={"loop": {**WORKER, "count": 1}}, jobs={"tidy": JOB}))
    assert eventually(lambda: "busy.tidy.service activating" in units(host))
    host.converge([{**busy(source)[0], "flask_app_state": "absent", "flask_app_remove_data": True}])
    assert units(host) == []
    assert host.run("find /etc/systemd /run/systemd /run/flaskops /etc/flaskops /var/lib/systemd /srv -name '*busy*'") == "/run/flaskops/busy"
    assert not host.succeeds("pgrep -f '[m]ain.py'")
