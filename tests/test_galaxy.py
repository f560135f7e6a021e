"""What Galaxy says to the tarball that `make build` makes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.tests.suite import ALL_OF_IT

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.lint
def test_galaxy_importer_finds_nothing(tmp_path: Path) -> None:
    """galaxy-importer, with ansible-doc and ansible-lint, finds nothing wrong with the tarball if its dependencies are installed."""
    env = {**os.environ, "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}", "NO_COLOR": "1"}
    if not ALL_OF_IT:
        env["GALAXY_IMPORTER_RUN_ANSIBLE_LINT"] = "no"  # test_lint.py has it, of all files
    subprocess.run(["ansible-galaxy", "collection", "build", "--output-path", tmp_path, ROOT], env=env, check=True, capture_output=True)
    (tarball,) = tmp_path.glob("*.tar.gz")
    # in an empty directory: it writes its result there, and a clone's ansible.cfg is not a user's
    done = subprocess.run(["python", "-m", "galaxy_importer.main", tarball.name], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "Importer processing completed successfully" in said, said
    assert [line for line in said.splitlines() if "WARNING" in line or "ERROR" in line] == []
