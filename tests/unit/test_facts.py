"""docs/facts.yml is complete, agrees with the fleet's inventory, and docs/topologies shows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FACTS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docs/facts.yml").read_text())
SECTIONS = {"chain", "summary", "apps", "answers", "refused", "listens", "processes", "accounts", "files", "units"}
SECTIONS_OF_SOME = {"sites", "modules", "database"}
KEYS = {
    "apps": ({"root", "account", "module", "mounts"}, set()),
    "answers": ({"port", "path", "type"}, {"method", "status", "body", "json", "has", "served_by"}),
    "refused": ({"port", "paths"}, set()),
    "listens": ({"at", "unit"}, set()),
    "processes": ({"unit", "what", "account", "parent"}, {"count"}),
    "accounts": ({"groups"}, set()),
    "files": ({"path", "owner", "group", "mode"}, set()),
}
TOPOLOGIES = pytest.mark.parametrize("topology", FACTS)


def inventory(name: str) -> dict[str, Any]:
    """A file of the fleet's inventory."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "inventories/docker" / name).read_text())
    return content


def test_the_pages_are_what_the_facts_are(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "dev/docs.d/topologies.py", tmp_path], check=True)
    made, committed = ({path.name: path.read_text() for path in directory.iterdir()} for directory in (tmp_path, ROOT / "docs/topologies"))
    assert set(made) == {f"{topology}.{kind}" for topology in FACTS for kind in ("md", "svg")}
    assert committed == made, "run: make docs"


@TOPOLOGIES
def test_no_section_lacks_or_is_misspelt(topology: str) -> None:
    facts = FACTS[topology]
    assert SECTIONS <= set(facts) <= SECTIONS | SECTIONS_OF_SOME
    for section, (needed, possible) in KEYS.items():
        lines = facts[section].values() if isinstance(facts[section], dict) else facts[section]
        for line in lines:
            assert needed <= set(line) <= needed | possible, line
    for line in facts["answers"]:
        assert len({"body", "json", "has"} & set(line)) == 1, line


@TOPOLOGIES
def test_the_apps_are_the_inventorys(topology: str) -> None:
    given = {
        app["flask_app_name"]: {
            "root": app.get("flask_app_root", f"/srv/{app['flask_app_name']}"),
            "account": app.get("flask_app_user", app["flask_app_name"]),
            "module": app.get("flask_app_module", "main:app"),
            "mounts": [app.get("flask_app_mount", "/"), *app.get("uwsgi_app_mounts", {})],
        }
        for app in inventory("apps.yml")[topology]["vars"]["flask_apps"]
    }
    assert FACTS[topology]["apps"] == given
    assert set(FACTS[topology]["accounts"]) == {app["account"] for app in given.values()}


@TOPOLOGIES
def test_a_unit_starts_with_its_main_process(topology: str) -> None:
    processes = FACTS[topology]["processes"]
    for unit in {line["unit"] for line in processes}:
        first, *others = [line for line in processes if line["unit"] == unit]
        assert (first["parent"], first["count"]) == ("systemd", 1)
        assert {line["parent"] for line in others} <= {first["what"]}
