"""`ansible-test sanity`, all of it, on the files of this checkout, committed or not, but for those of the tests, which users do not get."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import ansible_test
import pytest

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv/bin"
# ansible-test keeps its virtual environments at home. This one outlives a run, and is the project's own.
HOME = ROOT / ".cache/sanity"
# What is right to skip: a version of Python that this machine has not got.
MISSING_PYTHON = re.compile(r"on Python [\d.]+ because it could not be found")


def copy_checkout(target: Path) -> None:
    """Copy what git would take from the checkout: ansible-test asks for a path that names the collection, and follows no link to one."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():  # not one that was removed and is still in the index
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


def prepare_home() -> None:
    """Give ansible-test this machine's pip configuration, and a pip: it would fetch one from a server that not every network lets through."""
    listed = subprocess.run([VENV / "python", "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
    pairs = [line.partition("=") for line in listed.stdout.splitlines()]
    settings = {name.rpartition(".")[2]: ast.literal_eval(value) for name, _equals, value in pairs}
    config = HOME / ".config/pip/pip.conf"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    cache = HOME / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    pins = Path(ansible_test.__file__).parent / "_internal/python_requirements.py"
    for version in re.findall(r"pip='([\d.]+)'", pins.read_text()):
        command = [str(VENV / "python"), "-m", "pip", "--quiet", "--python"]
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(
            f"import subprocess, sys\nsubprocess.run([*{command}, sys.executable, 'install', 'pip=={version}'], check=True)\n"
        )


def search_path() -> str:
    """The path for commands: an interpreter itself, not a version manager's shim, because that may have none behind it."""
    managed = sorted(Path.home().glob(".pyenv/versions/*/bin"))
    found = [str(VENV), *os.environ["PATH"].split(os.pathsep), *map(str, managed)]
    return os.pathsep.join(directory for directory in found if "shims" not in Path(directory).parts)


@pytest.mark.lint
def test_ansible_test_finds_nothing(tmp_path: Path) -> None:
    """Each sanity test runs, with each Python that is here, and has nothing to say."""
    collection = tmp_path / "ansible_collections/flaskops/hosting"
    copy_checkout(collection)
    prepare_home()
    env = {**os.environ, "HOME": str(HOME), "PATH": search_path()}
    # ruff and mypy read the tests too, which are more than all the rest
    command: list[str | Path] = [VENV / "ansible-test", *"sanity --local --allow-disabled --color no --truncate 0 --exclude tests/".split()]
    done = subprocess.run(command, cwd=collection, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    skipped = [line for line in done.stdout.splitlines() if "Skipping" in line or "Required program" in line]
    assert [line for line in skipped if not MISSING_PYTHON.search(line)] == [], done.stdout
