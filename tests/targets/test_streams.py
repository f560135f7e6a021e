"""Connections that last: WebSockets, and large files that neither fill memory nor a disk, behind both fronts."""

from __future__ import annotations

import http.client
import itertools
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import ALL_OF_IT
from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, PLAY_SECONDS, NewTarget, Target, app
from ansible_collections.flaskops.hosting.tests.targets.websockets import GOING_AWAY, WebSocket

ADDRESS = "198.18.2.103"
MEBIBYTE = 1 << 20
# MiB; of what has been read of a file, a process must keep far less
LARGE = 1024 if ALL_OF_IT else 192
LITTLE = 96 * MEBIBYTE  # of memory, bytes
GTHREAD = {"nginx_gunicorn_worker_class": "gthread", "nginx_gunicorn_threads": 8, "nginx_gunicorn_workers": 1, "module": "main:plain"}
GEVENT = {"nginx_gunicorn_worker_class": "gevent", "nginx_gunicorn_workers": 1, "module": "rooms:app"}
ALL: dict[str, dict[str, Any]] = {
    "threads": {"topology": "nginx_gunicorn", "mount": "/chat", **GTHREAD},
    "green": {"topology": "nginx_gunicorn", **GEVENT},
    "uwsgi": {"topology": "nginx_uwsgi", "module": "main:plain"},
    "apache-threads": {"topology": "apache_gunicorn", "mount": "/chat", **GTHREAD},
    "apache-green": {"topology": "apache_gunicorn", **GEVENT},
    "apache-uwsgi": {"topology": "apache_uwsgi_mysql", "module": "main:plain"},
    "wsgi": {"topology": "apache_mod_wsgi", "module": "main:plain"},
}
# each server once, and each front
SETTINGS = {name: settings for name, settings in ALL.items() if ALL_OF_IT or name in ("threads", "uwsgi", "apache-green", "wsgi")}
WITH_WEBSOCKETS = [name for name in SETTINGS if name.endswith(("threads", "green"))]


def port_of(name: str) -> int:
    """The port of the app's front."""
    return 80 if SETTINGS[name]["topology"].startswith("nginx") else 8080


def mount_of(name: str) -> str:
    """The app's mount without a slash at its end."""
    return str(SETTINGS[name].get("mount", ""))


def settings_of(name: str, source: Path) -> dict[str, Any]:
    """The app's variables."""
    common = {
        "server_names": [f"{name}.example"],
        "listen": [str(port_of(name))],
        "group": name,
        "max_body": 0,
        "trusted_proxies": ["127.0.0.1"],
        "requirements": "requirements.txt",
    }
    return app(name, source, **common, **SETTINGS[name])


@pytest.fixture(scope="module")
def host(new_target: NewTarget) -> Target:
    """A host with all of them."""
    target = new_target(ADDRESS)
    target.converge([settings_of(name, APPS / "streams") for name in SETTINGS], playbook="site")
    return target


def opened(name: str, path: str, site: str = "same-origin") -> WebSocket:
    """A WebSocket to the app."""
    return WebSocket(ADDRESS, port_of(name), f"{name}.example", f"{mount_of(name)}{path}", site)


def entered(name: str) -> WebSocket:
    """A WebSocket of Socket.IO to the app, after what both sides say first."""
    found = opened(name, "/socket.io/?EIO=4&transport=websocket")
    assert str(found.receive()).startswith("0{")
    found.send("40")
    assert str(found.receive()).startswith("40{")
    return found


@pytest.mark.parametrize("site", ["same-origin", "cross-site"])
@pytest.mark.parametrize("name", WITH_WEBSOCKETS)
def test_a_websocket_passes(host: Target, name: str, site: str) -> None:
    """In both directions, and several times."""
    with opened(name, "/websocket", site) as chat:
        for text in ("hello", "ペン"):
            chat.send(text)
            assert chat.receive() == f"one {text}"


@pytest.mark.parametrize("name", [name for name in WITH_WEBSOCKETS if "green" in name])
def test_socketio_passes(host: Target, name: str) -> None:
    """It compares the page's origin with the host that the app gets."""
    with entered(name) as rooms:
        rooms.send('42["say","hello"]')
        assert rooms.receive() == '42["said","one hello"]'


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in WITH_WEBSOCKETS])
def test_where_none_can_be_held_open_none_is(host: Target, name: str) -> None:
    """The browser gets this answer at once."""
    with pytest.raises(ConnectionError):
        opened(name, "/websocket")


def asked(name: str, method: str, path: str, body: Any = None, length: int = 0) -> http.client.HTTPResponse:
    """The beginning of an answer."""
    connection = http.client.HTTPConnection(ADDRESS, port_of(name), timeout=60)
    headers = {"Host": f"{name}.example", **({"Content-Length": str(length)} if length else {})}
    connection.request(method, f"{mount_of(name)}{path}", body=body, headers=headers)
    return connection.getresponse()


def memory_of_fronts(host: Target) -> int:
    """The most memory, in bytes, that a process of a web server has had."""
    lines = host.run("for one in $(pgrep '^(nginx|apache2)$'); do grep VmHWM /proc/$one/status; done")
    return max(int(line.split()[1]) << 10 for line in lines.splitlines())


@pytest.mark.parametrize("name", SETTINGS)
def test_a_large_upload_is_not_kept(host: Target, name: str) -> None:
    """The app reads it as it comes: it is in no memory, and in no file of the server's, unless that is uWSGI, whose file is on the app's disk."""
    piece = bytes(MEBIBYTE)
    answer = asked(name, "POST", "/upload", itertools.repeat(piece, LARGE), LARGE * MEBIBYTE)
    shown = json.loads(answer.read())
    assert shown["size"] == LARGE * MEBIBYTE
    assert shown["kept"] == ([f"/srv/{name}/releases/{host.live(name)}/run"] if "uwsgi" in name else [])
    assert max(shown["memory"], memory_of_fronts(host)) < LITTLE


@pytest.mark.parametrize("name", SETTINGS)
def test_a_large_download_is_not_kept(host: Target, name: str) -> None:
    """The client gets it with its length, and the server's memory stays small."""
    answer = asked(name, "GET", f"/download?mebibytes={LARGE}")
    assert answer.getheader("Content-Length") == str(LARGE * MEBIBYTE)
    size = 0
    while piece := answer.read(MEBIBYTE):
        size += len(piece)
    assert size == LARGE * MEBIBYTE
    assert max(json.loads(asked(name, "GET", "/memory").read())["memory"], memory_of_fronts(host)) < LITTLE


@pytest.mark.parametrize("name", SETTINGS)
def test_flask_sees_the_visitor_without_help(host: Target, name: str) -> None:
    """Without Werkzeug's ProxyFix."""
    client = host.run("ip route show default | cut -d' ' -f3")
    shown = json.loads(asked(name, "GET", "/who").read())
    assert shown == {"remote_addr": client, "is_secure": False, "host": f"{name}.example", "url_root": f"http://{name}.example{mount_of(name)}/"}


@pytest.mark.parametrize("name", SETTINGS)
def test_flask_sees_the_visitor_of_a_trusted_balancer(host: Target, name: str) -> None:
    """One that ends TLS, as the host itself is here."""
    headers = {"Host": f"{name}.example", "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"}
    url = f"http://127.0.0.1:{port_of(name)}{mount_of(name)}/who"
    script = f"import urllib.request as r; print(r.urlopen(r.Request({url!r}, headers={headers!r}), timeout=10).read().decode())"
    shown = json.loads(host.run("python3 -", stdin=script))
    root = f"https://{name}.example{mount_of(name)}/"
    assert shown == {"remote_addr": "203.0.113.7", "is_secure": True, "host": f"{name}.example", "url_root": root}


def until_closed(chat: WebSocket) -> str | int:
    """What a browser gets that closes its side as soon as it is asked to; the server would wait for it."""
    chat.connection.settimeout(PLAY_SECONDS)
    with chat:
        return chat.receive()


def test_a_switch_tells_websockets_to_come_again(host: Target, tmp_path: Path) -> None:
    """They are closed as a browser expects it of a server that goes away, and one that comes again at once gets the new release."""
    source = Path(shutil.copytree(APPS / "streams", tmp_path / "streams"))
    main = source / "main.py"
    main.write_text(main.read_text().replace('VERSION = "one"', 'VERSION = "two"'))
    names = ["threads", "apache-green"]
    open_ones = [opened(name, "/websocket") for name in names]
    for chat in open_ones:
        chat.send("before")
        assert chat.receive() == "one before"
    with ThreadPoolExecutor(len(names)) as browsers:
        told = browsers.map(until_closed, open_ones)
        host.converge([settings_of(name, source) for name in names], playbook="site")
        assert list(told) == [GOING_AWAY, GOING_AWAY]
    for name in names:
        with opened(name, "/websocket") as again:
            again.send("after")
            assert again.receive() == "two after"
