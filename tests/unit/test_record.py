"""What a host has noted of apps and releases: read whatever is missing from it, and whoever wrote it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import ownership, staging
from ansible_collections.flaskops.hosting.plugins.module_utils.record import FORMAT, InstanceFacts, Listen, NotedInstance, Record, ReleaseFacts, Site
from ansible_collections.flaskops.hosting.plugins.plugin_utils import plan
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App
from ansible_collections.flaskops.hosting.plugins.plugin_utils.conflicts import conflicts
from ansible_collections.flaskops.hosting.tests.unit.hosts import a_host, app_of

# Files that the code of 0.1.0 has written.
SAMPLES = Path(__file__).parent / "records" / "0.1.0"
APPS = sorted(path.stem for path in SAMPLES.glob("*.json") if not path.stem.startswith("release-"))
RELEASES = sorted(path.stem for path in SAMPLES.glob("release-*.json"))
ABSENT = object()  # for a key that is removed
OTHER = [ABSENT, None, 7, [7]]  # what a key may have instead of its value
OTHER_NAMES = ["absent", "null", "number", "list"]
# The parts of today's site and instance that a key of 0.1.0's note gives.
SITE_PARTS = {"site": "name", "site_listen": "listens", "site_names": "names"}
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
    found: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return found


def test_an_address_of_ipv6_is_read_in_its_usual_form() -> None:
    assert str(Listen.parse("[2001:DB8:0:0::7]:80")) == "[2001:db8::7]:80"
    for wrong in ("[::1", "[shop]:80", "[127.0.0.1]:80"):
        with pytest.raises(ValueError):
            Listen.parse(wrong)


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
    given = {"sites": [{"front": 7, "listens": [{"port": "80", "address": "192.0.2.1"}, None]}, 7], "mounts": ["/", 7], "instances": ["web"]}
    found = Record.from_json(given, "shop")
    assert found.sites == [Site(listens=[Listen("192.0.2.1")])]
    assert found.mounts == ["/"]
    assert found.instances == []


def test_what_is_wrong_inside_a_dictionary_is_left_out() -> None:
    assert ReleaseFacts.from_json({"format": FORMAT, "files": {"main.py": "12", "other.py": None, "third.py": ["12"]}}).files == {"main.py": "12"}


@pytest.mark.parametrize("number", ["1e999", "-Infinity", "NaN", "1" + 400 * "0"])
def test_a_time_that_is_no_time_is_left_out(tmp_path: Path, number: str) -> None:
    (tmp_path / "release.json").write_text(f'{{"format": {FORMAT}, "created": {number}, "health_timeout": {number}, "user": "shop"}}')
    assert ReleaseFacts.read(tmp_path / "release.json") == ReleaseFacts(user="shop")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "\udcff", "\ufeff{}", 200_000 * "["], ids=lambda text: repr(text[:6]))
def test_a_file_that_is_no_record_stops_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "shop.json").write_bytes(text.encode(errors="surrogateescape"))
    (tmp_path / "blog.json").write_text(json.dumps({**SHOP.to_json(), "app": "another"}))
    assert Record.read_all(tmp_path) == {"blog": replace(SHOP, app="blog"), "shop": Record(app="shop")}
    assert Record.read("shop", tmp_path) == Record(app="shop")
    assert ReleaseFacts.read(tmp_path / "shop.json").web == InstanceFacts()


def test_a_host_without_records_has_none(tmp_path: Path) -> None:
    assert Record.read_all(tmp_path / "none") == {} and Record.read("shop", tmp_path / "none") is None


@pytest.mark.parametrize(
    ("listens", "names", "question"),
    [
        ([], [], {}),
        ([Listen()], [], {"address": "127.0.0.1:80", "host": "localhost"}),
        ([Listen("0.0.0.0", 81), Listen()], [], {"address": "127.0.0.1:81", "host": "localhost"}),
        ([Listen("[::]", 80)], ["*.example"], {"address": "[::1]:80", "host": "localhost.example"}),
        ([Listen("", 443, "https"), Listen("192.0.2.1", 80)], ["*.example", "shop.example"], {"address": "192.0.2.1:80", "host": "shop.example"}),
    ],
)
def test_the_host_asks_at_the_first_port_that_speaks_http(listens: list[Listen], names: list[str], question: dict[str, str]) -> None:
    assert replace(SHOP, sites=[Site("nginx", "shop", names, listens)]).question() == {**question, **({"proof": SHOP.root} if question else {})}
    assert replace(SHOP, sites=[]).question() == {}


def test_an_apps_own_port_is_its_web_servers() -> None:
    assert SHOP.own_listen() == "127.0.0.1:8080"
    assert replace(SHOP, instances=[NotedInstance("rq", listen="127.0.0.1:9")]).own_listen() == ""


@pytest.mark.parametrize("text", ["unix:run/app.sock", "text", "127.0.0.1:"])
def test_what_is_no_port_is_not_the_apps_own(text: str) -> None:
    assert replace(SHOP, instances=[NotedInstance(listen=text)]).own_listen() == ""


@pytest.mark.parametrize(
    ("name", "front", "site", "listen", "own_listen"),
    [
        ("apache_mod_wsgi", "apache", "wsgi", "80", ""),
        ("apache_uwsgi_mysql", "apache", "flask", "8000", "127.0.0.1:8930"),
        ("nginx_gunicorn", "nginx", "80-wildcard.shop.example-shop.example", "80", "127.0.0.1:8080"),
        ("nginx_uwsgi", "nginx", "80", "80", ""),
    ],
)
def test_a_record_of_the_first_version_is_read(name: str, front: str, site: str, listen: str, own_listen: str) -> None:
    given = sample(name)
    found = Record.from_json(given, given["app"])
    assert found.sites == [Site(front, site, given["site_names"], [Listen.parse(listen)])]
    assert found.question() == {**given["front"], "proof": given["root"]}
    assert found.own_listen() == own_listen
    assert found.made_root and found.format == FORMAT
    for key in ("app", "root", "user", "group", "topology", "url", "mount", "mounts"):
        assert getattr(found, key) == given[key], key


def test_there_is_a_sample_of_each_topology_and_of_each_manager() -> None:
    assert APPS == ["apache_mod_wsgi", "apache_uwsgi_mysql", "dev_server", "nginx_gunicorn", "nginx_uwsgi", "removed"]
    assert RELEASES == ["release-apache", "release-supervisord", "release-systemd"]


def test_an_app_without_a_front_is_read() -> None:
    found = Record.from_json(sample("dev_server"), "dev")
    assert found.sites == [] and found.question() == {} and found.own_listen() == "127.0.0.1:5000"
    assert found.made_root


def test_data_that_was_left_is_read() -> None:
    found = Record.from_json(sample("removed"), "shop")
    assert (found.topology, found.root, found.user, found.group) == ("removed", "/srv/shop", "shop", "shop")
    assert found.sites == [] and found.own_listen() == "" and found.made_root


def changed(name: str, key: str, other: Any) -> dict[str, Any]:
    """A note that 0.1.0 wrote, with a key removed or with another value."""
    given = {**sample(name), key: other}
    if other is ABSENT:
        del given[key]
    return given


def without(whole: Record, key: str, other: Any) -> Record:
    """A record of 0.1.0 as it must be read if all but one key is right."""
    if key == "front_role":
        return replace(whole, sites=[])
    if key == "site_listen" and other == 7:
        return replace(whole, sites=[replace(site, listens=[Listen(port=7)]) for site in whole.sites])
    if key in SITE_PARTS:
        return replace(whole, sites=[replace(site, **{SITE_PARTS[key]: getattr(Site(), SITE_PARTS[key])}) for site in whole.sites])
    if key == "listen":
        return replace(whole, instances=[NotedInstance()])
    if key == "app" or not hasattr(whole, key):  # the file's name says which app it is; modules, php and front are read no more
        return whole
    return replace(whole, **{key: getattr(Record(), key)})


@pytest.mark.parametrize("other", OTHER, ids=OTHER_NAMES)
@pytest.mark.parametrize("name", APPS)
def test_any_fact_of_a_record_of_the_first_version_may_be_wrong(name: str, other: Any) -> None:
    whole = Record.from_json(sample(name), "shop")
    for key in sample(name):
        assert Record.from_json(changed(name, key, other), "shop") == without(whole, key, other), key


@pytest.fixture(scope="module")
def apps() -> list[App]:
    """Apps to put on a host: one that the record may be of, and a neighbour."""
    return [
        app_of("nginx_gunicorn", nginx_gunicorn_listen="127.0.0.1:8080"),
        app_of("apache_uwsgi_mysql", name="blog", uwsgi_app_listen="127.0.0.1:8930"),
    ]


@pytest.mark.parametrize("other", OTHER, ids=OTHER_NAMES)
@pytest.mark.parametrize("name", APPS)
def test_no_record_of_the_first_version_stops_a_run(apps: list[App], name: str, other: Any) -> None:
    sockets = [{"address": "127.0.0.1", "port": port, "user": "root", "process": "", "unit": ""} for port in (80, 8080, 8930)]
    for key in sample(name):
        given = changed(name, key, other)
        ownership.legacy_owned("shop", given)
        found = Record.from_json(given, "shop")
        host = a_host(apps={"shop": {**found.to_json(), "front": found.question(), "live": ""}}, sockets=sockets)
        for app in apps:
            assert all(isinstance(one, str) for one in conflicts(app, host)), key
            assert plan.plan_firewall(app.name, host, app.open_ports)["allow"]["SSH"] == [22]


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
    for key in given.keys() - {"manager", "listen", "protocol", "log"}:
        assert getattr(found, key) == given[key], key


def release_without(whole: ReleaseFacts, key: str, other: Any) -> ReleaseFacts:
    """A release of 0.1.0 as it must be read if all but one key is right."""
    default: Any = getattr(ReleaseFacts(), key, None)
    if key == "manager":
        return replace(whole, instances=[replace(whole.web, manager="systemd", file="app.service")])
    if key in ("protocol", "log"):
        return replace(whole, instances=[replace(whole.web, **{key: getattr(InstanceFacts(), key)})])
    if key == "listen":  # each manager has its own
        return whole
    if isinstance(default, float) and other == 7:
        default = 7.0
    return replace(whole, **{key: default})


@pytest.mark.parametrize("other", OTHER, ids=OTHER_NAMES)
@pytest.mark.parametrize("name", RELEASES)
def test_any_fact_of_a_release_of_the_first_version_may_be_wrong(name: str, other: Any) -> None:
    whole = ReleaseFacts.from_json(sample(name))
    for key in sample(name):
        found = ReleaseFacts.from_json(changed(name, key, other))
        assert found == release_without(whole, key, other), key
        assert staging.describe(found)[0].startswith("release: ")
