"""What removing an app takes, and what it must not take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.filter.removal import FilterModule, removal
from ansible_collections.flaskops.hosting.plugins.module_utils import database_use, ownership
from ansible_collections.flaskops.hosting.plugins.module_utils.database_use import apps_that_use, databases_of
from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_plan import PlanError
from ansible_collections.flaskops.hosting.plugins.module_utils.ownership import Owned
from ansible_collections.flaskops.hosting.plugins.module_utils.record import Record
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import environment_file
from ansible_collections.flaskops.hosting.plugins.modules import mysql_database

PASSWORD = "cvNnRSfT8w7Tk1m-aA1"


def found(apps: dict[str, list[str]], *databases: str) -> dict[str, Any]:
    """What the survey has found on a host: its apps, each with the databases that it uses, and the databases."""
    return {"apps": {name: {"root": f"/srv/{name}", "live": "one", "databases": used} for name, used in apps.items()}, "databases": list(databases)}


HOSTS: dict[str, dict[str, Any]] = {
    "web1": {
        "flask_apps": [{"flask_app_name": "shop"}, {"flask_app_name": "planned"}],
        "mysql_webapp_database": "web_app",
        "__remove_host": found({"shop": ["web_app"], "blog": ["web_app", "posts"]}, "web_app", "posts"),
    },
    # the forum has its database on web1
    "web2": {"flask_app_name": "typed", "__remove_host": found({"wiki": ["pages"], "forum": ["posts"]}, "pages")},
}


@pytest.mark.parametrize(
    ("name", "database", "problem"),
    [
        ("shpo", "", "flask_app_name: got 'shpo', needs an app of the inventory or of these hosts: blog, forum, planned, shop, wiki"),
        ("typed", "", "flask_app_name: got 'typed', "),  # the name that was typed is no name of the inventory
        ("", "", "flask_app_name: got '', "),
        ("shop", "web_ap", "remove_database: got 'web_ap', needs the name of a database of the inventory or of these hosts: pages, posts, web_app"),
        ("shop", "True", "remove_database: got 'True', "),
        ("shop", "web_app", "remove_database: got 'web_app', which blog uses on web1; remove that app first, or leave remove_database out"),
        ("blog", "posts", "remove_database: got 'posts', which forum uses on web2; "),
        ("shop", "pages", "remove_database: got 'pages', which wiki uses on web2; "),
    ],
)
def test_what_is_not_there_or_is_in_use_is_rejected(name: str, database: str, problem: str) -> None:
    (said,) = removal(HOSTS, HOSTS, name, database)["problems"]
    assert said.startswith(problem)


@pytest.mark.parametrize(("name", "database"), [("shop", ""), ("planned", ""), ("wiki", "pages")])
def test_what_only_this_app_has_may_go(name: str, database: str) -> None:
    assert removal(HOSTS, HOSTS, name, database)["problems"] == []


def test_what_goes_is_named() -> None:
    assert removal(HOSTS, HOSTS, "wiki", "pages", True)["removed"] == {
        "web1": ["nothing: this host has no app wiki"],
        "web2": ["the app wiki in /srv/wiki, release one", "its data in /srv/wiki/shared goes", "the database pages with its accounts"],
    }
    assert removal(HOSTS, HOSTS, "shop")["removed"]["web1"] == ["the app shop in /srv/shop, release one", "its data in /srv/shop/shared stays"]
    assert FilterModule().filters() == {"removal": removal}


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """An app with a live release on a host that has the databases web_app and posts."""
    monkeypatch.setattr(database_use, "DATABASES", tmp_path / "databases")
    monkeypatch.setattr(ownership, "OWNERS", tmp_path / "owners")
    monkeypatch.setattr(ownership, "RECORDS", tmp_path / "apps")
    (tmp_path / "databases/web_app").mkdir(parents=True)
    for name in ("web_app", "posts"):
        (tmp_path / f"databases/{name}.json").write_text("{}")
    (tmp_path / "databases/web_app/reader.env").write_text(environment_file({"DATABASE_PASSWORD": PASSWORD, "DATABASE_NAME": "web_app"}))
    (tmp_path / "shop/releases/one").mkdir(parents=True)
    (tmp_path / "shop/current").symlink_to("releases/one")
    return Record("shop", str(tmp_path / "shop"))


@pytest.mark.parametrize(
    ("variables", "used"),
    [
        ({"DATABASE_NAME": "web_app"}, ["web_app"]),
        ({"DATABASE_URL": f"mysql://reader:{PASSWORD}@127.0.0.1/other"}, ["web_app"]),
        ({"DATABASE_NAME": "elsewhere"}, ["elsewhere"]),
        ({}, []),
    ],
)
def test_what_an_app_uses_is_in_the_environment_of_its_live_release(record: Record, variables: dict[str, str], used: list[str]) -> None:
    assert databases_of(record) == []
    (Path(record.root) / "current/environment").write_text(environment_file(variables))
    assert databases_of(record) == used


def test_or_in_its_units(record: Record, tmp_path: Path) -> None:
    """PHP pages have a database without any Python."""
    unit = tmp_path / "shop-php.service"
    unit.write_text(f"[Service]\nEnvironmentFile={tmp_path}/databases/posts/writer.env\n")
    (tmp_path / "owners").mkdir()
    (tmp_path / "owners/shop.json").write_text(Owned([str(unit), str(tmp_path / "gone.service")]).to_json())
    assert databases_of(record) == ["posts"]


def test_an_app_that_is_not_live_uses_nothing(record: Record) -> None:
    (Path(record.root) / "current/environment").write_text(environment_file({"DATABASE_NAME": "web_app"}))
    assert apps_that_use("web_app", [record, Record("noted"), Record("gone", "/nowhere")]) == ["shop"]
    (Path(record.root) / "current").unlink()
    assert apps_that_use("web_app", [record]) == []


def test_the_module_itself_takes_no_database_from_a_live_app(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever playbook calls it; an app that leaves in the same run, or in a dry run would leave, does not count."""
    (Path(record.root) / "current/environment").write_text(environment_file({"DATABASE_NAME": "web_app"}))
    noted = {"shop": Record.from_json(json.loads(json.dumps(record.to_json())), "shop")}
    monkeypatch.setattr(Record, "read_all", lambda: noted)
    with pytest.raises(PlanError, match="database: got 'web_app', which shop uses on this host; remove that app first, or keep the database"):
        mysql_database.reject_used("web_app", [])
    mysql_database.reject_used("web_app", ["shop"])
    mysql_database.reject_used("posts", [])
