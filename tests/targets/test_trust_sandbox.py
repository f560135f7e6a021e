"""Whatever runs an app's code is in its sandbox and leaves nothing behind; a build has an account of its own, and no secrets."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Target, app, write_source

ADDRESS = "198.18.2.61"
SPY = (APPS / "spy/main.py").read_text()
LEAVE = (APPS / "spy/leave.py").read_text()
# How long each step's forgotten process would sleep, by which it is found.
SLEEPS = {"build": 7001, "pre-flight": 7002, "command": 7003, "supervisord": 7004}
# Installed as a package, whose build notes what it sees.
BUILD = f"""{LEAVE}

import pathlib
from setuptools import setup


def refused(path):
    try:
        open(path).read() if os.path.isfile(path) else os.listdir(path)
    except OSError:
        return True
    return False

leave({SLEEPS["build"]})
pathlib.Path("report.py").write_text(repr({{
    "uid": os.getuid(),
    "variables": dict(os.environ),
    "environments": [str(path) for path in pathlib.Path("/srv").rglob("environment")],
    "refused": [path for path in ("/srv/spy/shared", "/srv/spy/current", "/home/ubuntu", "/etc/flaskops/key") if refused(path)],
}}))
setup(name="report", version="1.0", py_modules=["report"])
"""


def package() -> bytes:
    """The package as an archive."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        member = tarfile.TarInfo("report-1.0/setup.py")
        member.size = len(BUILD.encode())
        archive.addfile(member, io.BytesIO(BUILD.encode()))
    return raw.getvalue()


def spy(source: Path, **settings: Any) -> dict[str, Any]:
    """The app, with a secret."""
    return app("spy", source, shared=["uploads"], secrets={"TOKEN": "hunter2 $HOME"}, **settings)


@pytest.fixture(scope="module")
def host(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A host with the live app, which watches while its next release is staged and its commands run."""
    source = write_source(tmp_path_factory.mktemp("spy"), {"main.py": SPY})
    target.converge([spy(source)])
    assert target.get("/watch").status == 200
    write_source(
        source,
        {
            "main.py": f"{SPY}\nimport leave, sys\nif sys.argv[0] == '-':\n    leave.leave({SLEEPS['pre-flight']})\n",
            "leave.py": LEAVE,
            "requirements.txt": "./report-1.0.tar.gz\n",
            "report-1.0.tar.gz": package(),
            "command.py": f"import leave, os\nprint('has', os.environ['TOKEN'])\nleave.leave({SLEEPS['command']})\n",
        },
    )
    play = target.converge([spy(source, requirements="requirements.txt", before_activation=["python command.py"])])
    assert "has <TOKEN>" in play.output
    return target


def test_the_live_app_gets_nowhere_through_them(host: Target) -> None:
    """It sees the processes of its own account, the pre-flight and the command, which are in the same sandbox as itself, and none of the build."""
    seen = [json.loads(line) for line in host.run("cat /srv/spy/shared/seen").splitlines()]
    assert any("command.py" in one["words"] for one in seen), seen
    assert any(one["words"].startswith("/srv/spy/releases/") and " - " in one["words"] for one in seen), seen
    assert not [one for one in seen if "uv" in one["words"].split("/")[-1] or "pip install" in one["words"] or "setup.py" in one["words"]]
    assert [one for one in seen if not one["ended"]["homes"] or not one["ended"]["ptrace"]] == []
    assert host.run("ls /tmp | grep escaped || true") == ""


@pytest.mark.parametrize("step", ["build", "pre-flight", "command"])
def test_nothing_is_left_of(host: Target, step: str) -> None:
    """A process that forked twice has ended with its step."""
    assert not host.succeeds(f"pgrep -f '^sleep {SLEEPS[step]}'")


def test_a_build_has_an_account_of_its_own_and_no_secret(host: Target) -> None:
    """Neither in its environment, nor in a file that it can read."""
    report = host.run("/srv/spy/current/.venv/bin/python -c 'import report, pathlib; print(pathlib.Path(report.__file__).read_text())'")
    assert "hunter2" not in report
    seen = eval(report)  # what the build wrote is a literal
    assert seen["uid"] not in (0, int(host.run("id -u spy")))
    assert seen["environments"] == []
    assert seen["refused"] == ["/srv/spy/shared", "/srv/spy/current", "/home/ubuntu", "/etc/flaskops/key"]
    assert host.run("find /srv/spy/venvs ! -user root | head") == ""


def test_an_app_that_leaves_a_process_is_removed(host: Target, tmp_path: Path) -> None:
    """Under supervisord nothing else would end it, and userdel rejects an account that runs something."""
    source = write_source(
        tmp_path, {"main.py": f"{SPY}\nimport leave, sys\nif sys.argv[0] != '-':\n    leave.leave({SLEEPS['supervisord']})\n", "leave.py": LEAVE}
    )
    loose = app("loose", source, listen="81", uwsgi_app_manager="supervisord")
    host.converge([loose], playbook="nginx_uwsgi")
    assert host.succeeds(f"pgrep -f '^sleep {SLEEPS['supervisord']}'")
    host.converge([{**loose, "flask_app_state": "absent"}], playbook="nginx_uwsgi")
    assert not host.succeeds("id loose")
    assert not host.succeeds(f"pgrep -f '^sleep {SLEEPS['supervisord']}'")
