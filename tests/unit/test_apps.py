"""The documented apps answer as their documents show."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pymysql
import pytest
from flask import Flask
from flask.testing import FlaskClient

APPS = Path(__file__).resolve().parents[2] / "playbooks/apps"
DATABASE = {
    "DATABASE_HOST": "127.0.0.1",
    "DATABASE_PORT": "3307",
    "DATABASE_NAME": "webapp",
    "DATABASE_USER": "reader",
    "DATABASE_PASSWORD": "p'%{{ ワ",
}


def load(app: str, module: str) -> ModuleType:
    """An app's module, under a unique name."""
    spec = importlib.util.spec_from_file_location(f"documented_{app}".replace("-", "_"), APPS / app / f"{module}.py")
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # Flask looks there for the path of the templates
    spec.loader.exec_module(loaded)
    return loaded


def client(app: str, module: str) -> FlaskClient:
    """A client of an app's WSGI object `app`."""
    wsgi_object = load(app, module).app
    assert isinstance(wsgi_object, Flask)
    return wsgi_object.test_client()


class Cursor:
    """A cursor that answers every query with the same rows."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        """Keep the rows, and record the queries."""
        self.rows = rows
        self.queries: list[Any] = []

    def __enter__(self) -> Cursor:
        """As PyMySQL's."""
        return self

    def __exit__(self, *_: object) -> None:
        """As PyMySQL's."""

    def execute(self, query: str) -> None:
        """Take a query."""
        self.queries.append(query)

    def fetchall(self) -> list[dict[str, Any]]:
        """Give the rows."""
        return self.rows


class Connection(pymysql.connections.Connection):
    """A connection without a server, which records whether it was closed."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        """Connect to nothing."""
        self.closed, self.rows = False, Cursor(rows)

    def cursor(self, cursor: Any = None) -> Any:
        """The only cursor."""
        return self.rows

    def close(self) -> None:
        """Note it."""
        self.closed = True


@pytest.fixture
def without_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that names no database."""
    for name in DATABASE:
        monkeypatch.delenv(name, raising=False)


def test_flaskapp_greets() -> None:
    assert client("flaskapp", "flaskapp").get("/").text == "hello world!"


def test_flaskapp_shows_its_process() -> None:
    reported = client("flaskapp", "flaskapp").get("/process").json
    assert reported
    me = pwd.getpwuid(os.getuid()).pw_name
    assert reported["login"] == me
    assert (reported["getpid"], reported["getppid"]) == (os.getpid(), os.getppid())
    assert (reported["geteuid"], reported["getegid"], reported["getgroups"]) == (os.geteuid(), os.getegid(), os.getgroups())
    assert (reported["getresuid"], reported["getresgid"]) == (list(os.getresuid()), list(os.getresgid()))


@pytest.mark.usefixtures("without_database")
def test_flask_app_without_a_database() -> None:
    answer = client("flask-app", "main").get("/")
    # To the byte: the document's log says that 27 were generated.
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "application/json", b'{"message":"Hello World!"}\n')


def test_flask_app_shows_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in DATABASE.items():
        monkeypatch.setenv(name, value)
    given: dict[str, Any] = {}
    connections = []

    def connect(**arguments: Any) -> Connection:
        given.update(arguments)
        connections.append(Connection([{"id": 1, "name": "ペン🖊", "price": 100}]))
        return connections[-1]

    monkeypatch.setattr(pymysql, "connect", connect)
    asking = client("flask-app", "main")
    answers = [asking.get("/") for _request in range(2)]
    assert [answer.data.decode() for answer in answers] == ['[{"id":1,"name":"ペン🖊","price":100}]\n'] * 2
    assert answers[0].mimetype == "application/json"
    assert [connection.closed for connection in connections] == [True, True]
    assert connections[0].rows.queries == ["SELECT id, name, price FROM product ORDER BY id"]
    assert (given["host"], given["port"], given["database"]) == ("127.0.0.1", 3307, "webapp")
    assert (given["user"], given["password"], given["charset"]) == ("reader", "p'%{{ ワ", "utf8mb4")


@pytest.mark.parametrize("mount", ["", "/your/path"])
def test_every_address_in_basic_flask_is_below_its_mount(mount: str) -> None:
    asking = client("basic_flask", "app")
    under = {"SCRIPT_NAME": mount}
    page = asking.get("/", environ_overrides=under).text
    assert "<h1>Hello from basic_flask</h1>" in page
    assert re.findall(r'href="(/[^"]*)"', page) == [f"{mount}/static/style.css", f"{mount}/about"]
    page = asking.get("/about", environ_overrides=under).text
    assert re.findall(r'href="(/[^"]*)"', page) == [f"{mount}/static/style.css", f"{mount}/"]
    answer = asking.get("/go", environ_overrides=under)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{mount}/about")


def test_blueoctopus_answers() -> None:
    asking = client("blueoctopus", "main")
    assert "<h1>Hello from Flask server</h1>" in asking.get("/").text
    for answer in (asking.get("/api2"), asking.post("/api2")):
        assert (answer.status_code, answer.mimetype) == (201, "application/json")
        assert answer.json == {"server_status": 201, "description": "Hello from python"}


def test_flasksample_greets() -> None:
    assert client("flasksample", "serve").get("/").text == "Hello World!"


def test_all_apps_pin_what_they_need_and_agree() -> None:
    pins: dict[str, set[str]] = {}
    for path in APPS.glob("*/requirements.txt"):
        for line in path.read_text().splitlines():
            name, _equals, version = line.partition("==")
            assert re.fullmatch(r"\d+(\.\d+)+", version), f"{path}: {line} names no version"
            pins.setdefault(name.partition("[")[0], set()).add(version)
    tested = dict(re.findall(r"^(\w+)==([\d.]+)$", (APPS.parents[1] / "requirements.txt").read_text(), re.MULTILINE))
    assert pins == {name: {tested[name]} for name in pins}
