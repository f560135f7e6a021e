"""A run that does nothing is no success, although Ansible ends a play without hosts well."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = ROOT / "playbooks"
VERBS = ["site", "deploy", "status", "rollback", "maintenance", "remove", "run", "logs", "restart"]
INVENTORIES = {
    "misspelt": "nginx_gunicron: {hosts: {web1: }}",
    "broken": "nginx_gunicorn: [",
    "empty": "",
    "wrong apps": "nginx_gunicorn: {hosts: {web1: }, vars: {flask_apps: {flask_app_name: shop}}}",
    "right": "{nginx_gunicorn: {hosts: {web1: }}, others: {hosts: {db1: }}}",
}


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_checks_it(verb: str) -> None:
    """Before it does anything."""
    imported = {play["ansible.builtin.import_playbook"] for play in yaml.safe_load((PLAYBOOKS / f"{verb}.yml").read_text()) if "hosts" not in play}
    assert "check_inventory.yml" in imported


@pytest.mark.parametrize(
    ("verb", "inventory", "arguments", "message"),
    [
        ("deploy", "misspelt", [], "Its group nginx_gunicron: did you mean nginx_gunicorn? The topologies: "),
        ("site", "broken", [], "The inventory has no host, or it could not be read"),
        ("status", "empty", [], "The inventory has no host, or it could not be read"),
        *(
            (verb, "wrong apps", [], "flask_apps: got a dictionary, needs a list of apps, each a dictionary.")
            for verb in ("deploy", "site", "nginx_gunicorn")
        ),
        ("rollback", "right", ["--limit", "db1"], "--limit: got 'db1', which leaves no host of a topology. It needs some of: web1"),
    ],
)
def test_a_run_that_would_do_nothing_fails(tmp_path: Path, verb: str, inventory: str, arguments: list[str], message: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORIES[inventory])
    words = [sys.executable, "-m", "ansible", "playbook", "-i", str(path), "-e", "flask_app_name=shop", *arguments, str(PLAYBOOKS / f"{verb}.yml")]
    # a user's configuration, not the checkout's: that rejects an inventory that does not parse
    settings = {"ANSIBLE_CONFIG": str(tmp_path / "none.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections")}
    environment = {**os.environ, **settings}
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout
    assert message in done.stdout


@pytest.mark.parametrize(("variables", "hosts_that_stage_first"), [({}, 0), ({"deploy_serial": 1}, 1)])
def test_all_hosts_stage_first_if_they_switch_in_batches(tmp_path: Path, variables: dict[str, int], hosts_that_stage_first: int) -> None:
    """Also if `deploy_serial` is a variable of the playbook that imports deploy. Within one batch, all hosts stage before one switches anyway."""
    (tmp_path / "hosts.yml").write_text(INVENTORIES["right"])
    own = [{"import_playbook": str(PLAYBOOKS / "deploy.yml"), "vars": {"flask_app_name": "shop", **variables}}]
    (tmp_path / "own.yml").write_text(yaml.safe_dump(own))
    words = [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts.yml"), "--list-hosts", str(tmp_path / "own.yml")]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(tmp_path / "none.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections")}
    shown = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    plays = [play for play in shown.split("\n\n") if ": Host apps" in play]
    assert [re.findall(r"hosts \((\d)\)", play) for play in plays] == [[str(hosts_that_stage_first)], ["1"]], shown
