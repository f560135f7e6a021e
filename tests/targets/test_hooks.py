"""Commands before and after a release goes live: on which host, with which account and environment they run, and what a failing one stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Play, Target, Unsafe, app, missing, write_source

ADDRESS = "198.18.2.220"
PROBE = (APPS / "probe/main.py").read_text()
SECRET = "s3cret {{ no }} $HOME 'ペン'"
# Notes what it sees in the app's shared data, and ends with the code that it is given.
HOOK = """
import json, os, sys

releases = os.path.dirname(os.path.dirname(os.getcwd()))
root = os.path.dirname(releases)
seen = {
    "words": sys.argv[1:], "cwd": os.getcwd(), "prefix": sys.prefix, "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(),
    "secret": os.environ.get("PASSWORD"), "plain": os.environ.get("PLAIN"), "live": os.path.basename(os.readlink(root + "/current")),
}
with open(root + "/shared/hooks", "a", encoding="utf-8") as notes:
    notes.write(json.dumps(seen) + "\\n")
print("got", os.environ.get("PASSWORD"))
sys.exit(int(os.environ.get("CODE_" + sys.argv[1].upper(), "0")))
"""

NOTE_PHASE = """
import os

with open("instance/phases", "a") as notes:
    notes.write(os.environ["FLASKOPS_PHASE"] + "\\n")
"""
# The app of Flask's own tutorial in few words: a factory, a database in the instance folder, and a command that makes it.
TUTORIAL = f"""{NOTE_PHASE}
import sqlite3

import click
from flask import Flask


def create_app():
    app = Flask(__name__)
    database = os.path.join(app.instance_path, "flaskr.sqlite")

    @app.cli.command("init-db")
    def init_db():
        with sqlite3.connect(database) as connection:
            connection.execute("CREATE TABLE post (title TEXT)")
            connection.execute("INSERT INTO post VALUES ('kept')")
        click.echo("Initialized the database.")

    @app.cli.command("upgrade")
    def upgrade():
        with sqlite3.connect(database) as connection:
            connection.execute("ALTER TABLE post ADD COLUMN author TEXT DEFAULT 'nobody'")

    @app.get("/")
    def index():
        with sqlite3.connect(database) as connection:
            return " by ".join(connection.execute("SELECT title FROM post").fetchone())

    return app
"""


def probe(version: str) -> str:
    """The probe app's code as another version."""
    return PROBE.replace('VERSION = "one"', f'VERSION = "{version}"')


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's code, which the tests change."""
    return write_source(tmp_path_factory.mktemp("shop"), {"main.py": probe("one"), "hook.py": HOOK})


@pytest.fixture(scope="module")
def host(target: Target, source: Path) -> Target:
    """A host with the shop, only in its topology's group, because deploy goes by the groups."""
    groups = yaml.safe_load(target.inventory.read_text())
    target.inventory.write_text(yaml.safe_dump({target.topology: groups[target.topology]}))
    target.converge(shop(source, before_activation=[], after_activation=[]))
    return target


def shop(source: Path, **settings: Any) -> list[dict[str, Any]]:
    """The app with a command before and one after."""
    hooks = {"before_activation": ["python hook.py before"], "after_activation": ["python hook.py after"]}
    return [app("shop", source, **{"secrets": {"PASSWORD": Unsafe(SECRET)}, "environment": {"PLAIN": "yes"}, **hooks, **settings})]


def notes(host: Target) -> list[dict[str, Any]]:
    """What the commands have noted since the last call."""
    lines = host.run("cat /srv/shop/shared/hooks 2>/dev/null || true; rm -f /srv/shop/shared/hooks").splitlines()
    return [json.loads(line) for line in lines]


def test_a_dry_run_shows_the_commands_and_runs_none(host: Target, source: Path) -> None:
    """What would run is shown, and nothing is changed."""
    write_source(source, {"main.py": probe("two")})
    play = host.dry_run(shop(source), playbook="deploy", variables={"flask_app_name": "shop"})
    assert not missing(play.output, ["Would run in the release: python hook.py before", "Would run in the release: python hook.py after"])
    assert notes(host) == []


def test_commands_run_around_the_switch_as_the_app(host: Target, source: Path) -> None:
    """In the new release's code, with its venv, account and whole environment; in the order given, and split without a shell."""
    before, account = host.live("shop"), [int(host.run(f"id -{kind} shop")) for kind in "ug"]
    commands = ["python hook.py before", """python hook.py before "two words" '$HOME' > ;"""]
    play = host.converge(shop(source, before_activation=commands), playbook="deploy", variables={"flask_app_name": "shop"})
    after = host.live("shop")
    seen = notes(host)
    assert after != before and [one["live"] for one in seen] == [before, before, after]
    assert [one["words"] for one in seen] == [["before"], ["before", "two words", "$HOME", ">", ";"], ["after"]]
    for one in seen:
        assert (one["secret"], one["plain"]) == (SECRET, "yes")
        assert one["cwd"] == f"/srv/shop/releases/{after}/code"
        assert one["prefix"] == f"/srv/shop/releases/{after}/.venv"
        assert [one["uid"], one["gid"]] == account and one["groups"] in ([], account[1:])
    assert "got <PASSWORD>" in play.output and "s3cret" not in play.output


def test_a_health_path_may_need_what_a_command_does(host: Target, tmp_path: Path) -> None:
    """The app of Flask's own tutorial, whose pages need `init-db`: it is deployed at the first try. Without the command it is rejected.

    So is a release that needs a migration, while the one before serves. Each time that the app's code runs, it learns for what.
    One app is switched beside its old processes, the other one in its place in Apache; a run that has both ends with the first that is rejected.
    """
    ports = {"beside": 8081, "inside": 8082}
    tutorial = {}
    for name, topology in (("beside", "nginx_gunicorn"), ("inside", "apache_mod_wsgi")):
        source = write_source(tmp_path / name, {"flaskr/__init__.py": TUTORIAL, "instance/.keep": "", "requirements.txt": "flask==3.1.3\n"})
        settings: dict[str, Any] = {"topology": topology, "shared": ["instance"], "listen": str(ports[name]), "requirements": "auto"}
        tutorial[name] = app(name, source, module="flaskr:create_app()", **settings)

    def given(name: str, command: str) -> dict[str, Any]:
        return {**tutorial[name], "flask_app_before_activation": [f"flask --app flaskr {command}"]}

    def rejected(play: Play, name: str, *words: str) -> None:
        assert play.returncode == 2 and not missing(play.output, [f"{name}: ", *words]), play.output

    def migrated(name: str) -> None:
        write_source(tmp_path / name, {"flaskr/__init__.py": TUTORIAL.replace("SELECT title", "SELECT title, author")})

    rejected(host.play([tutorial["beside"]], playbook="site"), "beside", "/ answered 500 INTERNAL SERVER ERROR", "no such table: post")
    play = host.play([given("beside", "init-db"), tutorial["inside"]], playbook="site")
    rejected(play, "inside", "Initialized the database.", "/ answered 500 INTERNAL SERVER ERROR", "no such table: post")
    assert host.get("/", port=ports["beside"]).text == "kept"

    migrated("beside")
    play = host.play([given("inside", "init-db"), tutorial["beside"]], playbook="site")
    rejected(play, "beside", "Initialized the database.", "no such column: author", "keeps serving")
    for name, port in ports.items():
        assert host.get("/", port=port).text == "kept"
        phases = host.run(f"sort -u /srv/{name}/shared/instance/phases").split()
        assert phases == ["command", "preflight", "web"], "an app cannot tell in which one its scheduler may start"

    migrated("inside")
    play = host.play([given("beside", "upgrade"), tutorial["inside"]], playbook="site")
    rejected(play, "inside", "no such column: author", "keeps serving")
    assert [host.get("/", port=port).text for port in ports.values()] == ["kept by nobody", "kept"]
    host.converge([given("inside", "upgrade")], playbook="site")
    assert host.get("/", port=ports["inside"]).text == "kept by nobody"


def test_site_runs_the_commands_too(host: Target, source: Path) -> None:
    """As deploy does, for a new release."""
    write_source(source, {"main.py": probe("three")})
    host.converge(shop(source))
    assert [one["words"] for one in notes(host)] == [["before"], ["after"]]
    second = host.converge(shop(source), "-vvv")
    assert (notes(host), second.round_trips, second.recap["changed"]) == ([], 2, 0), "a host that has the release asks nothing more"


def test_a_failing_command_before_stops_the_release(host: Target, source: Path) -> None:
    """The live release keeps serving, and the new one is marked with the reason, which status shows."""
    live = host.live("shop")
    write_source(source, {"main.py": probe("four")})
    failing = shop(source, environment={"CODE_BEFORE": "3"}, before_activation=["python hook.py before", "true"])
    play = host.play(failing, playbook="deploy", variables={"flask_app_name": "shop"})
    words = ["the command 'python hook.py before' ended with code 3", "got <PASSWORD>", f"Release {live} keeps serving."]
    assert play.returncode == 2 and not missing(play.output, words), play.output
    assert "s3cret" not in play.output
    assert host.live("shop") == live and host.get("/").json()["version"] == "three"
    assert [one["words"] for one in notes(host)] == [["before"]]
    marked = host.run("cat /srv/shop/releases/*/failed.json")
    assert "the command 'python hook.py before' ended with code 3" in marked and "s3cret" not in marked


def test_a_command_that_is_not_there_stops_the_release(host: Target, source: Path) -> None:
    """As one that fails does."""
    live = host.live("shop")
    play = host.play(shop(source, before_activation=["no-such-program now"]))
    words = ["the command 'no-such-program now' ended with code 127", "no-such-program: not found"]
    assert play.returncode == 2 and not missing(play.output, words), play.output
    assert host.live("shop") == live


def test_a_failing_command_after_leaves_the_release_live(host: Target, source: Path) -> None:
    """The run, which starts anew after those that failed, fails and says so; the release serves, and is no failed one.

    Commands run once per release: a second run has nothing to do, by whichever playbook and also with other commands.
    """
    before = host.live("shop")
    failing = shop(source, environment={"CODE_AFTER": "4"})
    play = host.play(failing, playbook="deploy", variables={"flask_app_name": "shop"})
    live = host.live("shop")
    words = ["the command 'python hook.py after' ended with code 4; the release is live already, and stays", f"Release {live} keeps serving."]
    assert play.returncode == 2 and not missing(play.output, words), play.output
    assert live != before and host.get("/").json()["version"] == "four"
    assert not host.succeeds(f"test -e /srv/shop/releases/{live}/failed.json")
    assert [one["words"] for one in notes(host)] == [["before"], ["after"]]
    other = {"flask_app_after_activation": ["python hook.py another"]}
    assert host.converge([{**failing[0], **other}]).recap["changed"] == 0 and notes(host) == []
