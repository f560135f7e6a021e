"""The tarball for Galaxy contains what users need, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# What is at the top level, and below it, for users.
TOP = {
    "CHANGELOG.rst", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "SECURITY.md",
    "docs", "inventories", "meta", "playbooks", "plugins", "roles",
}  # fmt: skip
WITHIN = {
    "docs": {
        "day-two.md",
        "real-apps",
        "real-apps.md",
        "facts.yml",
        "getting-started.md",
        "http.md",
        "http.yml",
        "https.md",
        "topologies",
        "troubleshooting.md",
        "which-topology.md",
        "workers-and-jobs.md",
    },
    "inventories": {"aws", "example"},
    "meta": {"bindep.txt", "execution-environment.yml", "runtime.yml"},
    "plugins": {"action", "filter", "lookup", "module_utils", "modules", "plugin_utils"},
    "roles": {role.name for role in ROOT.glob("roles/*")},
}
# Files that editors, Python and the tests leave behind.
LITTER = [
    ".venv/bin/python", ".cache/ssh/id_ed25519", ".pytest_cache/README.md", "build/flaskops-hosting-0.0.1.tar.gz", "plugins/.DS_Store",
    "plugins/modules/__pycache__/release.pyc", "playbooks/apps/flaskapp/__pycache__/flaskapp.pyc", "changelogs/.plugin-cache.yaml",
]  # fmt: skip


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[tarfile.TarInfo]:
    """Everything in the tarball of this checkout, after some work in it."""
    out = tmp_path_factory.mktemp("out")
    checkout = tmp_path_factory.mktemp("work") / "checkout"
    shutil.copytree(ROOT, checkout, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", ".cache", ".pytest_cache", "build"))
    for name in LITTER:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).touch()
    (checkout / ".venv/collections").symlink_to(checkout)
    command: list[str | Path] = ["ansible-galaxy", "collection", "build", "--output-path", out, checkout]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    with tarfile.open(out / f"flaskops-hosting-{version}.tar.gz") as tarball:
        return tarball.getmembers()


def test_nothing_but_what_users_need(members: list[tarfile.TarInfo]) -> None:
    assert {member.name.split("/")[0] for member in members} == TOP
    for directory, expected in WITHIN.items():
        assert {name.split("/")[1] for name in (member.name for member in members) if name.startswith(f"{directory}/")} == expected


def test_only_plain_files_and_directories(members: list[tarfile.TarInfo]) -> None:
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []


def test_no_caches_and_no_hidden_files(members: list[tarfile.TarInfo]) -> None:
    parts = {part for member in members for part in Path(member.name).parts}
    assert [part for part in sorted(parts) if part.startswith(".") or part.endswith((".pyc", ".tar.gz")) or part == "__pycache__"] == []


def test_every_role_and_module_is_in(members: list[tarfile.TarInfo]) -> None:
    names = {member.name for member in members}
    for pattern in ("roles/*/tasks/*.yml", "plugins/**/*.py", "playbooks/*.yml", "inventories/example/*"):
        assert {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)} <= names
