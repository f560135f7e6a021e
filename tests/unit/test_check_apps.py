"""A mistake in any app of a host is reported before the first of them is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK, TASK = ROOT / "playbooks/hosting.yml", "Check all apps of the host"
SHOP, BLOG = {"flask_app_name": "shop"}, {"flask_app_name": "blog", "flask_app_listen": 81}
# What is given to the second of two apps, and what is wrong with it then.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "requirements": ({"flask_app_requirements": "needs.txt"}, "blog: flask_app_requirements: got 'needs.txt', which is no file in "),
    "static": ({"flask_app_static": {"/static": "style"}}, "blog: flask_app_static: /static is 'style', which is no directory of "),
    "topology": ({"flask_app_topology": "nginx"}, "blog: flask_app_topology: got 'nginx', needs one of "),
    "root": ({"flask_app_root": "/home/me/blog"}, "blog: flask_app_root: got '/home/me/blog', needs "),
    "listen": ({"flask_app_listen": 80}, "blog: flask_app_mount: / on port 80 is the app shop's"),
    "user": ({"flask_app_user": "shop"}, "blog: flask_app_user: 'shop' is the app shop's"),
}
# The apps of each host of the play; a host that is wrong has the name of what is.
HOSTS: dict[str, list[dict[str, Any]]] = {
    "right": [SHOP, BLOG],
    **{name: [SHOP, {**BLOG, **given}] for name, (given, _problem) in WRONG.items()},
    "replaced": [{**SHOP, "flask_app_state": "absent"}, {"flask_app_name": "blog"}],
    "database": [{**SHOP, "flask_app_mount": "shop"}],
}
VARIABLES = {"database": {"mysql_webapp_database": "shop"}}

pytestmark = pytest.mark.xdist_group("check_apps")  # one run for all of them


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one run says is wrong with the apps of each host; each app is the probe of a right one, with what is given."""
    work = tmp_path_factory.mktemp("work")
    (work / "main.py").write_text("app = None\n")
    probe = {"flask_app_source": str(work), "flask_app_requirements": ""}
    hosts = {name: {"flask_apps": [{**probe, **one} for one in apps], **VARIABLES.get(name, {})} for name, apps in HOSTS.items()}
    nobodys = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0}  # the check does not ask it, and what follows ends at once
    (work / "hosts.yml").write_text(yaml.safe_dump({"nginx_gunicorn": {"hosts": hosts, "vars": nobodys}}))
    words = [sys.executable, "-m", "ansible", "playbook", "-i", str(work / "hosts.yml"), str(PLAYBOOK)]
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"), "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    done = subprocess.run(words, env={**os.environ, **settings}, cwd=work, capture_output=True, text=True, check=False)
    (task,) = (one for one in json.loads(done.stdout)["plays"][0]["tasks"] if one["task"]["name"] == TASK)
    return {name: str(result.get("msg", "")) for name, result in task["hosts"].items()}


def test_right_apps_are_taken_without_asking_the_host(found: dict[str, str]) -> None:
    assert found["right"] == ""


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_the_second_app_is_reported_with_its_name(found: dict[str, str], wrong: str) -> None:
    assert found[wrong].startswith(WRONG[wrong][1]) and found[wrong].endswith("\nNothing was changed.")


def test_an_app_that_is_to_go_is_in_nobodys_way(found: dict[str, str]) -> None:
    assert found["replaced"] == ""


def test_a_single_app_is_checked_here_if_its_database_would_come_first(found: dict[str, str]) -> None:
    assert found["database"].startswith("flask_app_mount: got 'shop', needs ")
