"""A secret reaches the app's process as it was, and nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.awkward import MARK, SECRETS, WATCH, as_given, leaks
from ansible_collections.flaskops.hosting.tests.targets.harness import Play, Target, app

ADDRESS = "198.18.2.30"
FROM_CONTROLLER = f"{MARK} from the controller's environment {{{{ not a template }}}}"
ENVIRONMENT = {"SHOP_LOOKED_UP": FROM_CONTROLLER}
OTHER = f"{MARK} of the other app"


def shop(**changed: str) -> dict[str, Any]:
    """The app with all secrets, one of them from the controller's environment."""
    return app("shop", secrets={**as_given({**SECRETS, **changed}), "LOOKED_UP": "{{ lookup('env', 'SHOP_LOOKED_UP') }}"})


def other() -> dict[str, Any]:
    """Another app on the same host, with a secret of its own."""
    return app("other", secrets={"TOKEN": OTHER}, environment={"PLAIN": "seen by all"}, listen="81")


@pytest.fixture(scope="module")
def deployed(target: Target) -> Play:
    """The verbose run that put both apps on the host, while somebody watched every process's arguments."""
    target.run("cat >/root/watch.py && systemd-run --quiet --unit=watch python3 /root/watch.py", stdin=WATCH)
    play = target.converge([shop(), other()], "-vvv", "--diff", environment=ENVIRONMENT)
    target.run("systemctl stop watch")
    return play


def test_every_byte_arrives(target: Target, deployed: Play) -> None:
    """The app's own view of its environment, byte for byte."""
    seen = target.get("/environment").json()
    wanted = {**SECRETS, "LOOKED_UP": FROM_CONTROLLER}
    assert {name: bytes.fromhex(seen[name]).decode() for name in wanted} == wanted


def test_not_in_output(deployed: Play) -> None:
    """Not at the highest verbosity that users are asked for, not in a diff, not encoded."""
    assert leaks(deployed.output) == []
    assert "variable: QUOTES (" in deployed.output and "module_args:" in deployed.output, "this output would show nothing anyway"


def test_not_in_arguments_of_processes(target: Target, deployed: Play) -> None:
    """Of none that ran while it was deployed."""
    seen = target.run("cat /root/arguments")
    assert ".venv/bin/gunicorn --config" in seen and "uv pip install" in seen
    assert leaks(seen) == []


def test_not_in_logs(target: Target, deployed: Play) -> None:
    """Neither the journal nor a log file has it."""
    journal = target.run("journalctl --no-pager --output=export")
    assert "gunicorn" in journal
    assert leaks(journal) == []
    assert target.run(f"grep -rlF -e '{MARK}' /var/log || true") == ""


def test_only_root_reads_it_on_disk(target: Target, deployed: Play) -> None:
    """The environment's file is the only file that holds it, and only root can read it."""
    found = target.run(f"grep -rlsF -e '{MARK}' /etc /home /opt /root /srv /tmp /usr/local /var || true").split()
    assert sorted(found) == sorted(target.run("ls /srv/*/releases/*/environment").split())
    for path in found:
        assert target.run(f"stat -c '%a %U %G' {path}") == "600 root root"
    readable = target.run("find / -xdev -name environment -path '/srv/*' -perm /077")
    assert readable == ""


def test_other_app_cannot_read_it(target: Target, deployed: Play) -> None:
    """Neither from the file nor from the process that holds it."""
    environment = f"/srv/shop/releases/{target.live('shop')}/environment"
    pid = target.get("/who").json()["pid"]
    assert target.get(f"/read?path={environment}", port=81).json() == {"refused": "PermissionError", "errno": 13}
    assert "refused" in target.get(f"/read?path=/proc/{pid}/environ", port=81).json()
    assert set(target.get("/environment").json()) & {"TOKEN", "PLAIN"} == set()
    assert not target.succeeds(f"setpriv --reuid=other --regid=other --clear-groups cat /proc/{pid}/environ")
    # nor can it read its own file: the process has what it needs
    assert target.get(f"/read?path={environment}").json() == {"refused": "PermissionError", "errno": 13}


@pytest.fixture(scope="module")
def first(target: Target, deployed: Play) -> str:
    """The shop's release before a secret is changed."""
    return target.live("shop")


def test_changed_secret_is_a_new_release_of_the_same_build(target: Target, first: str) -> None:
    """Its diff names the secret, without its value; it goes live like new code does, and builds no venv."""
    venvs = target.run("stat -c '%n %i %Y' /srv/shop/venvs/*")
    changed = f"{MARK} changed"
    play = target.converge([shop(QUOTES=changed)], "--diff", environment=ENVIRONMENT)
    assert "variable: QUOTES (" in play.output and leaks(play.output) == []
    after = target.live("shop")
    assert after != first and after.partition("-")[0] == first.partition("-")[0]
    assert bytes.fromhex(target.get("/environment").json()["QUOTES"]) == changed.encode()
    assert target.run("stat -c '%n %i %Y' /srv/shop/venvs/*") == venvs


def test_release_name_is_keyed_by_the_host(target: Target, deployed: Play) -> None:
    """With another key the same secrets give another name, so nobody can try out secrets against a name."""
    before = target.live("other")
    target.run("mv /etc/flaskops/key /etc/flaskops/key.kept")
    target.converge([other()])
    after = target.live("other")
    target.run("mv /etc/flaskops/key.kept /etc/flaskops/key")
    assert target.run("stat -c '%a %U' /etc/flaskops/key") == "600 root"
    assert after.split("-")[0] == before.split("-")[0] and after != before


def test_app_that_prints_its_secret_when_it_fails(target: Target, first: str, tmp_path: Path) -> None:
    """The message of a failed pre-flight shows the secret's name in its place, and so does the mark on disk.

    Before it in that run, the shop gets its first secret back, and finds its old release.
    """
    (tmp_path / "main.py").write_text("import os\napp = None\nraise RuntimeError('cannot log in with ' + os.environ['TOKEN'])\n")
    play = target.play([shop(), {**other(), "flask_app_source": str(tmp_path)}], "-vvv", environment=ENVIRONMENT)
    assert play.returncode == 2 and target.live("shop") == first
    assert "cannot log in with <TOKEN>" in play.output
    assert leaks(play.output) == []
    marks = target.run("cat /srv/other/releases/*/failed.json")
    assert "cannot log in with <TOKEN>" in json.loads(marks)["reason"] and leaks(marks) == []
