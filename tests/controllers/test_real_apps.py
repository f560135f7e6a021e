"""A user hosts five real apps from docs/real-apps.md, as it is written: each is served, released again and rolled back, and keeps its data."""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path

import pytest
import yaml

from ansible_collections.flaskops.hosting.tests.controllers.controller import Controller
from ansible_collections.flaskops.hosting.tests.documents import Block, sections_of
from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Play, Target

CONTROLLER, HOST = "198.18.3.50", "198.18.3.51"
VARIANT = "ubuntu-like-ready"  # a fresh host gets the same packages in test_getting_started.py
PAGE = sections_of(ROOT / "docs/real-apps.md")
INSTALL = sections_of(ROOT / "docs/getting-started.md")["Install"]
LINES_AT_MOST = 15
OF_GUNICORN = {"gunicorn", "packaging"}
DJANGO = "http://192.0.2.10"
# What a browser sends to log in to Django's admin pages, and to add a group.
ADMIN = f"""set -e
post() {{
    curl --fail --silent --cookie jar --cookie-jar jar {DJANGO}$1 >page
    curl --fail --silent --cookie jar --cookie-jar jar --data csrfmiddlewaretoken=$(awk '/csrftoken/ {{ print $7 }}' jar) --data "$2" {DJANGO}$1
}}
post /admin/login/ "username=ada&password=$(cat ada.password)&next=/admin/"
post /admin/auth/group/add/ name=editors
"""
# What Dash's page sends when somebody adds a note.
ADD = {
    "output": "notes.children",
    "outputs": {"id": "notes", "property": "children"},
    "inputs": [{"id": "add", "property": "n_clicks", "value": 1}],
    "changedPropIds": ["add.n_clicks"],
    "state": [{"id": "text", "property": "value", "value": "TEXT"}],
}


@pytest.fixture(scope="module")
def reader(controller: Controller, host: Target, tarball: Path) -> Controller:
    """A user with Ansible's settings and the collection."""
    controller.install(tarball)
    controller.follow([block for block in INSTALL if block.file])
    return controller


def inventory_of(blocks: list[Block]) -> Block:
    """The inventory of a section."""
    (found,) = (block for block in blocks if block.language == "yaml")
    return found


def follow(reader: Controller, host: Target, section: str, app: str, write: str = "true") -> list[Play]:
    """Follow a section, and type what writes before the second release; that is another one, and the rollback goes back to the first."""
    done, live = [], []
    for block in PAGE[section]:
        if any(".deploy " in command for command in block.commands):
            assert_pinned(reader, host, section, app)
            reader.succeed(write)
        if block.file:
            reader.write(block.file, block.text.encode())
        for command in block.commands:
            done.append(reader.succeed(command))
            live.append(host.live(app))
    first, second, third = (release for release, _commands in groupby(filter(None, live)))
    assert first == third != second
    return done


def assert_pinned(reader: Controller, host: Target, section: str, app: str) -> None:
    """What is installed for the app is what its source names, in the same version."""
    (group,) = yaml.safe_load(inventory_of(PAGE[section]).text).values()
    free = installed(host, app) - pinned(reader.succeed(f"cat {group['vars']['flask_app_source']}/*.txt").output)
    assert {name for name, _version in free} <= OF_GUNICORN, free


def pinned(requirements: str) -> set[tuple[str, str]]:
    """The packages of which requirements want one version, each with it."""
    return {(normal(name), version) for name, version in re.findall(r"^([\w.-]+)(?:\[.*\])?==([^ \n]+)", requirements, re.MULTILINE)}


def installed(host: Target, app: str) -> set[tuple[str, str]]:
    """The packages of the live release, with their versions."""
    directories = host.run(f"cd /srv/{app}/current/.venv/lib/python3*/site-packages && ls -d *.dist-info").split()
    parts = (directory.removesuffix(".dist-info").rpartition("-") for directory in directories)
    return {(normal(name), version) for name, _dash, version in parts}


def normal(name: str) -> str:
    """A package's name as all its spellings are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


@thorough
def test_isso(reader: Controller, host: Target) -> None:
    """A comment is there after the rollback."""
    *_rest, comments = follow(reader, host, "Host isso", "isso")
    assert "<p>First!</p>" in comments.output


@thorough
def test_i_hate_money(reader: Controller, host: Target) -> None:
    """So is a member of a project, which is in the database."""
    *_rest, members = follow(reader, host, "Host I hate money", "ihatemoney")
    assert '"Ada"' in members.output


@thorough
def test_kinto(reader: Controller, host: Target) -> None:
    """So is a record in PostgreSQL."""
    *_rest, record = follow(reader, host, "Host Kinto", "kinto")
    assert '"task":"tea"' in record.output.replace(" ", "")


def test_django(reader: Controller, host: Target) -> None:
    """So is what the account that a command has made writes in the admin pages, which have their styles."""
    reader.write("write.sh", ADMIN.encode())
    follow(reader, host, "Host Django", "mysite", "sh write.sh")
    assert "editors" in reader.succeed(f"curl --fail --cookie jar {DJANGO}/admin/auth/group/").output
    assert "body" in reader.succeed(f"curl --fail {DJANGO}/static/admin/css/base.css").output


@thorough
def test_dash(reader: Controller, host: Target) -> None:
    """So is a note."""
    ask = f"curl --fail --json '{json.dumps(ADD)}' http://192.0.2.10:8085/_dash-update-component"
    follow(reader, host, "Host Dash", "board", ask.replace("TEXT", "tea"))
    assert "tea\\nmilk\\n" in reader.succeed(ask.replace("TEXT", "milk")).output


def test_each_app_has_another_topology_and_a_short_inventory() -> None:
    """Without a file of ours: a source that is a package has its requirements and its own settings alone."""
    topologies = []
    for section in PAGE.values():
        inventory = inventory_of(section)
        assert len(inventory.text.splitlines()) <= LINES_AT_MOST, inventory.text
        topologies += yaml.safe_load(inventory.text)
    assert len(set(topologies)) == len(PAGE) == 5
