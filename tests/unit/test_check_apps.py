"""A mistake in any app of a host is told before the first of them is touched."""

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
PLAYBOOK = [{"hosts": "web1", "gather_facts": False, "tasks": [{"flaskops.hosting.check_apps": {"apps": "{{ flask_apps }}"}}]}]


def check(tmp_path: Path, *apps: dict[str, Any], **variables: Any) -> str:
    """What is wrong with a host's apps; each is the probe of a right one, with what is given."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.py").write_text("app = None\n")
    listed = [{"flask_app_source": str(source), "flask_app_requirements": "", **app} for app in apps]
    inventory = {"nginx_gunicorn": {"hosts": {"web1": {"ansible_host": "192.0.2.1", "flask_apps": listed, **variables}}}}  # which nobody has
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (tmp_path / "play.yml").write_text(yaml.safe_dump(PLAYBOOK))
    words = [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml")]
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"), "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    done = subprocess.run(words, env={**os.environ, **settings}, cwd=tmp_path, capture_output=True, text=True, check=False)
    (task,) = json.loads(done.stdout)["plays"][0]["tasks"]
    return str(task["hosts"]["web1"].get("msg", ""))


def test_right_apps_are_taken_without_asking_the_host(tmp_path: Path) -> None:
    assert check(tmp_path, {"flask_app_name": "shop"}, {"flask_app_name": "blog", "flask_app_listen": 81}) == ""


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"flask_app_requirements": "needs.txt"}, "blog: flask_app_requirements: got 'needs.txt', which is no file in "),
        ({"flask_app_static": {"/static": "style"}}, "blog: flask_app_static: /static is 'style', which is no directory of "),
        ({"flask_app_topology": "nginx"}, "blog: flask_app_topology: got 'nginx', needs one of "),
        ({"flask_app_root": "/home/me/blog"}, "blog: flask_app_root: got '/home/me/blog', needs "),
        ({"flask_app_listen": 80}, "blog: flask_app_mount: / on port 80 is the app shop's"),
        ({"flask_app_user": "shop"}, "blog: flask_app_user: 'shop' is the app shop's"),
    ],
)
def test_what_is_wrong_with_the_second_app_is_told_with_its_name(tmp_path: Path, variables: dict[str, Any], problem: str) -> None:
    found = check(tmp_path, {"flask_app_name": "shop"}, {"flask_app_name": "blog", "flask_app_listen": 81, **variables})
    assert found.startswith(problem) and found.endswith("\nNothing was changed.")


def test_an_app_that_is_to_go_is_in_nobodys_way(tmp_path: Path) -> None:
    assert check(tmp_path, {"flask_app_name": "shop", "flask_app_state": "absent"}, {"flask_app_name": "blog"}) == ""


def test_a_single_app_is_checked_here_if_its_database_would_come_first(tmp_path: Path) -> None:
    wrong = {"flask_app_name": "shop", "flask_app_mount": "shop"}
    assert check(tmp_path, wrong, mysql_webapp_database="shop").startswith("flask_app_mount: got 'shop', needs ")
