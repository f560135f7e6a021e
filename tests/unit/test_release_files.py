"""What the repository has for contributors, its CI and its releases parses, and names what there is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
GUIDES = [ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", ".github/PULL_REQUEST_TEMPLATE.md")]
TARGETS = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SCENARIOS = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}
VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    """A workflow's jobs by name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(workflow.read_text())["jobs"]
    return found


def steps(workflow: Path) -> list[dict[str, Any]]:
    """The steps of all its jobs."""
    return [step for job in jobs(workflow).values() for step in job["steps"]]


@pytest.mark.parametrize(
    "name",
    [
        ".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/feature.yml", ".github/ISSUE_TEMPLATE/config.yml",
        ".github/workflows/ci.yml", ".github/workflows/release.yml", ".pre-commit-config.yaml", ".devcontainer/devcontainer.json",
        "execution-environment.yml", "meta/execution-environment.yml", "changelogs/config.yaml", "changelogs/changelog.yaml",
    ],
)  # fmt: skip
def test_it_parses(name: str) -> None:
    text = (ROOT / name).read_text()
    assert json.loads(text) if name.endswith(".json") else yaml.safe_load(text)


@pytest.mark.parametrize("file", [*WORKFLOWS, *GUIDES, ROOT / ".devcontainer/devcontainer.json"], ids=lambda path: path.name)
def test_the_commands_that_it_names_are_there(file: Path) -> None:
    text = "\n".join(step.get("run", "") for step in steps(file)) if file in WORKFLOWS else file.read_text()
    named = re.findall(r"(?:^\s*|[`\"])make ([a-z][\w-]*)", text, re.MULTILINE)
    assert {name for name in named if not name.startswith("molecule-")} <= TARGETS
    assert set(re.findall(r"make molecule-(\w+)", text)) <= SCENARIOS
    for path in re.findall(r"(?<![\w/.<-])((?:dev|tests|playbooks|plugins|roles|docs|inventories|changelogs|\.github)/[\w./-]*\w)(?![\w<*])", text):
        assert (ROOT / path).exists() or path == "changelogs/fragments/maintenance-page.yml", path


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_pins_what_it_uses(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}
    for step in steps(workflow):
        assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
        # what others can choose, such as a branch's name, is never part of a script
        assert "${{" not in step.get("run", "")


def test_ci_runs_every_test() -> None:
    """Each test file is one that a job names, or in a directory that one names; `make lint`, `make unit` and the scenarios have the rest."""
    ci = ROOT / ".github/workflows/ci.yml"
    named = set(re.findall(r"(?<!\w)tests/\w+", "\n".join(step.get("run", "") for step in steps(ci))))
    recipes = re.findall(r"pytest (tests/.*)", (ROOT / "Makefile").read_text())
    named |= {path for recipe in recipes for path in recipe.split()} | {"tests/test_molecule.py", "tests/infra", "tests/e2e"}
    found = [str(path.relative_to(ROOT)) for path in ROOT.glob("tests/**/test_*.py")]
    assert [path for path in found if path not in named and str(Path(path).parent) not in named] == []


def test_cis_shards_are_all_of_the_target_tests() -> None:
    job = jobs(ROOT / ".github/workflows/ci.yml")["targets"]
    assert job["strategy"]["matrix"]["shard"] == list(range(1, job["env"]["SHARDS"] + 1))
    (script,) = [step["run"] for step in job["steps"] if "SHARDS" in step.get("run", "")]
    choose = script.splitlines()[0].removesuffix(" >shard")
    found: list[str] = []
    for shard in job["strategy"]["matrix"]["shard"]:
        env = {**os.environ, "SHARD": str(shard), "SHARDS": str(job["env"]["SHARDS"])}
        found += subprocess.run(["bash", "-c", choose], cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout.split()
    assert sorted(found) == sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/targets/test_*.py"))


def test_ci_runs_every_scenario_on_every_distribution() -> None:
    matrix = jobs(ROOT / ".github/workflows/ci.yml")["molecule"]["strategy"]["matrix"]
    assert set(matrix["scenario"]) == SCENARIOS
    assert set(matrix["target"]) == {"ubuntu22.04", "ubuntu24.04", "ubuntu26.04", "debian12", "debian13"}
    offered = re.search(r"^ +(ubuntu-like .*)\) ;;$", (ROOT / "dev/target/build").read_text(), re.MULTILINE)
    assert offered and set(matrix["target"]) <= set(offered[1].split(" | "))


def test_dependencies_have_ranges_and_python_packages_pins() -> None:
    for name, versions in yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"].items():
        assert re.fullmatch(r">=\d+\.\d+\.\d+,<\d+\.\d+\.\d+", versions), name
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert line.startswith("#") or not line or "==" in line, line


def test_this_version_is_ready_to_release_and_no_other() -> None:
    ready = subprocess.run([ROOT / "dev/release-check", f"v{VERSION}"], capture_output=True, text=True, check=False)
    left = [path for path in ROOT.glob("changelogs/fragments/*") if path.suffix in (".yml", ".yaml")]
    # between two releases there may be fragments, and then it says so
    assert ready.returncode == 0 or "these fragments are in no release" in ready.stderr and left, ready.stderr
    other = subprocess.run([ROOT / "dev/release-check", "v99.0.0"], capture_output=True, text=True, check=False)
    assert other.returncode == 1 and "galaxy.yml says version" in other.stderr


def test_the_changelog_is_made_of_its_source(tmp_path: Path) -> None:
    for name in ("changelogs", "plugins"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "galaxy.yml", tmp_path)
    for command in ("lint", "generate"):
        done = subprocess.run(["antsibull-changelog", command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "CHANGELOG.rst").read_text() == (ROOT / "CHANGELOG.rst").read_text()


@pytest.mark.parametrize("role", sorted(ROOT.glob("roles/*")), ids=lambda path: path.name)
def test_a_roles_readme_shows_variables_that_there_are(role: Path) -> None:
    readme = (role / "README.md").read_text()
    assert readme.startswith(f"# flaskops.hosting.{role.name}\n") and f"`ansible-doc -t role flaskops.hosting.{role.name}`" in readme
    for text in re.findall(r"^```yaml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL):
        (play,) = yaml.safe_load(text)
        (used,) = play["roles"]
        assert used["role"] == f"flaskops.hosting.{role.name}"
        for name in used["vars"]:
            (owner,) = [path for path in ROOT.glob("roles/*") if name.startswith(f"{path.name}_")]
            assert name in yaml.safe_load((owner / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
