"""An app under uWSGI comes, keeps its secrets, moves between managers and sockets, survives a boot, and goes without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.awkward import SECRETS, WATCH, as_given, leaks
from ansible_collections.flaskops.hosting.tests.targets.harness import Play, Target, app, differences, eventually, missing, write_source
from ansible_collections.flaskops.hosting.tests.targets.test_dry_run import builds, planned_tasks

pytestmark = thorough

ADDRESS = "198.18.2.151"
VARIANT = "debian12"
TOPOLOGY = "nginx_uwsgi"
SUPERVISORD = {"uwsgi_app_manager": "supervisord"}
TCP = {"uwsgi_app_listen": "127.0.0.1:8930"}
# The names are in no other file of the system.
ONE, TWO = "qzsystemd", "qzsuper"


def one(**settings: Any) -> dict[str, Any]:
    """The app that starts under systemd, on a unix socket."""
    return app(ONE, secrets=as_given(SECRETS), environment={"PLAIN": "seen by all"}, **settings)


def two(**settings: Any) -> dict[str, Any]:
    """The app that starts under supervisord."""
    return app(TWO, secrets=as_given(SECRETS), environment={"PLAIN": "seen by all"}, listen="8081", **settings)


APPS = [one(uwsgi_app_worker_class="gevent"), two(**SUPERVISORD, **TCP)]
MOVED = [one(**SUPERVISORD, **TCP, uwsgi_app_protocol="http"), two()]


@pytest.fixture(scope="module")
def dry(target: Target) -> Play:
    """The dry run on the bare target, which has changed nothing."""
    return target.dry_run(APPS)


@pytest.fixture(scope="module")
def real(target: Target, dry: Play) -> Play:
    """The verbose run after the dry run, while somebody watched every process's arguments."""
    target.run("cat >/root/watch.py && systemd-run --quiet --unit=watch python3 /root/watch.py", stdin=WATCH)
    play = target.converge(APPS, "-vvv", "--diff")
    target.run("systemctl stop watch")
    return play


def instances(host: Target) -> tuple[list[str], list[str]]:
    """The units and the programs of both apps: those that run, and those that have a file."""
    units = host.run(
        "systemctl list-units --all --plain --no-legend 'qz*@*.service' | cut -d' ' -f1;"
        "cd /etc/systemd/system && ls -d qz*@* */qz*@* 2>/dev/null || true"
    )
    programs = host.run("supervisorctl status | cut -d' ' -f1; ls /etc/supervisor/conf.d")
    return sorted({Path(unit).stem for unit in units.split()}), sorted({name.removesuffix(".conf") for name in programs.split()})


def versions(host: Target) -> list[str]:
    """What both apps answer."""
    return [host.get("/", port=port).json()["version"] for port in (80, 8081)]


def test_the_run_does_what_the_dry_run_showed(target: Target, dry: Play, real: Play) -> None:
    """Of a host without uWSGI and supervisord: packages, files, builds; the same tasks change."""
    assert "uwsgi-core" in dry.output and "uwsgi-plugin-python3" in dry.output and "supervisor" in dry.output
    assert sorted(set(real.changed)) == sorted(set(planned_tasks(dry)))
    assert dry.diffs <= real.diffs
    unplanned = {path for path in real.diffs - dry.diffs if target.succeeds(f"test -e {path} -o -L {path}")}
    assert unplanned == set()
    assert builds(dry) == builds(real) and len(builds(real)) == 2
    assert f"+    uwsgi_pass unix:/srv/{TWO}/current/run/app.sock;" in dry.output
    assert versions(target) == ["one", "one"]


def test_second_run_changes_nothing(target: Target, real: Play) -> None:
    """Neither Ansible's count nor the file system knows of a change."""
    before = target.snapshot()
    again = target.converge(APPS, "--diff")
    assert (again.recap["changed"], again.changed, again.diffs) == (0, [], set())
    assert differences(before, target.snapshot()) == {}


@pytest.mark.parametrize("port", [80, 8081], ids=["systemd", "supervisord"])
def test_every_byte_of_a_secret_arrives(target: Target, real: Play, port: int) -> None:
    """The app's own view of its environment, which holds nothing of root's."""
    seen = target.get("/environment", port=port).json()
    assert {name: bytes.fromhex(seen[name]).decode() for name in SECRETS} == SECRETS
    assert bytes.fromhex(seen["PLAIN"]) == b"seen by all"
    assert bytes.fromhex(seen["PATH"]).startswith(b"/srv/qzs") and bytes.fromhex(seen.get("HOME", "")) != b"/root"
    assert set(target.get("/who", port=port).json()["groups"]) <= {target.get("/who", port=port).json()["gid"]}


def test_secrets_are_nowhere_else(target: Target, dry: Play, real: Play) -> None:
    """Neither in what Ansible says, also of a dry run, nor in arguments, nor in logs, nor in a file but the environment's, which is root's."""
    for play in (dry, real):
        assert leaks(play.output) == [] and "variable: QUOTES (" in play.output
    seen = target.run("cat /root/arguments")
    assert "uwsgi --ini" in seen and leaks(seen) == []
    found = target.run("grep -rlsF -e Zr9-Qx7vKw2m /etc /home /opt /root /run /srv /tmp /usr/local /var || true").split()
    assert sorted(found) == sorted(target.run("ls /srv/*/releases/*/environment").split())
    assert {target.run(f"stat -c '%a %U %G' {path}") for path in found} == {"600 root root"}
    assert leaks(target.run("journalctl --no-pager --output=export")) == []
    for user, port in ((ONE, 80), (TWO, 8081)):
        pid = target.get("/who", port=port).json()["pid"]
        other = TWO if user == ONE else ONE
        assert not target.succeeds(f"setpriv --reuid={other} --regid={other} --clear-groups cat /proc/{pid}/environ")


def test_boot(target: Target, real: Play) -> None:
    """Both managers start their app with no help; the next run, which the next test is about, has nothing else to mend."""
    live = [target.live(ONE), target.live(TWO)]
    target.reboot()
    assert eventually(lambda: [target.get("/", port=port).status for port in (80, 8081)] == [200, 200])
    assert [target.live(ONE), target.live(TWO)] == live


def test_what_somebody_stopped_serves_again(target: Target, real: Play) -> None:
    """The app's unit, and supervisord with all that it runs."""
    target.run(f"systemctl disable --now --quiet {ONE}@{target.live(ONE)} supervisor")
    play = target.converge(APPS)
    assert play.changed == ["Make the release live, and ask for it through the front", "Configure the front and the app's own port"]
    assert versions(target) == ["one", "one"]
    assert target.run("systemctl is-enabled supervisor") == "enabled"


def test_conflicts_are_rejected(target: Target, real: Play) -> None:
    """Each with its variable, what was given and what would be right; nothing is changed."""
    target.run("printf '#!/bin/sh\\necho 3.9\\n' >/usr/local/bin/python3.9 && chmod +x /usr/local/bin/python3.9")
    before = target.snapshot()
    conflicts: dict[str, Any] = {"mount": "/new", "uwsgi_app_mounts": {"/": "main:app"}, **TCP}
    words = [
        f"flask_app_mount: / on port 8081 is the app {TWO}'s", f"uwsgi_app_listen: 127.0.0.1:8930 is the app {TWO}'s",
        "flask_app_python: got '/usr/local/bin/python3.9', which is Python 3.9, but the distribution's uWSGI is built for Python 3.11",
        "flask_app_python: /usr/bin/python3", "Nothing was changed.",
    ]  # fmt: skip
    play = target.play([app("new", listen="8081", python="/usr/local/bin/python3.9", **conflicts)])
    assert (play.returncode, play.recap["changed"], missing(play.output, words)) == (2, 0, []), play.output
    assert differences(before, target.snapshot()) == {}


def test_a_bad_app_under_supervisord_leaves_the_old_one(target: Target, real: Play, tmp_path: Path) -> None:
    """A new app that fails only in uWSGI is no program of supervisord's then, and its secret is not in what is said of it."""
    code = "import os, sys\nif 'uwsgi' in sys.modules:\n    raise RuntimeError('cannot log in with ' + os.environ['QUOTES'])\n"
    code += "def app(environ, start_response):\n    start_response('200 OK', [])\n    return []\n"
    broken = {**APPS[1], "flask_app_source": str(write_source(tmp_path, {"main.py": code}))}
    live, before = target.live(TWO), instances(target)
    play = target.play([broken])
    assert play.returncode == 2 and f"Release {live} keeps serving." in play.output
    assert "cannot log in with <QUOTES>" in play.output and leaks(play.output) == []
    assert instances(target) == before and versions(target) == ["one", "one"]


def test_moves_leave_nothing(target: Target, real: Play) -> None:
    """From systemd to supervisord and the other way round, from a socket to the port that the other app has just left, from a port to a socket."""
    start = [target.live(ONE), target.live(TWO)]
    assert instances(target) == ([f"{ONE}@{start[0]}"], [f"{TWO}@{start[1]}"])
    target.converge(MOVED[::-1])
    moved = [target.live(ONE), target.live(TWO)]
    assert not set(start) & set(moved)
    assert instances(target) == ([f"{TWO}@{moved[1]}"], [f"{ONE}@{moved[0]}"])
    assert versions(target) == ["one", "one"]
    assert target.run("ss --listening --tcp --numeric --no-header | grep -c ':8930 '") == "1"
    assert not target.succeeds(f"ls /srv/*/releases/{start[0]}/run/app.sock /srv/*/releases/{start[1]}/run/app.sock")


def test_absent_leaves_nothing(target: Target, real: Play) -> None:
    """Neither of systemd nor of supervisord, of an app that has been under both; to remove it, its name is enough."""
    target.converge([{"flask_app_name": name, "flask_app_state": "absent"} for name in (ONE, TWO)])
    traces = (
        "find / -xdev -name '*qzs*' -not -path '/proc/*';"
        "grep -rlsF --exclude='*-' -e qzsystemd -e qzsuper /etc /srv /usr/local /var/lib /run;"
        "getent passwd qzsystemd qzsuper; getent group qzsystemd qzsuper;"
        "systemctl list-units --all --no-legend '*qzs*'; ls /etc/supervisor/conf.d"
    )
    assert target.run(traces) == ""
    assert target.run("systemctl is-active supervisor nginx; true").split() == ["inactive", "inactive"], "nothing is left for them to do"
    assert "8081" not in target.run("ufw status; ss --listening --tcp --numeric")
    assert "8930" not in target.run("ss --listening --tcp --numeric")
