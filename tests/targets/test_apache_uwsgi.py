"""Apache in front of uWSGI, on a unix socket and on TCP by both protocols, with static files and PHP pages beside the app."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import ALL_OF_IT
from ansible_collections.flaskops.hosting.tests.targets.awkward import SECRETS, as_given
from ansible_collections.flaskops.hosting.tests.targets.harness import (
    Answer,
    Play,
    Target,
    app,
    differences,
    eventually,
    missing,
    write_source,
)
from ansible_collections.flaskops.hosting.tests.targets.test_absent import traces
from ansible_collections.flaskops.hosting.tests.targets.test_dry_run import builds, planned_tasks

ADDRESS = "198.18.2.170"
TOPOLOGY = "apache_uwsgi_mysql"
# what is installed, if the host is bare
VARIANT, PACKAGES = ("ubuntu-like", ["apache2", "uwsgi-core", "php-cgi"]) if ALL_OF_IT else ("ubuntu-like-ready", [])
ENVIRONMENT_FILE = "/etc/qz-page.env"
PAGE_SECRET = 'only "the" page\'s $ecret ペン'
# The names are in no other file of the system.
UNIX, TCP, HTTP = "qzunix", "qztcp", "qzhttp"
PORTS = {UNIX: 80, TCP: 8081, HTTP: 8082}
MAIN = """
from flask import Flask, redirect, request, url_for

app = Flask(__name__)
VERSION = "one"


@app.get("/")
def index():
    return {"version": VERSION, "item": url_for("item", number=7), "style": url_for("static", filename="style.css")}


@app.get("/items/<number>")
def item(number):
    return {"number": number, "root": request.script_root, "url": request.url}


@app.post("/items")
def add():
    return redirect(url_for("item", number=8), code=303)


@app.get("/folder/")
def folder():
    return "folder"


@app.get("/client")
def client():
    forwarded = {name: request.headers.get(f"X-Forwarded-{name}") for name in ("For", "Proto", "Host")}
    return {"address": request.remote_addr, **forwarded, "Forwarded-Host": forwarded["Host"], "Host": request.host}


@app.get("/environment")
def environment():
    import os
    return {os.fsdecode(name): value.hex() for name, value in os.environb.items()}
"""
PAGE = """<?php
header('Content-Type: application/json');
$refused = fn($path) => @file_get_contents($path) === false && @file_put_contents($path, 'x') === false;
echo json_encode([
    'version' => 'one', 'uid' => posix_getuid(), 'groups' => posix_getgroups(), 'secret' => getenv('PAGE_SECRET'),
    'address' => $_SERVER['REMOTE_ADDR'], 'refused' => $refused($_GET['file'] ?? '/'),
    'write' => @file_put_contents(($_GET['file'] ?? '') . '.new', 'x') !== false, 'posted' => $_POST,
    'told' => array_filter($_SERVER, fn($name) => str_starts_with($name, 'HTTP_'), ARRAY_FILTER_USE_KEY),
]);
"""
FILES = {
    "main.py": MAIN, "requirements.txt": "flask==3.1.3\n", "static/style.css": "body {}\n",
    "page/index.php": PAGE, "page/page.css": "p {}\n", "page/.env": "KEY=secret\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's directory."""
    return write_source(tmp_path_factory.mktemp("source"), FILES)


def apps(source: Path, *names: str) -> list[dict[str, Any]]:
    """The app on a unix socket with pages beside it, and on TCP by each protocol."""
    settings: dict[str, dict[str, Any]] = {
        UNIX: {
            "static": {"/static": "static"}, "secrets": as_given(SECRETS), "flask_app_timeout": 20,
            "apache_site_php": {"/": "page"}, "apache_site_php_environment_files": [ENVIRONMENT_FILE],
        },
        TCP: {"uwsgi_app_listen": "127.0.0.1:8930", "apache_site_snippet": "Header always set X-Snippet tcp"},
        HTTP: {"uwsgi_app_listen": "127.0.0.1:8931", "uwsgi_app_protocol": "http", "apache_site_php": {"/pages": "page"}, "mount": "/"},
    }  # fmt: skip
    common = {"requirements": "requirements.txt", "mount": "/flask", "health_timeout": 8}
    return [app(name, source, listen=str(PORTS[name]), **{**common, **settings[name]}) for name in names or settings]


@pytest.fixture(scope="module")
def dry(target: Target, source: Path) -> Play:
    """The dry run on the bare target, which has changed nothing."""
    escaped = re.sub(r'["\\`$]', r"\\\g<0>", PAGE_SECRET)
    target.run(f"umask 077 && cat >{ENVIRONMENT_FILE}", stdin=f'PAGE_SECRET="{escaped}"\n')
    return target.dry_run(apps(source))


@pytest.fixture(scope="module")
def real(target: Target, dry: Play, source: Path) -> Play:
    """The run after the dry run."""
    return target.converge(apps(source), "--diff")


@pytest.fixture(scope="module")
def host(target: Target, real: Play) -> Target:
    """The target with all three apps."""
    return target


@pytest.fixture(scope="module")
def client(host: Target) -> str:
    """The controller's address, as the target sees it."""
    with closing(socket.create_connection((ADDRESS, 22))) as connection:
        return str(connection.getsockname()[0])


def page(host: Target, path: str = "/", port: int = 80, **query: str) -> dict[str, Any]:
    """What the page reports."""
    answer = host.get(path + "".join(f"?{name}={value}" for name, value in query.items()), port=port)
    assert answer.status == 200, answer
    content: dict[str, Any] = answer.json()
    return content


def test_the_run_does_what_the_dry_run_showed(host: Target, dry: Play, real: Play) -> None:
    """Packages, files, builds; the same tasks change, the same files."""
    assert missing(dry.output, [*PACKAGES, f'ProxyPass "/flask/" "unix:/srv/{TCP}/current/run/app.sock|uwsgi://{TCP}/flask/"']) == []
    assert sorted(set(real.changed)) == sorted(set(planned_tasks(dry)))
    assert dry.diffs <= real.diffs
    unplanned = {path for path in real.diffs - dry.diffs if host.succeeds(f"test -e {path} -o -L {path}")}
    assert unplanned == set()
    assert builds(dry) == builds(real) and len(builds(real)) == 3


def test_second_run_changes_nothing(host: Target, source: Path) -> None:
    """Neither Ansible's count nor the file system knows of a change."""
    before = host.snapshot()
    again = host.converge(apps(source), "--diff")
    assert (again.recap["changed"], again.changed, again.diffs) == (0, [], set())
    assert differences(before, host.snapshot()) == {}


@pytest.mark.parametrize(("name", "mount"), [(UNIX, "/flask"), (TCP, "/flask"), (HTTP, "")])
def test_urls_and_redirects_stay_under_the_mount(host: Target, name: str, mount: str) -> None:
    """url_for, a redirect by the app, one by Flask and one by Apache all lead back into the app."""
    port = PORTS[name]
    at = f"http://{ADDRESS}" + (f":{port}" if port != 80 else "")
    assert host.get(f"{mount}/", port=port).json() == {"version": "one", "item": f"{mount}/items/7", "style": f"{mount}/static/style.css"}
    assert host.get(f"{mount}/items/7?q=1", port=port).json() == {"number": "7", "root": mount, "url": f"{at}{mount}/items/7?q=1"}
    assert host.get(f"{mount}/items/%E3%83%9A%E3%83%B3", port=port).json()["number"] == "ペン"
    answer = host.get(f"{mount}/items", port=port, method="POST")
    assert (answer.status, answer.headers["Location"].removeprefix(at)) == (303, f"{mount}/items/8")
    assert host.get(f"{mount}/folder", port=port).headers["Location"] == f"{at}{mount}/folder/"
    if mount:
        answer = host.get(f"{mount}?a=1&b=%20x", port=port)
        assert (answer.status, answer.headers["Location"].removeprefix(at)) == (308, f"{mount}/?a=1&b=%20x")
        assert host.get(f"{mount}s/", port=port).status == 404, "a longer name is no part of the mount"


@pytest.mark.parametrize("name", PORTS)
def test_the_app_learns_who_asked(host: Target, client: str, name: str) -> None:
    """Directly, and in the headers that proxies set, in which a client's own claim counts for nothing."""
    connection = http.client.HTTPConnection(ADDRESS, PORTS[name], timeout=10)
    claim = {"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "Host": "shop.example"}
    connection.request("GET", "/client" if name == HTTP else "/flask/client", headers=claim)
    shown = json.load(connection.getresponse())
    connection.close()
    assert shown == {"Host": "shop.example", "Forwarded-Host": "shop.example", "Proto": "http", "For": client, "address": client}


def test_static_files_come_from_apache(host: Target) -> None:
    """Also while the app is stopped; neither the rest of the code nor a directory's names are to be had."""
    unit = f"{UNIX}@{host.live(UNIX)}.service"
    host.run(f"systemctl stop {unit}")
    try:
        answer = host.get("/flask/static/style.css")
        assert (answer.status, answer.headers["Content-Type"], answer.text) == (200, "text/css", "body {}\n")
        assert host.get("/flask/").status == 503
        assert host.get("/flask/static/").status in (403, 404)
        for path in ("/flask/static/../main.py", "/flask/static/%2e%2e/main.py", "/flask/static/..%2fmain.py", "/../main.py", "/main.py"):
            assert host.get(path).status in (400, 403, 404, 503), path
    finally:
        host.run(f"systemctl start {unit}")
    assert eventually(lambda: host.get("/flask/").status == 200)
    assert host.get("/nothing").headers["Server"] == "Apache"
    assert host.get("/.env").status == 404, "nor beside pages"


def test_snippet_is_for_the_backend_too(host: Target) -> None:
    """On TCP; the app on the unix socket takes more."""
    assert host.get("/flask/items/7", port=PORTS[TCP]).headers["X-Snippet"] == "tcp"
    assert "X-Snippet" not in host.get("/flask/items/7").headers


def test_every_byte_of_a_secret_arrives(host: Target) -> None:
    """The app's own view of its environment, in which the page's is not."""
    seen = host.get("/flask/environment").json()
    assert {name: bytes.fromhex(seen[name]).decode() for name in SECRETS} == SECRETS
    assert "PAGE_SECRET" not in seen


def test_page_is_shut_in(host: Target, client: str) -> None:
    """It gets its own environment, runs as an account that is no other's, and neither reads the app's files nor writes."""
    shown = page(host)
    assert (shown["version"], shown["secret"], shown["address"]) == ("one", PAGE_SECRET, client)
    known = {int(uid) for uid in host.run("cut -d: -f3 /etc/passwd").split()}
    assert shown["uid"] not in known and set(shown["groups"]) <= {shown["uid"]}
    current = f"/srv/{UNIX}/releases/{host.live(UNIX)}"
    served = ("code/static/style.css", "code/page/index.php")
    for path in ("environment", "uwsgi.ini", "release.json", "code/main.py", "run/app.sock", *served):
        shown = page(host, file=f"{current}/{path}")
        assert not shown["write"], path
        assert shown["refused"] == (path not in served), path
    assert page(host, file=ENVIRONMENT_FILE)["refused"] and page(host, file="/etc/passwd")["refused"]
    for account in (UNIX, TCP, "www-data"):
        (process, *_rest) = host.run(f"pgrep -u {shown['uid']}").split()
        assert not host.succeeds(f"setpriv --reuid={account} --regid={account} --init-groups cat /proc/{process}/environ")
        assert not host.succeeds(f"setpriv --reuid={account} --regid={account} --init-groups cat {ENVIRONMENT_FILE}")
    assert not host.succeeds(f"setpriv --reuid={TCP} --regid={TCP} --init-groups test -w /run/{UNIX}-php.sock")
    assert page(host, "/pages/", PORTS[HTTP])["secret"] is False, "of another app's page"


@pytest.mark.parametrize(("name", "path"), [(UNIX, "/"), (HTTP, "/pages/")])
def test_a_page_gets_nothing_that_its_visitor_makes_up(host: Target, name: str, path: str) -> None:
    """Neither behind uWSGI nor beside an app that is asked by HTTP, in any spelling."""
    connection = http.client.HTTPConnection(ADDRESS, PORTS[name], timeout=10)
    names = ["X_Forwarded_For", "X-Forwarded_Proto", "x_real-ip", "X-Forwarded-Host", "X-Forwarded-Prefix", "X_Script_Name", "Proxy"]
    connection.request("GET", path, headers=dict.fromkeys(names, "evil"))
    told = json.load(connection.getresponse())["told"]
    assert "evil" not in str(told) and told["HTTP_X_FORWARDED_PROTO"] == "http" and told["HTTP_X_REAL_IP"] == told["HTTP_X_FORWARDED_FOR"]
    connection.close()


def test_page_beside_the_app(host: Target) -> None:
    """A form, a file without code, no listing; an app at / does not affect the pages; no source is shown if PHP does not run."""
    posted = host.get("/index.php", method="POST", body=b"name=%E3%83%9A%E3%83%B3")
    assert posted.status == 200 and "X-Powered-By" not in posted.headers
    assert host.get("/page.css").text == "p {}\n" and host.get("/pages/page.css", port=PORTS[HTTP]).text == "p {}\n"
    assert host.get("/nothing.php").status == 404 and host.get("/pages/nothing", port=PORTS[HTTP]).status == 404
    host.run(f"systemctl stop {UNIX}-php.socket {UNIX}-php.service")
    try:
        answer = host.get("/")
        assert answer.status == 503 and "<?php" not in answer.text
    finally:
        host.run(f"systemctl start {UNIX}-php.socket")
    assert page(host)["version"] == "one"


def under_load(host: Target, paths: list[str], work: Callable[[], Play]) -> tuple[Play, dict[str, list[Answer]]]:
    """The run that was the work, and what one client for each path got meanwhile."""
    over = threading.Event()

    def client(path: str) -> list[Answer]:
        answers = []
        while not over.is_set():
            answers.append(host.get(path))
        return answers

    with ThreadPoolExecutor(len(paths)) as pool:
        clients = {path: pool.submit(client, path) for path in paths}
        try:
            play = work()
        finally:
            over.set()
        return play, {path: found.result() for path, found in clients.items()}


def test_release_that_fails_under_uwsgi_goes_back(host: Target, tmp_path: Path) -> None:
    """It passes only the pre-flight: the old release keeps serving, with its page."""
    live = host.live(UNIX)
    broken = write_source(tmp_path, {**FILES, "main.py": f"import sys\nif 'uwsgi' in sys.modules:\n    import nowhere\n{MAIN}"})
    play = host.play(apps(broken, UNIX))
    assert play.returncode == 2
    assert missing(play.output, ["No module named 'nowhere'", f"Release {live} keeps serving."]) == []
    assert host.live(UNIX) == live
    assert host.get("/flask/").json()["version"] == page(host)["version"] == "one"


def test_reboot(host: Target) -> None:
    """Apps and pages answer with no help; the next run, which the next test is about, has nothing to mend."""
    host.reboot()
    asked = [("/flask/", 80), ("/flask/", PORTS[TCP]), ("/", PORTS[HTTP]), ("/", 80), ("/pages/", PORTS[HTTP])]
    assert eventually(lambda: [host.get(path, port=port).status for path, port in asked] == [200] * 5)


def test_release_of_app_and_page_loses_no_request(host: Target, tmp_path: Path) -> None:
    """Both follow `current`: the answer after the deploy is the new one, and every one before it was good."""
    changed = {"main.py": MAIN.replace('VERSION = "one"', 'VERSION = "two"'), "page/index.php": PAGE.replace("'one'", "'two'")}
    second = write_source(tmp_path, {**FILES, **changed})
    play, answers = under_load(host, ["/flask/", "/"], lambda: host.converge(apps(second, UNIX)))
    assert play.changed == ["Stage the release, and let it prove itself", "Make the release live, and ask for it through the front"]
    assert host.get("/flask/").json()["version"] == page(host)["version"] == "two"
    for path, found in answers.items():
        assert {answer.status for answer in found} == {200}, path
        assert {answer.json()["version"] for answer in found} == {"one", "two"}, path


def modules(host: Target) -> set[str]:
    """Those of Apache's modules that this topology enables."""
    return set(host.run("cd /etc/apache2/mods-enabled && ls -d proxy* headers* wsgi* 2>/dev/null || true").split())


def test_page_goes_when_it_is_taken_away(host: Target, source: Path) -> None:
    """Unit, socket and location. The app stays, and so does Apache's module, for the other app's page."""
    host.converge([{key: value for key, value in apps(source, UNIX)[0].items() if "php" not in key}])
    assert host.get("/").status == 404 and host.get("/flask/").status == 200
    assert modules(host) == {
        "headers.load", "proxy.load", "proxy.conf", "proxy_http.load", "proxy_uwsgi.load", "proxy_fcgi.load"
    }  # fmt: skip
    assert page(host, "/pages/", PORTS[HTTP])["version"] == "one"
    units = "/etc/systemd/system"
    left = f"ls -d {units}/{UNIX}-php* {units}/*/{UNIX}-php* /run/{UNIX}-php* 2>/dev/null; systemctl list-units --all --no-legend '{UNIX}-php*'"
    assert host.run(left) == ""


def test_absent_leaves_nothing(host: Target) -> None:
    """Of an app and its page, with the modules that no other app needs, while the others serve; in the end Apache is stopped, without a module."""
    host.converge([{"flask_app_name": HTTP, "flask_app_state": "absent"}])
    assert traces(host, HTTP) == "" and modules(host) == {"headers.load", "proxy.load", "proxy.conf", "proxy_uwsgi.load"}
    assert host.run("ls -d /run/qz*-php* 2>/dev/null; true") == ""
    assert host.get("/flask/").status == host.get("/flask/", port=PORTS[TCP]).status == 200
    host.converge([{"flask_app_name": name, "flask_app_state": "absent"} for name in (UNIX, TCP)])
    host.run(f"rm {ENVIRONMENT_FILE}")
    for name in PORTS:
        assert traces(host, name) == ""
    assert modules(host) == set()
    assert host.run("find /etc/apache2 -name '*flaskops*'; ls /etc/apache2/sites-enabled") == ""
    listening = host.run("ss --listening --tcp --numeric --no-header | awk '{print $4}' | grep -v '^127.0.0.11:' | sed 's/.*://' | sort -u")
    assert listening == "22"
