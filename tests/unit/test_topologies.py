"""A topology is a row of a table: each place that must know of it is looked at, so that a new row misses none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.plugins.plugin_utils import plan
from ansible_collections.flaskops.hosting.plugins.plugin_utils.settings import known_roles
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TOPOLOGIES, Topology

ROOT = Path(__file__).resolve().parents[2]


def read(path: str) -> str:
    """A file of the project; empty if there is none."""
    return (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).is_file() else ""


def load(path: str) -> Any:
    """What a YAML file holds."""
    return yaml.safe_load(read(path)) or {}


# Each place, with what it must have of a topology, and how to see that it has.
PLACES: dict[str, tuple[str, Callable[[Topology], bool]]] = {
    "plugins/plugin_utils/plan.py, SERVED": ("a function for its server", lambda row: row.server.name in plan.SERVED),
    "plugins/plugin_utils/plan.py, FRONT_FILES": ("a function for its front", lambda row: not row.front or row.front.name in plan.FRONT_FILES),
    "roles/": ("the roles that have its variables", lambda row: set(row.roles) <= set(known_roles())),
    "roles/, the server's files of a release": (
        "the release's name in X-Flaskops-Release, for the health check through the front",
        lambda row: not row.front or bool(re.search(r"X-Flaskops-Release\W+@RELEASE@", read(f"tests/unit/golden/{row.name}.txt"))),
    ),
    "playbooks/NAME.yml": ("a playbook of its group", lambda row: f"hosting_topology: {row.name}\n" in read(f"playbooks/{row.name}.yml")),
    "molecule/NAME/": (
        "a scenario: molecule.yml, converge.yml, and an inventory with the group",
        lambda row: (
            f"playbooks/{row.name}.yml" in read(f"molecule/{row.name}/converge.yml")
            and bool(read(f"molecule/{row.name}/molecule.yml"))
            and row.name in load(f"molecule/{row.name}/inventory.yml")
        ),
    ),
    "molecule/site/inventory.yml": ("a host among those that are converged together", lambda row: row.name in load("molecule/site/inventory.yml")),
    "inventories/docker/hosts.yml": ("a host of the local fleet", lambda row: row.name in load("inventories/docker/hosts.yml")),
    "inventories/docker/apps.yml": (
        "the apps of that host, and the group among the fleet's",
        lambda row: {row.name} <= set(load("inventories/docker/apps.yml")) & set(load("inventories/docker/apps.yml")["fleet"]["children"]),
    ),
    "inventories/aws/group_vars/NAME.yml": ("an app to start with", lambda row: "flask_apps" in load(f"inventories/aws/group_vars/{row.name}.yml")),
    "docs/facts.yml": ("what is true of its host", lambda row: row.name in load("docs/facts.yml")),
    "docs/topologies/NAME.md": ("its page, which `make docs` writes", lambda row: bool(read(f"docs/topologies/{row.name}.md"))),
    "docs/which-topology.md": (
        "a line in the table, and its page's link", lambda row: f"\n| `{row.name}` |" in read("docs/which-topology.md")
        and f"topologies/{row.name}.md" in read("docs/which-topology.md"),
    ),
    "README.md": ("a line in the table", lambda row: f"](docs/topologies/{row.name}.md) |" in read("README.md")),
    "tests/unit/test_golden.py": ("what it puts on a host", lambda row: bool(read(f"tests/unit/golden/{row.name}.txt"))),
    "tests/load/test_load.py": ("releases under load", lambda row: row.for_development or f'"{row.name}"' in read("tests/load/test_load.py")),
    "tests/targets/test_move.py": ("a move to it from another topology", lambda row: f'("{row.name}"' in read("tests/targets/test_move.py")),
    ".github/workflows/ci.yml": (
        "its scenario in the matrix",
        lambda row: any(row.name in re.split(r"[\[\], ]+", listed) for listed in re.findall(r"scenario: (\[.*\])", read(".github/workflows/ci.yml"))),
    ),
    "dev/bench": ("where it answers", lambda row: row.name == "nginx_gunicorn" or f'"{row.name}": (' in read("dev/bench")),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_place_knows_every_topology(topology: str, place: str) -> None:
    needed, has_it = PLACES[place]
    assert has_it(TOPOLOGIES[topology]), f"{place.replace('NAME', topology)} lacks {needed} for the topology {topology}"


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_server_that_is_tied_to_a_front_stands_behind_no_other(topology: str) -> None:
    row = TOPOLOGIES[topology]
    assert row.server.front_name in ("", row.front.name if row.front else "")


def test_a_new_topology_is_missed_everywhere() -> None:
    """Each look can fail: none of the places knows a topology that is only in the table."""
    new = Topology("caddy_granian", TOPOLOGIES["nginx_gunicorn"].server, TOPOLOGIES["nginx_gunicorn"].front)
    known_by_its_parts = ("plugins/plugin_utils/plan.py, SERVED", "plugins/plugin_utils/plan.py, FRONT_FILES", "roles/")
    assert [place for place, (_needed, has_it) in PLACES.items() if has_it(new) and place not in known_by_its_parts] == []


@pytest.mark.parametrize(
    "known",
    [
        set(load("docs/facts.yml")),
        set(load("inventories/docker/hosts.yml")),
        {path.stem for path in ROOT.glob("inventories/aws/group_vars/*.yml")} - {"all", "aws_ec2"},
        {path.stem for path in (ROOT / "docs/topologies").glob("*.md")},
        set(re.findall(r"\]\(docs/topologies/(\w+)\.md\) \|", read("README.md"))),
        set(re.findall(r"^\| `(\w+)` \| \D", read("docs/which-topology.md"), re.MULTILINE)),
    ],
)
def test_no_place_knows_another(known: set[str]) -> None:
    assert known == set(TOPOLOGIES)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_first_app_on_aws_is_set_as_on_the_local_fleet(topology: str) -> None:
    """There it is tested; the fleet's may have more settings, such as documented paths."""
    aws, fleet = load(f"inventories/aws/group_vars/{topology}.yml"), load("inventories/docker/apps.yml")[topology]["vars"]
    tested = {app["flask_app_name"]: app for app in fleet.pop("flask_apps")}
    assert all(app.items() <= tested[app["flask_app_name"]].items() for app in aws.pop("flask_apps"))
    assert aws == fleet


def test_no_list_of_topologies_is_kept_by_hand() -> None:
    """Playbooks and plugins read the table: one topology's name beside another's is a list that the next one misses."""
    listed = []
    for path in [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("playbooks/tasks/*.yml"), *ROOT.glob("roles/**/*.yml"), *ROOT.glob("plugins/**/*.py")]:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if sum(name in line for name in TOPOLOGIES) > 1]
        listed += [f"{path.relative_to(ROOT)}: {line.strip()}" for line in lines if "sample" not in line]
    assert listed == []
