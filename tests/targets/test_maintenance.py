"""Visitors get a page with status 503 while an app is in maintenance; the app itself, its neighbours and its deploys do not notice."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import Answer, NewTarget, Play, Target, app, differences, missing, write_source

ADDRESS, APACHE = "198.18.2.210", "198.18.2.211"
DEFAULT_PAGE = "<h1>Closed for maintenance</h1>"
OWN_PAGE = "<p>ペン 🐙 {{ not a template }}</p>\r\n".encode()
HEALTH = "flaskops-health"  # how a deploy's own health check names itself
VERSION = "one"
NO_PATCH = "<Limit PATCH>\n    Require all denied\n</Limit>"
# It shows what reached it, and says 503 by itself.
MAIN = """
VERSION = "one"


def app(environ, start_response):
    path = environ["PATH_INFO"]
    headers = [("Content-Type", "text/plain")]
    start_response("503 Busy" if path == "/busy" else "200 OK", [*headers, ("Retry-After", "7")] if path == "/busy" else headers)
    size = len(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    return [f"{VERSION} {environ.get('SCRIPT_NAME', '')} {path} {environ['REQUEST_METHOD']} {size}".encode()]
"""
FILES = {"main.py": MAIN, "static/style.css": "body {}\n", "page/index.php": "<?php echo 'page ' . $_SERVER['REQUEST_METHOD'];\n"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The apps' directory."""
    return write_source(tmp_path_factory.mktemp("source"), FILES)


def nginx_apps(source: Path) -> list[dict[str, Any]]:
    """Two apps on one site: one at / whose health path is /, one below it with a health path and a port of its own."""
    gunicorn = {"topology": "nginx_gunicorn"}
    shop = app("shop", source, static={"/static": "static"}, **gunicorn)
    return [shop, app("blog", source, mount="/blog", health_path="/health", nginx_gunicorn_listen="127.0.0.1:8081", **gunicorn)]


@pytest.fixture(scope="module")
def nginx(target: Target, source: Path) -> Target:
    """A host with both, and with an app in two places that speaks uWSGI's protocol."""
    places = {"mount": "/uw", "uwsgi_app_mounts": {"/deep/er": "main:app"}}
    target.converge([*nginx_apps(source), app("uw", source, topology="nginx_uwsgi", health_path="/health?deep=1", **places)], playbook="hosting")
    return target


def apache_apps(source: Path) -> list[dict[str, Any]]:
    """One site with mod_wsgi at /, with a page, and uWSGI below by a unix socket and by TCP; another site with HTTP at /, with pages."""
    uwsgi, mod_wsgi = {"topology": "apache_uwsgi_mysql"}, {"topology": "apache_mod_wsgi"}
    return [
        app("wsgi", source, static={"/static": "static"}, apache_site_php={"/wsgi-page": "page"}, **mod_wsgi),
        app("unix", source, mount="/unix", health_path="/health", apache_site_php={"/pages": "page"}, apache_site_snippet=NO_PATCH, **uwsgi),
        app("tcp", source, mount="/tcp", static={"/static": "static"}, uwsgi_app_listen="127.0.0.1:8930", **uwsgi),
        app("http", source, listen="81", uwsgi_app_protocol="http", apache_site_php={"/pages": "page"}, **uwsgi),
        app("deep", source, listen="82", mount="/deep", health_path="/health", apache_site_php={"/": "page"}, **mod_wsgi),
    ]


@pytest.fixture(scope="module")
def apache(new_target: NewTarget, source: Path) -> Target:
    """A host with Apache and all of its apps."""
    target = new_target(APACHE)
    target.topology = "hosting"  # each app says its own
    target.converge(apache_apps(source))
    return target


def switch(host: Target, name: str, to: Any, *arguments: str, **variables: Any) -> Play:
    """Run the playbook."""
    return host.play(None, *arguments, playbook="maintenance", variables={"flask_app_name": name, "maintenance": to, **variables})


def switched(host: Target, name: str, to: Any, *arguments: str, **variables: Any) -> Play:
    """Run the playbook, and insist that it ends well."""
    play = switch(host, name, to, *arguments, **variables)
    assert play.returncode == 0, play.output
    return play


@contextmanager
def closed(host: Target, name: str) -> Iterator[None]:
    """Write the page, and remove it, as the playbook does."""
    page = f"/srv/{name}/maintenance.html"
    host.run(f"echo 'page of {name}' >{page}.new && mv {page}.new {page}")
    try:
        yield
    finally:
        host.run(f"rm {page}")


def is_page(answer: Answer, *words: str) -> bool:
    """Return whether this is the page, as browsers and search engines want it."""
    shown = (answer.status, answer.headers.get("Retry-After"), answer.headers.get("Content-Type"))
    return shown == (503, "300", "text/html; charset=utf-8") and not missing(answer.text, words)


def reaches(answer: Answer, mount: str, path: str, method: str = "GET", size: int = 0) -> bool:
    """Return whether the app has answered."""
    return (answer.status, answer.text) == (200, f"{VERSION} {mount} {path} {method} {size}")


def asked_on_host(host: Target, port: int, path: str, agent: str = HEALTH) -> str:
    """The status and the body that somebody on the host itself gets."""
    request = f"GET {path} HTTP/1.0\\r\\nUser-Agent: {agent}\\r\\n\\r\\n"
    answer = host.run(f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port} && printf \"{request}\" >&3 && cat <&3'")
    head, _empty, body = answer.replace("\r", "").partition("\n\n")
    return f"{head.split()[1]} {body}"


def while_asked(host: Target, work: Callable[[], Any], *paths: str) -> dict[str, list[Answer]]:
    """What one client for each path, who never pauses, got while work was done; each keeps its connection."""
    over = threading.Event()

    def client(path: str) -> list[Answer]:
        answers: list[Answer] = []
        connection = http.client.HTTPConnection(host.address, timeout=10)
        while not over.is_set():
            connection.request("POST" if len(answers) % 2 else "GET", path, body=b"body" if len(answers) % 2 else None)
            answer = connection.getresponse()
            answers.append(Answer(answer.status, dict(answer.getheaders()), answer.read()))
        connection.close()
        return answers

    with ThreadPoolExecutor(len(paths)) as pool:
        clients = {path: pool.submit(client, path) for path in paths}
        try:
            work()
        finally:
            over.set()
        return {path: found.result() for path, found in clients.items()}


def test_closes_and_opens(nginx: Target) -> None:
    """In a dry run, and in a run, once; only the page changes, and no process is replaced."""
    workers = set(nginx.run("pgrep -P $(cat /run/nginx.pid)").split())
    before = nginx.snapshot()
    assert switched(nginx, "shop", "on", "--check").changed == ["Write the page"]
    assert differences(before, nginx.snapshot()) == {}
    play = switched(nginx, "shop", "on")
    assert play.changed == ["Write the page"]
    assert not missing(" ".join(play.output.split()), [f"shop at http://{ADDRESS}/ is closed: visitors get /srv/shop/maintenance.html"])
    assert is_page(nginx.get("/"), DEFAULT_PAGE)
    assert nginx.run("stat -c '%a %U %G' /srv/shop/maintenance.html") == "644 root root"
    touched = differences(before, nginx.snapshot())
    assert [path for path, (_before, after) in touched.items() if path != "/srv/shop"] == ["/srv/shop/maintenance.html"]
    assert switched(nginx, "shop", True).changed == [], "YAML's on is true"
    assert switched(nginx, "shop", "off", "--check").changed == ["Remove the page"] and is_page(nginx.get("/"))
    play = switched(nginx, "shop", "off")
    assert play.changed == ["Remove the page"] and "visitors get the app, with status 200" in " ".join(play.output.split())
    assert reaches(nginx.get("/"), "", "/")
    assert set(nginx.run("pgrep -P $(cat /run/nginx.pid)").split()) <= workers


@pytest.mark.parametrize(
    ("name", "mounts"), [("shop", [""]), ("blog", ["/blog"]), ("uw", ["/uw", "/deep/er"])], ids=["proxy-root", "proxy-mount", "uwsgi-mounts"]
)
def test_nginx_gives_the_page_for_whatever_is_asked(nginx: Target, name: str, mounts: list[str]) -> None:
    """By any method; a neighbour's visitors, static files and the health path get what they always get."""
    others = {"shop": "/uw", "blog": "", "uw": "/blog"}
    with closed(nginx, name):
        for mount in mounts:
            everything_is_closed(nginx, name, mount)
        assert reaches(nginx.get(f"{others[name]}/x"), others[name], "/x")
        for mount in mounts:
            is_open = name != "shop"
            assert reaches(nginx.get(f"{mount}/health"), mount, "/health") == is_open
            assert is_page(nginx.get(f"{mount}/healthy"))
            assert nginx.get(f"{mount}/static/style.css").text == "body {}\n" or name != "shop"
    for mount in mounts:
        everything_is_open(nginx, mount)


def everything_is_closed(host: Target, name: str, mount: str, port: int = 80) -> None:
    """Whatever is asked, the page is the answer; and it has no address of its own."""
    words = [f"page of {name}"]
    for method, body in (("GET", None), ("POST", b"a=b"), ("POST", b"x" * 300_000), ("PATCH", b"x"), ("DELETE", None), ("OPTIONS", None)):
        assert is_page(host.get(f"{mount}/x?y=z", port=port, method=method, body=body), *words), method
    head = host.get(f"{mount}/", port=port, method="HEAD")
    assert is_page(head) and head.body == b""
    assert is_page(host.get(f"{mount}/busy", port=port), *words), "the app has been asked"
    assert "page of" not in (asked := host.get(f"/flaskops-maintenance/{name}", port=port)).text and asked.status in (403, 404)
    assert asked_on_host(host, port, f"{mount}/") == f"200 {VERSION} {mount} / GET 0"
    assert asked_on_host(host, port, f"{mount}/", "wget").startswith("503 page of")
    connection = http.client.HTTPConnection(host.address, port, timeout=10)
    connection.request("GET", f"{mount}/", headers={"User-Agent": HEALTH, "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"})
    assert connection.getresponse().status == 503, "anybody can say to be a deploy"
    connection.close()


def everything_is_open(host: Target, mount: str, port: int = 80) -> None:
    """The app gets what is asked, and what it says of itself passes through."""
    assert reaches(host.get(f"{mount}/x", port=port), mount, "/x")
    assert reaches(host.get(f"{mount}/x", port=port, method="POST", body=b"a=b"), mount, "/x", "POST", 3)
    busy = host.get(f"{mount}/busy", port=port)
    assert (busy.status, busy.headers["Retry-After"], busy.text) == (503, "7", f"{VERSION} {mount} /busy GET 0")


def test_no_request_fails_otherwise(nginx: Target) -> None:
    """Every answer while the app is closed, with a page and then another, and opened is the app's or a page; the neighbour's are its own."""
    pages = [OWN_PAGE, OWN_PAGE * 20000]

    def work() -> None:
        for content in pages:
            (nginx.work / "own.html").write_bytes(content)
            switched(nginx, "shop", "on", maintenance_page="own.html")  # relative to the command's directory
            answer = nginx.get("/any/where?at=all")
            assert is_page(answer) and answer.body == content
        switched(nginx, "shop", "off")

    answers = while_asked(nginx, work, "/x", "/x", "/blog/x")
    for answer in answers["/x"]:
        assert (is_page(answer) and answer.body in pages) or answer.text in (f"{VERSION}  /x GET 0", f"{VERSION}  /x POST 4"), answer.headers
    assert {answer.status for answer in answers["/x"]} == {200, 503}
    assert {answer.status for answer in answers["/blog/x"]} == {200} and len(answers["/blog/x"]) > 100


def test_releases_and_reboots_leave_it_closed(nginx: Target, source: Path, tmp_path: Path) -> None:
    """A deploy passes its own check, with a health path that visitors find closed; a run does not write or remove the page."""
    second = write_source(tmp_path, {**FILES, "main.py": MAIN.replace('"one"', '"two"')})
    shop, blog = nginx_apps(source)
    with closed(nginx, "shop"):
        first = nginx.live("shop")
        nginx.converge([{**shop, "flask_app_source": str(second)}])
        assert nginx.live("shop") != first and is_page(nginx.get("/"), "page of shop")
        assert asked_on_host(nginx, 80, "/").startswith("200 two ")
        nginx.converge(None, playbook="rollback", variables={"flask_app_name": "shop"})
        assert nginx.live("shop") == first and is_page(nginx.get("/"), "page of shop")
        assert nginx.converge([shop, blog]).recap["changed"] == 0
        nginx.reboot()
        assert is_page(nginx.get("/"), "page of shop")
        status = nginx.converge(None, playbook="status").output
        assert (status.count("closed, 200 OK"), status.count("200 OK")) == (1, 3), "the others are open"


def test_rejects_wrong_variables(nginx: Target, tmp_path: Path) -> None:
    """With what was given and what would be right; nothing is changed."""
    nginx.run("""echo '{"app": "idle", "root": "/srv/idle", "url": "http://x/", "front_role": "nginx_site"}' >/etc/flaskops/apps/idle.json""")
    nginx.run("""mkdir -p /srv/dev/releases/a && ln -sfn releases/a /srv/dev/current""")
    nginx.run("""echo '{"app": "dev", "root": "/srv/dev", "url": "", "topology": "dev_server", "front_role": ""}' >/etc/flaskops/apps/dev.json""")
    before = nginx.snapshot()
    own_page, no_file = {"maintenance_page": "no.html"}, f"on this machine, but there is no file {nginx.work}/no.html"
    for name, to, variables, wanted in (
        ("shpo", "on", {}, ["flask_app_name: got shpo, needs an app of these hosts: blog, dev, idle, shop, uw"]),
        ("shop", "closed", own_page, ["maintenance: got closed, needs on or off", f"maintenance_page: got no.html, needs a file {no_file}"]),
        ("idle", "on", {}, ["flask_app_name: idle has no live release on this host"]),
        ("dev", "on", {}, ["flask_app_name: dev has no web server in front of it (dev_server)"]),
    ):
        play = switch(nginx, name, to, **variables)
        assert (play.returncode, play.recap["changed"]) == (2, 0) and not missing(" ".join(play.output.split()), wanted), play.output
    play = nginx.play(None, playbook="maintenance", variables={"flask_app_name": "shop"})
    assert play.returncode == 2 and "maintenance: got nothing, needs on or off" in play.output
    assert differences(before, nginx.snapshot()) == {}
    nginx.run("rm -r /etc/flaskops/apps/idle.json /etc/flaskops/apps/dev.json /srv/dev")


def test_does_not_call_an_app_closed_that_is_open(nginx: Target) -> None:
    """If the web server's configuration is older than the page, flaskops.hosting.site comes first."""
    apps = "/etc/nginx/flaskops/80"
    nginx.run(f"cp {apps}/shop.conf /root/ && sed -i '/if (-f/,/}}/d' {apps}/shop.conf && systemctl reload nginx")
    try:
        play = switch(nginx, "shop", "on")
        words = ["is still open, with status 200", "Run flaskops.hosting.site"]
        assert play.returncode == 2 and not missing(" ".join(play.output.split()), words), play.output
    finally:
        nginx.run(f"cp /root/shop.conf {apps}/ && systemctl reload nginx && rm /srv/shop/maintenance.html /root/shop.conf")


APACHE_APPS = {"wsgi": ("", 80), "unix": ("/unix", 80), "tcp": ("/tcp", 80), "http": ("", 81), "deep": ("/deep", 82)}
PAGES = {"wsgi": "/wsgi-page/", "unix": "/pages/", "http": "/pages/", "deep": "/"}


@pytest.mark.parametrize("name", APACHE_APPS)
@thorough
def test_apache_gives_the_page_for_whatever_is_asked(apache: Target, name: str) -> None:
    """Of an app in mod_wsgi or behind a proxy, and of its PHP pages; all other apps' visitors get what they always get."""
    mount, port = APACHE_APPS[name]
    with closed(apache, name):
        everything_is_closed(apache, name, mount, port)
        if name in PAGES:
            for path in (PAGES[name], f"{PAGES[name]}index.php", f"{PAGES[name]}nothing"):
                assert is_page(apache.get(path, port=port), f"page of {name}"), path
                assert is_page(apache.get(path, port=port, method="POST", body=b"a=b"), f"page of {name}"), path
        assert reaches(apache.get(f"{mount}/health", port=port), mount, "/health") == (name in ("unix", "deep"))
        assert is_page(apache.get(f"{mount}/healthy", port=port))
        if name in ("wsgi", "tcp"):
            assert apache.get(f"{mount}/static/style.css").text == "body {}\n"
        for other, (its_mount, its_port) in APACHE_APPS.items():
            if other != name:
                assert reaches(apache.get(f"{its_mount}/x", port=its_port), its_mount, "/x"), other
                assert other not in PAGES or apache.get(PAGES[other], port=its_port).text == "page GET", other
    everything_is_open(apache, mount, port)
    assert name != "unix" or apache.get("/unix/x", method="PATCH").status == 403
    assert name not in PAGES or apache.get(PAGES[name], port=port, method="POST", body=b"a=b").text == "page POST"


@thorough
def test_apache_loses_no_request(apache: Target) -> None:
    """Closed and opened by the playbook, or as it does it, with keep-alive: the app's answers or the page, nothing else."""

    def work() -> None:
        switched(apache, "wsgi", "on")
        with closed(apache, "tcp"):
            switched(apache, "wsgi", "off")

    answers = while_asked(apache, work, "/x", "/tcp/x", "/unix/x")
    for path, mount, page in (("/x", "", DEFAULT_PAGE), ("/tcp/x", "/tcp", "page of tcp")):
        for answer in answers[path]:
            assert is_page(answer, page) or answer.text in (f"{VERSION} {mount} /x GET 0", f"{VERSION} {mount} /x POST 4"), answer
        assert {answer.status for answer in answers[path]} == {200, 503}, path
    assert {answer.status for answer in answers["/unix/x"]} == {200} and len(answers["/unix/x"]) > 100


@thorough
def test_apache_deploys_while_closed(apache: Target, source: Path, tmp_path: Path) -> None:
    """By mod_wsgi's strategy and by uWSGI's, with a health path that visitors find closed."""
    second = write_source(tmp_path, {**FILES, "main.py": MAIN.replace('"one"', '"two"')})
    chosen = [one for one in apache_apps(source) if one["flask_app_name"] in ("wsgi", "tcp")]
    with closed(apache, "wsgi"), closed(apache, "tcp"):
        apache.converge([{**one, "flask_app_source": str(second)} for one in chosen])
        assert asked_on_host(apache, 80, "/").startswith("200 two ")
        apache.converge(chosen)
        assert is_page(apache.get("/"), "page of wsgi") and is_page(apache.get("/tcp/"), "page of tcp")
    everything_is_open(apache, "")


@thorough
def test_removed_app_takes_its_page_along(apache: Target) -> None:
    """Also if the app's data stays."""
    apache.run("touch /srv/tcp/maintenance.html /srv/tcp/shared/data")
    apache.converge([{"flask_app_name": "tcp", "flask_app_state": "absent"}])
    assert apache.run("ls /srv/tcp") == "shared" and reaches(apache.get("/tcp/x"), "", "/tcp/x")


@thorough
def test_app_that_moves_to_apache_stays_closed(nginx: Target, source: Path) -> None:
    """The page is the app's, whatever serves it; its neighbours, which would keep nginx on the port, leave in the same run."""
    with closed(nginx, "shop"):
        gone = [{"flask_app_name": name, "flask_app_state": "absent"} for name in ("uw", "blog")]
        nginx.converge([*gone, app("shop", source, topology="apache_mod_wsgi")], playbook="hosting")
        answer = nginx.get("/")
        assert is_page(answer, "page of shop") and answer.headers["Server"] == "Apache"
    assert reaches(nginx.get("/"), "", "/")
