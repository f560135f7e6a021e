"""The linters, as tests: ansible-lint at the `production` profile, and yamllint."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {
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
