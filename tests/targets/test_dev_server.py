"""The development server: on loopback only, reloads edited code, reached by the tunnel that the play prints; never beside production."""

from __future__ import annotations

import http.client
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import (
    ROOT,
    SSH_OPTIONS,
    Play,
    Target,
    app,
    differences,
    eventually,
    missing,
    write_source,
)
from ansible_collections.flaskops.hosting.tests.targets.test_absent import traces
from ansible_collections.flaskops.hosting.tests.targets.test_dry_run import builds, planned_tasks
from ansible_collections.flaskops.hosting.tests.targets.test_workers import run_as_their_app_does

ADDRESS = "198.18.2.190"
TOPOLOGY = "dev_server"
VARIANT = "ubuntu-like"
MAIN = """
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return "one"


@app.get("/broken")
def broken():
    raise RuntimeError("a secret reason")


def create_app():
    return app
"""
ASK = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=5)
connection.request("GET", sys.argv[2])
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""
# What the first one runs beside its server.
GIVEN = {"environment": {"FRUIT": "an apple"}, "secrets": {"TOKEN": "of the first"}}
PROCESSES = {
    "workers": {"loop": {"command": "sleep infinity", "count": 2, "settle": 1}},
    "jobs": {"tidy": {"command": "true", "schedule": "yearly"}},
}
# The names are in no other file of the system.
FIRST, SECOND = "qzfirst", "qzsecond"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Flask app."""
    return write_source(tmp_path_factory.mktemp("source"), {"main.py": MAIN, "requirements.txt": "flask==3.1.3\n"})


def apps(source: Path) -> list[dict[str, Any]]:
    """Two apps on the documented ports, one of them by a factory."""
    second = app(SECOND, source, requirements="requirements.txt", module="main:create_app()", dev_server_listen="127.0.0.1:1024")
    return [app(FIRST, source, requirements="requirements.txt", **GIVEN, **PROCESSES), second]


@pytest.fixture(scope="module")
def dry(target: Target, source: Path) -> Play:
    """The dry run on the bare target, which has changed nothing."""
    return target.dry_run(apps(source))


@pytest.fixture(scope="module")
def real(target: Target, dry: Play, source: Path) -> Play:
    """The run after the dry run."""
    return target.converge(apps(source), "--diff")


def ask(target: Target, port: int, path: str = "/") -> str:
    """What an app answers on the host itself."""
    return target.run(f"python3 - {port} {path}", check=False, stdin=ASK)


def test_the_run_does_what_the_dry_run_showed(target: Target, dry: Play, real: Play) -> None:
    """The same tasks, the same builds; no web server."""
    assert sorted(set(real.changed)) == sorted(set(planned_tasks(dry)))
    assert dry.diffs <= real.diffs and builds(dry) == builds(real) and len(builds(real)) == 2
    assert f"{FIRST} would answer at http://127.0.0.1:5000/ " in dry.output
    assert not target.succeeds("dpkg-query --show nginx apache2")


def test_answers_on_the_host_alone(target: Target, real: Play) -> None:
    """On loopback; nobody outside reaches it, and the firewall allows only SSH."""
    for port in (5000, 1024):
        assert ask(target, port) == "200 one"
        with pytest.raises(OSError):
            socket.create_connection((ADDRESS, port), timeout=1).close()
    listening = target.run("ss --listening --tcp --numeric --no-header | awk '{print $4}'").split()
    assert {one for one in listening if not one.startswith("127.")} == {"0.0.0.0:22", "[::]:22"}
    assert set(re.findall(r"^(\S+)\s+ALLOW", target.run("ufw status"), re.MULTILINE)) == {"22/tcp"}


def test_runs_as_the_apps_account_without_a_debugger(target: Target, real: Play) -> None:
    """In the sandbox of every app; an error shows neither its reason nor a console."""
    for name in (FIRST, SECOND):
        unit = f"{name}@{target.live(name)}.service"
        main = target.run(f"systemctl show --property=MainPID --value {unit}")
        assert target.run(f"ps --no-headers -o user:32 {main}") == name
    answer = ask(target, 5000, "/broken")
    assert answer.startswith("500 ") and "a secret reason" not in answer and "EVALEX" not in answer
    assert ask(target, 5000, "/console").startswith("404 ")
    assert "Debug mode: off" in target.run(f"journalctl --unit='{FIRST}@*' --output=cat --no-pager")


def test_runs_one_of_each_worker_and_the_jobs(target: Target, real: Play) -> None:
    """As in production, but for the number."""
    listed = target.run(f"systemctl list-units --all --plain --no-legend '{FIRST}.*' | awk '{{print $1, $3}}'").splitlines()
    worker = f"{FIRST}.loop-1@{target.live(FIRST)}.service"
    assert set(listed) - {f"{FIRST}.tidy.service inactive"} == {f"{worker} active", f"{FIRST}.tidy.timer active"}
    run_as_their_app_does(target, FIRST, [worker], [f"{FIRST}.tidy.service"], GIVEN)


@contextmanager
def tunnel(command: str) -> Iterator[None]:
    """Run the command that the play printed, with what a user has in a configuration of SSH."""
    words = shlex.split(command)
    options = [*shlex.split(SSH_OPTIONS), "-i", str(ROOT / ".cache/ssh/id_ed25519"), "-o", "ExitOnForwardFailure=yes", "-N"]
    process = subprocess.Popen([words[0], *options, *words[1:]], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def test_printed_tunnel_works(target: Target, real: Play) -> None:
    """The command as it was printed reaches the app from the controller."""
    printed = {int(port): command for command, port in re.findall(r"(ssh -L (\d+):\S+ \S+@[\d.]+)", " ".join(real.output.split()))}
    assert printed.keys() == {5000, 1024}
    assert printed[5000] == f"ssh -L 5000:127.0.0.1:5000 ubuntu@{ADDRESS}"
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]  # 5000 may be in use here
    with tunnel(printed[5000].replace("-L 5000:", f"-L {port}:")):

        def answer() -> bool:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                try:
                    connection.request("GET", "/")
                    return connection.getresponse().read() == b"one"
                except OSError:
                    return False

        assert eventually(answer)


def test_edited_code_is_reloaded(target: Target, real: Play, source: Path) -> None:
    """A developer edits the live release's code on the host; the next run of the same source does not change that."""
    code = f"/srv/{FIRST}/current/code/main.py"
    main = target.run(f"systemctl show --property=MainPID --value {FIRST}@{target.live(FIRST)}")
    target.run(f'sed -i \'s/"one"/"edited"/\' {code}')
    assert eventually(lambda: ask(target, 5000) == "200 edited")
    assert target.run(f"systemctl show --property=MainPID --value {FIRST}@{target.live(FIRST)}") == main
    assert ask(target, 1024) == "200 one"
    target.run(f'sed -i \'s/"edited"/"one"/\' {code}')
    assert eventually(lambda: ask(target, 5000) == "200 one")


def test_boot_and_second_run_change_nothing(target: Target, real: Play, source: Path) -> None:
    """Both answer after a boot, and a run has nothing to do."""
    target.reboot()
    assert eventually(lambda: ask(target, 5000) == "200 one" and ask(target, 1024) == "200 one")
    before = target.snapshot()
    assert target.converge(apps(source)).recap["changed"] == 0
    changed = differences(before, target.snapshot())
    assert [name for name in changed if not name.startswith("user")] == [], "but for the units of Ansible's own login"


def test_production_is_rejected(target: Target, real: Play, source: Path) -> None:
    """Beside a development server, and nothing is changed."""
    before = target.snapshot()
    play = target.play([app("new", source)], playbook="nginx_gunicorn")
    words = [f"this host has the app {FIRST} (dev_server)", "flask_app_state: absent", "Nothing was changed."]
    assert (play.returncode, play.recap["changed"], missing(play.output, words)) == (2, 0, []), play.output
    assert differences(before, target.snapshot()) == {}


def test_one_goes_and_the_other_gets_new_code(target: Target, real: Play, source: Path, tmp_path: Path) -> None:
    """Nothing is left of the one. The other's new code goes live; code that fails leaves the old release."""
    files = {"main.py": MAIN.replace('"one"', '"two"'), "requirements.txt": "flask==3.1.3\n"}
    second = apps(source)[1]
    gone = {"flask_app_name": FIRST, "flask_app_state": "absent"}
    target.converge([gone, {**second, "flask_app_source": str(write_source(tmp_path / "two", files))}])
    assert traces(target, FIRST) == "" and ask(target, 1024) == "200 two"
    broken = {**files, "main.py": MAIN + "\nraise RuntimeError('broken')\n"}
    play = target.play([{**second, "flask_app_source": str(write_source(tmp_path / "broken", broken))}])
    assert play.returncode == 2 and "RuntimeError: broken" in play.output and ask(target, 1024) == "200 two"


def test_absent_leaves_nothing(target: Target, real: Play) -> None:
    """Of the last app."""
    target.converge([{"flask_app_name": SECOND, "flask_app_state": "absent"}])
    assert traces(target, SECOND) == ""
    assert not target.succeeds("ss --listening --tcp --numeric --no-header | grep -E ':(5000|1024) '")
