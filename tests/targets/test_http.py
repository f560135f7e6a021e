"""Each request of docs/http.yml has the result that it says, in each topology, on a host as a run leaves it."""

from __future__ import annotations

import gzip
import json
import shutil
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.authority import Authority
from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, NewTarget, Target, app, write_source
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
STATIC = {
    "style.css": STYLE, ".env": b"SECRET=1", "x.gz": b"x", "x.br": b"x",
    "app.js": b"plain", "app.js.gz": gzip.compress(b"small"), "app.js.br": b"\x0b\x02\x80small\x03",
}  # fmt: skip
# A limit that is short enough to be waited for.
TIMEOUT = 5
# Ports by front and scheme; and one from which the host passes on to the first of them by IPv6, which containers do not have between them.
PORTS = {"nginx": {"http": 80, "https": 443, "IPv6": 2080}, "apache": {"http": 8080, "https": 8443, "IPv6": 2081}}
RELAY = (
    "systemd-run --quiet --unit=relay-{listen} --socket-property=ListenStream={listen} /lib/systemd/systemd-socket-proxyd ::1:{port}"
    " && ufw allow {listen}/tcp"
)
# Files of an app that say what a row happens in.
STATES = {"closed": "maintenance.html", "out": "out-of-balancer"}
ROWS = {
    f"{section['title']}: {row.get('what', '')} {row['send']} {number}": row
    for section in TABLE["sections"]
    for number, row in enumerate(section["rows"])
}


def port_of(name: str, way: str) -> int:
    """The port of an app's front, by scheme, or to ask it by IPv6."""
    return PORTS[SETTINGS[name]["topology"].partition("_")[0]][way]


def place_of(name: str, way: str = "http", trust: ssl.SSLContext | None = None) -> Place:
    """Where an app is."""
    settings = SETTINGS[name]
    label = settings["topology"] + (" (HTTP)" if "uwsgi_app_protocol" in settings else "")
    return Place(ADDRESS, port_of(name, way), f"{name}.example", settings.get("mount", ""), label, trust)


def more_names(name: str) -> list[str]:
    """A long name and one in another script that the app has too."""
    return [f"{name}.{'x' * 63}.{'y' * 63}.{'z' * 63}.example", f"{name}.ペン.example"]


def punycode(name: str) -> str:
    """A name as a browser sends it."""
    return name.encode("idna").decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that visitors trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def host(new_target: NewTarget, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A host with an app of each kind of server and protocol behind each front, by HTTP and HTTPS."""
    source = write_source(Path(shutil.copytree(APPS / "http", tmp_path_factory.mktemp("source") / "http")) / "static", STATIC).parent
    target = new_target(ADDRESS, "ubuntu-like-ready")
    target.turn_on_ipv6()
    names = {name: [place_of(name).host, *more_names(name)] for name in SETTINGS}
    certificate, key = authority.give(*(punycode(one) for some in names.values() for one in some))
    tls = {"tls": "files", "tls_certificate": str(certificate), "tls_key": str(key), "tls_redirect": False}
    common = {"static": {"/static": "static"}, "timeout": TIMEOUT, "health_path": "/up?deep=1", "balancer_path": "/check", **tls}
    apps = [
        app(
            name,
            source,
            server_names=names[name],
            listen=[str(port_of(name, "http"))],
            https_listen=[str(port_of(name, "https"))],
            group=name,
            **common,
            **settings,
        )
        for name, settings in SETTINGS.items()
    ]
    target.converge(apps, playbook="site")
    for ports in PORTS.values():
        target.run(RELAY.format(listen=ports["IPv6"], port=ports["http"]))
    return target


@pytest.fixture(scope="module")
def places(host: Target, authority: Authority) -> list[Place]:
    """Where the apps are by HTTP and HTTPS, with the ETag that each front has given a file."""
    trust = ssl.create_default_context(cafile=authority.root)
    found = [place_of(name, *way) for name in SETTINGS for way in (("http", None), ("https", trust))]
    client = host.run("ip route show default").split()[2]
    return [replace(one, words={"client": client, "etag": send(one, {"send": "GET /static/style.css"}).headers["etag"]}) for one in found]


@pytest.fixture
def state(host: Target, row: dict[str, Any]) -> Iterator[None]:
    """What the row happens in."""
    files = " ".join(f"/srv/{name}/{STATES[one]}" for one in row.get("while", []) for name in SETTINGS)
    if files:
        host.run(f"echo closed | tee {files}")
    yield
    if files:
        host.run(f"rm {files}")


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_request_has_its_result_in_each_topology(places: list[Place], state: None, row: dict[str, Any]) -> None:
    """By each scheme; all at once, because some rows take seconds."""
    asked = [place_of(name, "IPv6") for name in SETTINGS] if row.get("over") == "IPv6" else places
    with ThreadPoolExecutor(len(asked)) as pool:
        found = pool.map(lambda place: list(broken(place, row)), asked)
    assert {f"{one.scheme} {one.host}": sentences for one, sentences in zip(asked, found, strict=True) if sentences} == {}


@pytest.mark.parametrize("name", ["apache-uwsgi", "apache-uwsgi-http"])
def test_an_upload_goes_on_while_other_requests_end(host: Target, name: str) -> None:
    """In another thread of its process: uWSGI's limit for a request, `harakiri`, is one for all threads of a process, and ended it at once."""
    place, piece = place_of(name), b"x" * 100_000
    with place.connect() as upload:
        head = f"POST {place.mount}/unread HTTP/1.1\r\nHost: {place.host}\r\nContent-Length: {4 * len(piece)}\r\n\r\n"
        upload.sendall(head.encode())
        for _piece in range(4):
            for _request in range(8):  # some of them in its process
                assert send(place, {"send": "GET /echo"}).status == 200
            upload.sendall(piece)
            time.sleep(1.2)  # uWSGI looks at its limits once in a second
        assert upload.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("name", [name for name in SETTINGS if "mount" in SETTINGS[name]])
def test_a_mount_without_its_slash_is_completed(host: Target, name: str) -> None:
    """With its query."""
    outside = replace(place_of(name), mount="")
    reply = send(outside, {"send": "GET /shop?a=%20b"})
    assert reply.status == 308
    assert reply.headers["location"].removeprefix(f"http://{outside.host}").removeprefix(":8080") == "/shop/?a=%20b"
    assert send(outside, {"send": "GET /shopping"}).status == 404


@pytest.mark.parametrize("name", SETTINGS)
def test_names_of_any_length_and_script_are_the_apps(host: Target, name: str) -> None:
    """A browser sends the second one in punycode."""
    long, other = more_names(name)
    for asked in (long, long.upper(), punycode(other)):
        reply = send(place_of(name), {"send": "GET /echo", "headers": {"Host": asked}})
        assert (reply.status, json.loads(reply.body)["HTTP_HOST"].lower()) == (200, asked.lower())
