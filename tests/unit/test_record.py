"""What a host has noted of apps and releases: read whatever is missing from it, and whoever wrote it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils.record import FORMAT, InstanceFacts, Listen, NotedInstance, Record, ReleaseFacts, Site

SAMPLES = Path(__file__).parent / "records" / "0.1.0"
APPS = sorted(path.stem for path in SAMPLES.glob("*.json") if not path.stem.startswith("release-"))
RELEASES = sorted(path.stem for path in SAMPLES.glob("release-*.json"))
# What today's field is read from in 0.1.0's note, if the names differ.
RECORD_KEYS = {"sites": {"front_role", "site", "site_listen", "site_names"}, "instances": {"listen"}}
RELEASE_KEYS = {"instances": {"manager", "listen", "protocol", "log"}}
SHOP = Record(
    app="shop",
    root="/srv/shop",
    user="shop",
    group="shop",
    topology="apache_gunicorn",
    url="http://shop.example/",
    mounts=["/"],
    sites=[Site("apache", "shop", ["shop.example"], [Listen(), Listen("[::1]", 8443, "https")])],
    instances=[NotedInstance(unit="shop@one.service", listen="127.0.0.1:8080"), NotedInstance("rq")],
    made_root=True,
)
RELEASE = ReleaseFacts(
    "one", "shop", created=1.5, instances=[InstanceFacts(), InstanceFacts("rq", socket="")], files={"main.py": "12"}, shared=["up"]
)
WRONG = [None, 7, "text", [1, {}], {"a": 1}, True]


def sample(name: str) -> dict[str, Any]:
    """A note that 0.1.0 wrote."""
    return json.loads((SAMPLES / f"{name}.json").read_text())


@pytest.mark.parametrize("text", ["80", "127.0.0.1:80", "[::1]:80", "[::]:8080"])
def test_a_listen_is_written_as_it_was_read(text: str) -> None:
    assert str(Listen.parse(text)) == text


@pytest.mark.parametrize("text", ["", "http", "127.0.0.1:", "127.0.0.1"])
def test_a_listen_without_a_port_is_wrong(text: str) -> None:
    with pytest.raises(ValueError):
        Listen.parse(text)


def test_a_record_is_read_as_it_was_noted() -> None:
    assert Record.from_json(json.loads(json.dumps(SHOP.to_json())), "shop") == SHOP
    assert SHOP.to_json()["format"] == FORMAT


def test_a_release_is_read_as_it_was_noted() -> None:
    assert ReleaseFacts.from_json(json.loads(json.dumps(RELEASE.to_json()))) == RELEASE


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("name", [field.name for field in fields(Record) if field.name not in ("app", "format")])
def test_what_is_wrong_in_a_record_is_left_out_and_the_rest_is_read(name: str, wrong: Any) -> None:
    given = SHOP.to_json()
    found = Record.from_json({**given, name: wrong, "unknown": wrong}, "shop")
    assert replace(found, **{name: getattr(SHOP, name)}) == SHOP
    del given[name]
    assert Record.from_json(given, "shop") == replace(SHOP, **{name: getattr(Record(), name)})


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("name", [field.name for field in fields(ReleaseFacts) if field.name not in ("instances", "format")])
def test_what_is_wrong_in_a_release_is_left_out_and_the_rest_is_read(name: str, wrong: Any) -> None:
    found = ReleaseFacts.from_json({**RELEASE.to_json(), name: wrong})
    assert replace(found, **{name: getattr(RELEASE, name)}) == RELEASE


def test_what_is_wrong_inside_a_list_is_left_out() -> None:
    given = {"sites": [{"front": 7, "listens": [{"port": "80"}, None]}], "mounts": ["/", 7], "instances": ["web"]}
    found = Record.from_json(given, "shop")
    assert found.sites == [Site(listens=[Listen(), Listen()])]
    assert found.mounts == ["/"] and found.instances == [NotedInstance()]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "\udcff"], ids=repr)
def test_a_file_that_is_no_record_stops_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "shop.json").write_bytes(text.encode(errors="surrogateescape"))
    (tmp_path / "blog.json").write_text(json.dumps({**SHOP.to_json(), "app": "another"}))
    assert Record.read_all(tmp_path) == {"blog": replace(SHOP, app="blog"), "shop": Record(app="shop")}
    assert Record.read("shop", tmp_path) == Record(app="shop")


def test_a_host_without_records_has_none(tmp_path: Path) -> None:
    assert Record.read_all(tmp_path / "none") == {} and Record.read("shop", tmp_path / "none") is None


@pytest.mark.parametrize(
    ("listens", "names", "question"),
    [
        ([], [], {}),
        ([Listen()], [], {"address": "127.0.0.1:80", "host": "localhost"}),
        ([Listen("0.0.0.0", 81), Listen()], [], {"address": "127.0.0.1:81", "host": "localhost"}),
        ([Listen("[::]", 80)], ["*.example"], {"address": "[::1]:80", "host": "localhost"}),
        ([Listen("", 443, "https"), Listen("192.0.2.1", 80)], ["*.example", "shop.example"], {"address": "192.0.2.1:80", "host": "shop.example"}),
    ],
)
def test_the_host_asks_at_the_first_port_that_speaks_http(listens: list[Listen], names: list[str], question: dict[str, str]) -> None:
    assert replace(SHOP, sites=[Site("nginx", "shop", names, listens)]).question() == question
    assert replace(SHOP, sites=[]).question() == {}


def test_an_apps_own_port_is_its_web_servers() -> None:
    assert SHOP.own_listen() == "127.0.0.1:8080"
    assert replace(SHOP, instances=[NotedInstance("rq", listen="127.0.0.1:9")]).own_listen() == ""


@pytest.mark.parametrize(
    ("name", "front", "site", "listen", "own_listen"),
    [
        ("apache_mod_wsgi", "apache", "wsgi", "80", ""),
        ("apache_uwsgi_mysql", "apache", "flask", "8000", "127.0.0.1:8930"),
        ("nginx_gunicorn", "nginx", "80-shop.example-wildcard.shop.example", "80", "127.0.0.1:8080"),
        ("nginx_uwsgi", "nginx", "80", "80", ""),
    ],
)
def test_a_record_of_the_first_version_is_read(name: str, front: str, site: str, listen: str, own_listen: str) -> None:
    given = sample(name)
    found = Record.from_json(given, given["app"])
    assert found.sites == [Site(front, site, given["site_names"], [Listen.parse(listen)])]
    assert found.question() == given["front"]
    assert found.own_listen() == own_listen
    assert found.made_root and found.format == FORMAT
    for key in ("app", "root", "user", "group", "topology", "url", "mount", "mounts"):
        assert getattr(found, key) == given[key], key


def test_an_app_without_a_front_is_read() -> None:
    found = Record.from_json(sample("dev_server"), "dev")
    assert found.sites == [] and found.question() == {} and found.own_listen() == "127.0.0.1:5000"


def test_data_that_was_left_is_read() -> None:
    found = Record.from_json(sample("removed"), "shop")
    assert (found.topology, found.root, found.user, found.group) == ("removed", "/srv/shop", "wsgi", "wsgi")
    assert found.sites == [] and found.own_listen() == "" and found.made_root


@pytest.mark.parametrize("name", APPS)
def test_a_record_of_the_first_version_may_lack_anything(name: str) -> None:
    whole = Record.from_json(sample(name), "shop")
    for key in sample(name):
        given = sample(name)
        del given[key]
        found = Record.from_json(given, "shop")
        found.question()
        for field in fields(Record):
            if key not in {field.name, *RECORD_KEYS.get(field.name, ())} and not (name == "removed" and key == "modules"):
                assert getattr(found, field.name) == getattr(whole, field.name), f"{field.name} without {key}"


@pytest.mark.parametrize(
    ("name", "web"),
    [
        ("release-systemd", InstanceFacts("web", "systemd", "app.service", "run/app.sock", "http")),
        ("release-supervisord", InstanceFacts("web", "supervisord", "supervisor.conf", "run/app.sock", "uwsgi")),
        ("release-apache", InstanceFacts("web", "apache", "", "", "http", "/var/log/apache2/wsgi-error.log")),
    ],
)
def test_a_release_of_the_first_version_is_read(name: str, web: InstanceFacts) -> None:
    given = sample(name)
    found = ReleaseFacts.from_json(given)
    assert found.instances == [web] and found.web == web
    for key in given.keys() - RELEASE_KEYS["instances"]:
        assert getattr(found, key) == given[key], key


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_of_the_first_version_may_lack_anything(name: str) -> None:
    whole = ReleaseFacts.from_json(sample(name))
    for key in sample(name):
        given = sample(name)
        del given[key]
        found = ReleaseFacts.from_json(given)
        assert found.web.name == "web"
        for field in fields(ReleaseFacts):
            if key not in {field.name, *RELEASE_KEYS.get(field.name, ())}:
                assert getattr(found, field.name) == getattr(whole, field.name), f"{field.name} without {key}"
