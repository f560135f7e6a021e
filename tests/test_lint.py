"""The linters, as tests: ruff, mypy, ansible-lint at the `production` profile, yamllint, and Ansible's own reading of the playbooks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {
    "ruff": ["ruff", "check", "--no-fix"],
    "ruff format": ["ruff", "format", "--check", "--diff"],
    "mypy": ["mypy"],
    "ansible-lint": ["ansible-lint", "--profile", "production", "--offline", "--strict"],
    "yamllint": ["yamllint", "--strict", "."],
}


@pytest.mark.lint
@pytest.mark.parametrize("linter", COMMANDS)
def test_clean(linter: str) -> None:
    """The linter has nothing to say."""
    # ansible-lint starts ansible-playbook by name.
    env = {**os.environ, "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}", "NO_COLOR": "1"}
    done = subprocess.run(COMMANDS[linter], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(COMMANDS[linter])}\n{done.stdout}\n{done.stderr}"


@pytest.mark.lint
def test_ansible_reads_the_playbooks_without_a_warning() -> None:
    """None of their syntax is wrong, doubtful or deprecated."""
    playbooks = [ROOT / "site.yml", *sorted(ROOT.glob("playbooks/*.yml"))]
    command = ["ansible-playbook", "--syntax-check", "--inventory", "inventories/docker", "--extra-vars", "flask_app_name=shop"]
    env = {**os.environ, "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}", "ANSIBLE_DEPRECATION_WARNINGS": "1"}
    done = subprocess.run([*command, *playbooks], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout, done.stdout
