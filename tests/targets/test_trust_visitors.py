"""What a visitor sends decides nothing that an app believes of it: neither host, nor scheme, nor address, in any topology."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import NewTarget, Target, app, write_source

ADDRESS = "198.18.2.101"
MAIN = """
import json
import os


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"cwd": os.getcwd(), **{name: value for name, value in environ.items() if isinstance(value, str)}}).encode()]
"""
STATIC = ("style.css", ".env", ".git/config", "a/.htpasswd", ".well-known/x")
TRUSTED = ["127.0.0.1", "10.1.0.0/16", "2001:db8::/32"]
# The apps, and where they are: on the first ports every site has names, on the second ones there is one that has none.
PORTS = {
    "gunicorn": 80, "uwsgi": 80, "uwsgi-http": 81, "wsgi": 8080, "apache-gunicorn": 8080, "apache-uwsgi": 8080, "apache-uwsgi-http": 8081,
}  # fmt: skip
NAMELESS = {"uwsgi-http": 81, "apache-uwsgi-http": 8081}
SETTINGS: dict[str, dict[str, Any]] = {
    "gunicorn": {"topology": "nginx_gunicorn"},
    "uwsgi": {"topology": "nginx_uwsgi", "listen": ["80", "81"], "trusted_proxies": TRUSTED},
    "uwsgi-http": {"topology": "nginx_uwsgi", "uwsgi_app_protocol": "http", "listen": ["81", "[::]:81"]},
    "wsgi": {"topology": "apache_mod_wsgi", "trusted_proxies": TRUSTED},
    "apache-gunicorn": {"topology": "apache_gunicorn", "nginx_gunicorn_threads": 2, "mount": "/shop", "trusted_proxies": TRUSTED},
    "apache-uwsgi": {"topology": "apache_uwsgi_mysql", "listen": ["8080", "8081"], "trusted_proxies": TRUSTED},
    "apache-uwsgi-http": {"topology": "apache_uwsgi_mysql", "uwsgi_app_protocol": "http", "listen": ["8081", "[::]:8081"]},
}
# Each of them names somebody else in a way of its own.
EVIL = "192.0.2.66"
FORWARDED = {
    "X-Forwarded-For": EVIL, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "6666",
    "X-Forwarded-Prefix": "/evil", "X-Forwarded-Ssl": "on", "X-Forwarded-Server": "evil.example", "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Scheme": "https", "Forwarded": f"for={EVIL};host=evil.example;proto=https", "X-Real-IP": EVIL, "X-Script-Name": "/evil",
}  # fmt: skip
VARIABLES = {
    "Script-Name": "/evil", "Script_Name": "/evil", "SCRIPT_NAME": "/evil", "PATH_INFO": "/evil", "Remote-Addr": EVIL, "REMOTE_ADDR": EVIL,
    "Remote-User": "evil", "REMOTE_USER": "evil", "UWSGI_SCHEME": "https", "UWSGI_FILE": "/evil", "HTTPS": "on", "Server-Port": "6666",
    "CONTENT_TYPE": "evil/evil",
}  # fmt: skip


def host_of(name: str) -> str:
    """The host that its visitors name."""
    return f"{name}.example" if name not in NAMELESS else "any.example"


def settings_of(name: str, source: Path, **changed: Any) -> dict[str, Any]:
    """The app's variables."""
    names = [] if name in NAMELESS else [host_of(name)]
    common = {"server_names": names, "listen": [str(PORTS[name])], "static": {"/static": "static"}, "group": name}
    return app(name, source, **{**common, **SETTINGS[name], **changed})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app that answers with what it gets of a request."""
    return write_source(tmp_path_factory.mktemp("source"), {"main.py": MAIN, **{f"static/{name}": "served" for name in STATIC}})


@pytest.fixture(scope="module")
def host(new_target: NewTarget, source: Path) -> Target:
    """A host with an app of each kind of server and protocol behind each front."""
    target = new_target(ADDRESS)
    target.converge([settings_of(name, source) for name in PORTS], playbook="site")
    return target


def ask(port: int, line: str, headers: list[str]) -> bytes:
    """What comes back for a request of exactly these lines."""
    with socket.create_connection((ADDRESS, port), timeout=10) as connection:
        connection.sendall("\r\n".join([line, *headers, "Connection: close", "", ""]).encode())
        with connection.makefile("rb") as answer:
            return answer.read()


def body_of(answer: bytes) -> bytes:
    """The body."""
    return answer.partition(b"\r\n\r\n")[2]


def seen_by(name: str, headers: list[str] | None = None, line: str = "") -> dict[str, str]:
    """What an app gets of a request with these headers."""
    path = f"{SETTINGS[name].get('mount', '')}/path"
    answer = ask(PORTS[name], line or f"GET {path} HTTP/1.1", [f"Host: {host_of(name)}:{PORTS[name]}"] if headers is None else headers)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    shown: dict[str, str] = json.loads(re.findall(rb"\{.*\}", body_of(answer))[0])
    return shown


def seen_from_inside(host: Target, name: str, address: str = "127.0.0.1", **headers: str) -> dict[str, str]:
    """The same for a request from the host itself, as from a load balancer."""
    given = {"Host": f"{host_of(name)}:{PORTS[name]}", **{key.replace("_", "-"): value for key, value in headers.items()}}
    url = f"http://{address}:{PORTS[name]}{SETTINGS[name].get('mount', '')}/path"
    script = f"import urllib.request as r; print(r.urlopen(r.Request({url!r}, headers={given!r}), timeout=10).read().decode())"
    shown: dict[str, str] = json.loads(host.run("python3 -", stdin=script))
    return shown


@pytest.fixture(scope="module")
def client(host: Target) -> str:
    """The address that the host sees its visitors at."""
    return host.run("ip route show default | cut -d' ' -f3")


def lines_of(headers: dict[str, str]) -> list[str]:
    """As they are sent."""
    return [f"{name}: {value}" for name, value in headers.items()]


UNKNOWN = {
    "evil": ("GET / HTTP/1.1", ["Host: evil.example"]),
    "part of a name": ("GET / HTTP/1.1", ["Host: sub.gunicorn.example"]),
    "address": ("GET / HTTP/1.1", [f"Host: {ADDRESS}"]),
    "localhost": ("GET /static/style.css HTTP/1.1", ["Host: localhost"]),
    "none": ("GET / HTTP/1.0", []),
    "absolute": ("GET http://evil.example/ HTTP/1.1", ["Host: gunicorn.example"]),
}


@pytest.mark.parametrize("asked", UNKNOWN)
@pytest.mark.parametrize("port", [80, 8080])
def test_no_app_answers_a_name_that_is_nobodys(host: Target, port: int, asked: str) -> None:
    """nginx closes the connection; Apache cannot, and refuses."""
    answer = ask(port, *UNKNOWN[asked])
    if port == 80:
        assert answer == b""
    else:
        assert answer.startswith(b"HTTP/1.1 421 ") and body_of(answer).strip() == b"", answer


@pytest.mark.parametrize("asked", UNKNOWN)
@pytest.mark.parametrize("name", NAMELESS)
def test_an_app_without_names_answers_all_that_nobody_has(host: Target, name: str, asked: str) -> None:
    answer = ask(NAMELESS[name], *UNKNOWN[asked])
    if (name, asked) == ("apache-uwsgi-http", "none"):
        assert answer.startswith(b"HTTP/1.1 421 "), "Apache takes no name for no site's name"
        return
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    if "GET / " in UNKNOWN[asked][0]:
        assert f'"cwd": "/srv/{name}/' in answer.decode()


@pytest.mark.parametrize("port", [81, 8081])
def test_a_name_goes_before_no_name(host: Target, port: int) -> None:
    name = "uwsgi" if port == 81 else "apache-uwsgi"
    assert f'"cwd": "/srv/{name}/' in ask(port, "GET / HTTP/1.1", [f"Host: {name}.example:{port}"]).decode()


@pytest.mark.parametrize("port", [80, 8080])
def test_no_page_of_the_distribution_is_served(host: Target, port: int) -> None:
    """Outside of an app's mount nothing is there."""
    name = "gunicorn" if port == 80 else "apache-gunicorn"
    for path in ("/index.html", "/index.nginx-debian.html", "/50x.html", "/"):
        answer = ask(port, f"GET {path} HTTP/1.1", [f"Host: {name}.example"])
        assert b"Welcome to nginx" not in answer and b"It works" not in answer


@pytest.mark.parametrize("name", PORTS)
def test_one_host_reaches_the_app(host: Target, name: str) -> None:
    """The one that the front has chosen the site by, with its port."""
    mine, path = host_of(name), f"{SETTINGS[name].get('mount', '')}/path"
    assert seen_by(name)["HTTP_HOST"] == f"{mine}:{PORTS[name]}"
    assert seen_by(name, [f"Host: {mine}"])["HTTP_HOST"] == mine
    assert seen_by(name, [f"Host: {mine}:8443"])["HTTP_HOST"] == f"{mine}:8443", "a port that is mapped to the host's"
    for line in (f"GET http://{mine}:{PORTS[name]}{path} HTTP/1.1", f"GET http://{mine.upper()}{path} HTTP/1.1"):
        shown = seen_by(name, ["Host: evil.example:6666"], line)
        assert shown["HTTP_HOST"].lower() == line.split("/")[2].lower(), line
        assert shown["HTTP_X_FORWARDED_HOST"] == shown["HTTP_HOST"]
        assert "evil" not in json.dumps(shown), shown


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize("spelling", ["-", "_", "mixed", "for the front alone"])
def test_forwarded_headers_are_the_fronts_own(host: Target, client: str, name: str, spelling: str) -> None:
    """None that the visitor sent is left, in any spelling."""
    spelled = {
        "-": FORWARDED,
        "_": {key.replace("-", "_"): value for key, value in FORWARDED.items()},
        "mixed": {key.replace("-", "_", 1).lower(): value for key, value in FORWARDED.items()},
        "for the front alone": {"Connection": ", ".join(["X-Forwarded-For, x-forwarded-proto,X-Forwarded-Host", "X-Real-IP", "Host"])},
    }
    asked = f"{host_of(name)}:{PORTS[name]}"
    shown = seen_by(name, [f"Host: {asked}", *lines_of(spelled[spelling])])
    assert {key: value for key, value in shown.items() if "FORWARDED" in key or key in ("HTTP_X_REAL_IP", "HTTP_X_SCRIPT_NAME")} == {
        "HTTP_X_FORWARDED_FOR": client, "HTTP_X_FORWARDED_PROTO": "http", "HTTP_X_FORWARDED_HOST": asked, "HTTP_X_REAL_IP": client
    }  # fmt: skip
    assert (shown["REMOTE_ADDR"], shown["wsgi.url_scheme"], shown["HTTP_HOST"]) == (client, "http", asked)
    assert "HTTPS" not in shown


@pytest.mark.parametrize("name", PORTS)
def test_no_header_is_taken_for_a_variable(host: Target, name: str) -> None:
    """Of WSGI, CGI or uWSGI."""

    def variables(headers: list[str]) -> dict[str, str]:
        shown = seen_by(name, [f"Host: {host_of(name)}", *headers])
        return {key: value for key, value in shown.items() if not key.startswith("HTTP_") and key not in ("REMOTE_PORT", "UNIQUE_ID")}

    plain, attacked = variables([]), variables(lines_of(VARIABLES))
    changing = {key for key in plain if key.startswith(("mod_wsgi.", "uwsgi.", "wsgi."))} - {"wsgi.url_scheme"}
    assert {key: value for key, value in attacked.items() if key not in changing} == {k: v for k, v in plain.items() if k not in changing}


@pytest.mark.parametrize("name", [name for name in PORTS if "trusted_proxies" in SETTINGS[name]])
def test_a_trusted_proxy_is_believed(host: Target, client: str, name: str) -> None:
    """Its visitor is the last address from the right that is not a trusted proxy; what is left of that, the visitor has written."""
    shown = seen_from_inside(host, name, X_Forwarded_For=f"{EVIL}, 203.0.113.7, 10.1.2.3", X_Forwarded_Proto="https",
                             X_Forwarded_Host="evil.example, shop.example:8443", X_Real_IP=EVIL, X_Forwarded_Prefix="/evil")  # fmt: skip
    assert (shown["REMOTE_ADDR"], shown["wsgi.url_scheme"], shown["HTTP_HOST"]) == ("203.0.113.7", "https", "shop.example:8443")
    assert {key: value for key, value in shown.items() if key.startswith("HTTP_X_")} == {
        "HTTP_X_FORWARDED_FOR": "203.0.113.7", "HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "shop.example:8443",
        "HTTP_X_REAL_IP": "203.0.113.7",
    }  # fmt: skip
    shown = seen_from_inside(host, name, X_Forwarded_For="2001:db9::7, 2001:db8::1", X_Forwarded_Proto="https", X_Forwarded_Port="443")
    assert (shown["REMOTE_ADDR"], shown["wsgi.url_scheme"], shown["HTTP_HOST"]) == ("2001:db9::7", "https", host_of(name))
    shown = seen_from_inside(host, name, X_Forwarded_For="203.0.113.7", X_Forwarded_Port="8443")
    assert (shown["REMOTE_ADDR"], shown["wsgi.url_scheme"], shown["HTTP_HOST"]) == ("203.0.113.7", "http", f"{host_of(name)}:8443")
    shown = seen_from_inside(host, name, X_Forwarded_Proto="evil", X_Forwarded_Host="evil example", X_Forwarded_Port="evil")
    asked = f"{host_of(name)}:{PORTS[name]}"
    assert (shown["REMOTE_ADDR"], shown["wsgi.url_scheme"], shown["HTTP_HOST"]) == ("127.0.0.1", "http", asked)


@pytest.mark.parametrize("name", [name for name in PORTS if "trusted_proxies" not in SETTINGS[name]])
def test_nobody_else_is(host: Target, name: str) -> None:
    """Not even the host itself."""
    asked = f"{host_of(name)}:{PORTS[name]}"
    shown = seen_from_inside(host, name, X_Forwarded_For=EVIL, X_Forwarded_Proto="https", X_Forwarded_Host="evil.example", X_Forwarded_Port="443")
    assert (shown["REMOTE_ADDR"], shown["wsgi.url_scheme"], shown["HTTP_HOST"]) == ("127.0.0.1", "http", asked)


@pytest.fixture(scope="module")
def over_ipv6(host: Target) -> Target:
    """The host with IPv6's loopback address."""
    host.turn_on_ipv6()
    return host


@pytest.mark.parametrize("name", PORTS)
def test_over_ipv6_an_app_gets_the_same(over_ipv6: Target, name: str) -> None:
    """A site listens on both families, and its host may be an address in brackets."""
    asked = f"[::1]:{PORTS[name]}" if name in NAMELESS else f"{host_of(name)}:{PORTS[name]}"
    shown = seen_from_inside(over_ipv6, name, "[::1]", Host=asked, X_Forwarded_For=EVIL, X_Forwarded_Host="evil.example")
    assert (shown["REMOTE_ADDR"], shown["wsgi.url_scheme"], shown["HTTP_HOST"]) == ("::1", "http", asked)
    assert (shown["HTTP_X_FORWARDED_FOR"], shown["HTTP_X_FORWARDED_HOST"], shown["HTTP_X_REAL_IP"]) == ("::1", asked, "::1")


@pytest.mark.parametrize(("port", "answer"), [(80, "RemoteDisconnected"), (8080, "421")])
@pytest.mark.parametrize("asked", ["evil.example", "[::1]"])
def test_over_ipv6_no_app_answers_a_name_that_is_nobodys(over_ipv6: Target, port: int, answer: str, asked: str) -> None:
    script = f"""
import http.client
connection = http.client.HTTPConnection("::1", {port}, timeout=10)
try:
    connection.request("GET", "/", headers={{"Host": {asked!r}}})
    print(connection.getresponse().status)
except http.client.HTTPException as error:
    print(type(error).__name__)
"""
    assert over_ipv6.run("python3 -", stdin=script) == answer


@pytest.mark.parametrize("name", PORTS)
def test_dotfiles_are_not_static_files(host: Target, name: str) -> None:
    """In whatever way they are written."""
    prefix, asked = SETTINGS[name].get("mount", ""), [f"Host: {host_of(name)}"]
    assert body_of(ask(PORTS[name], f"GET {prefix}/static/style.css HTTP/1.1", asked)) == b"served"
    for path in ("/static/.env", "/static/.git/config", "/static/a/.htpasswd", "/static/.well-known/x", "/static/%2eenv", "/static//.env"):
        answer = ask(PORTS[name], f"GET {prefix}{path} HTTP/1.1", asked)
        assert answer.startswith(b"HTTP/1.1 404 "), (path, answer)
    if not prefix:
        assert seen_by(name, asked, "GET /.well-known/x HTTP/1.1")["PATH_INFO"] == "/.well-known/x"


def test_a_name_shuts_the_port_to_others(host: Target, source: Path) -> None:
    """Also a wildcard, of which no health check knows a name. What speaks HTTP to its front can believe a proxy too."""
    apps = [settings_of(name, source, server_names=["*.example"], trusted_proxies=TRUSTED) for name in NAMELESS]
    host.converge(apps, playbook="site")
    for name, port in NAMELESS.items():
        answer = ask(port, "GET / HTTP/1.1", ["Host: evil.test"])
        assert answer == b"" or answer.startswith(b"HTTP/1.1 421 "), answer
        shown = seen_from_inside(host, name, X_Forwarded_For="203.0.113.7", X_Forwarded_Proto="https", X_Forwarded_Port="443")
        assert (shown["REMOTE_ADDR"], shown["wsgi.url_scheme"], shown["HTTP_HOST"]) == ("203.0.113.7", "https", "any.example")
