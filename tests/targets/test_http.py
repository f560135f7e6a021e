"""Each request of docs/http.yml has the result that it says, in each topology, on a host as a run leaves it."""

from __future__ import annotations

import gzip
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, NewTarget, Target, app
from ansible_collections.flaskops.hosting.tests.targets.http_table import TABLE, Place, broken, send

ADDRESS = "198.18.2.102"
HTTP = {"uwsgi_app_protocol": "http"}
SETTINGS: dict[str, dict[str, Any]] = {
    "gunicorn": {"topology": "nginx_gunicorn"},
    "uwsgi": {"topology": "nginx_uwsgi", "mount": "/shop"},
    "uwsgi-http": {"topology": "nginx_uwsgi", **HTTP},
    "wsgi": {"topology": "apache_mod_wsgi"},
    "apache-gunicorn": {"topology": "apache_gunicorn", "mount": "/shop"},
    "apache-uwsgi": {"topology": "apache_uwsgi_mysql"},
    "apache-uwsgi-http": {"topology": "apache_uwsgi_mysql", "mount": "/shop", **HTTP},
}
STYLE = b"body { color: navy; }\n" * 200
# A limit that is short enough to be waited for.
TIMEOUT = 5
ROWS = {
    f"{section['title']}: {row.get('what', '')} {row['send']} {number}": row
    for section in TABLE["sections"]
    for number, row in enumerate(section["rows"])
}


def place_of(name: str) -> Place:
    """Where an app is."""
    settings = SETTINGS[name]
    port = 80 if settings["topology"].startswith("nginx") else 8080
    label = settings["topology"] + (" (HTTP)" if "uwsgi_app_protocol" in settings else "")
    return Place(ADDRESS, port, f"{name}.example", settings.get("mount", ""), label)


def more_names(name: str) -> list[str]:
    """A long name and one in another script that the app has too."""
    return [f"{name}.{'x' * 63}.{'y' * 63}.{'z' * 63}.example", f"{name}.ペン.example"]


@pytest.fixture(scope="module")
def host(new_target: NewTarget, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A host with an app of each kind of server and protocol behind each front."""
    source = Path(shutil.copytree(APPS / "http", tmp_path_factory.mktemp("source") / "http"))
    static = source / "static"
    static.mkdir()
    for name, content in {"style.css": STYLE, ".env": b"SECRET=1", "app.js": b"plain", "app.js.gz": gzip.compress(b"small"), "x.gz": b"x"}.items():
        (static / name).write_bytes(content)
    target = new_target(ADDRESS)
    common = {"static": {"/static": "static"}, "timeout": TIMEOUT}
    apps = [
        app(name, source, server_names=[place_of(name).host, *more_names(name)], listen=[str(place_of(name).port)], group=name, **common, **settings)
        for name, settings in SETTINGS.items()
    ]
    target.converge(apps, playbook="site")
    return target


@pytest.fixture(scope="module")
def places(host: Target) -> dict[str, Place]:
    """Where the apps are, with the ETag that each front has given a file."""
    found = {name: place_of(name) for name in SETTINGS}
    return {name: replace(one, words={"etag": send(one, {"send": "GET /static/style.css"}).headers["etag"]}) for name, one in found.items()}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_request_has_its_result_in_each_topology(places: dict[str, Place], row: dict[str, Any]) -> None:
    """The topologies at once, because some rows take seconds."""
    with ThreadPoolExecutor(len(places)) as pool:
        found = pool.map(lambda place: list(broken(place, row)), places.values())
    assert {name: sentences for name, sentences in zip(places, found, strict=True) if sentences} == {}


@pytest.mark.parametrize("name", [name for name in SETTINGS if "mount" in SETTINGS[name]])
def test_a_mount_without_its_slash_is_completed(places: dict[str, Place], name: str) -> None:
    """With its query."""
    outside = replace(places[name], mount="")
    reply = send(outside, {"send": "GET /shop?a=%20b"})
    assert reply.status == 308
    assert reply.headers["location"].removeprefix(f"http://{outside.host}").removeprefix(":8080") == "/shop/?a=%20b"
    assert send(outside, {"send": "GET /shopping"}).status == 404


@pytest.mark.parametrize("name", SETTINGS)
def test_names_of_any_length_and_script_are_the_apps(places: dict[str, Place], name: str) -> None:
    """A browser sends the second one in punycode."""
    long, other = more_names(name)
    for asked in (long, long.upper(), other.encode("idna").decode()):
        reply = send(places[name], {"send": "GET /echo", "headers": {"Host": asked}})
        assert (reply.status, json.loads(reply.body)["HTTP_HOST"].lower()) == (200, asked.lower())
