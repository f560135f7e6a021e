"""HTTPS with a certificate of one's own, on each front, and when an app moves between them; and behind a load balancer.

The tests tell one host's story, in their order. Each play has several apps, because a play costs more than an app.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.authority import Authority, fingerprint, visit
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Answer, Target, app, missing, write_source

ADDRESS = "198.18.2.30"
PLAYBOOK = ROOT / "playbooks/hosting.yml"  # each app names its topology
NAMES = ["shop.example", "www.shop.example"]
HSTS = "max-age=31536000"
OVER_IPV6 = """
import socket
import ssl

connection = socket.create_connection(("::1", 443), timeout=10)
try:
    print(ssl._create_unverified_context().wrap_socket(connection, server_hostname="{}").version())
except ssl.SSLError:
    print("no handshake")
"""
# what somebody on the host itself gets, who is no load balancer
FROM_THE_HOST = """
import http.client
import sys

connection = http.client.HTTPConnection(sys.argv[1], timeout=10)
connection.request("GET", "/", headers={"Host": sys.argv[2], "X-Forwarded-Proto": "https"})
answer = connection.getresponse()
print(answer.status, "Strict-Transport-Security" in answer.headers, answer.read().decode())
"""
SOURCE = """
import json


def app(environ, start_response):
    told = {"scheme": environ["wsgi.url_scheme"], "forwarded": environ.get("HTTP_X_FORWARDED_PROTO", ""), "mount": environ.get("SCRIPT_NAME", "")}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that all tests here trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


def secured(name: str, pair: tuple[Path, Path], topology: str, **settings: Any) -> dict[str, Any]:
    """An app with HTTPS by these files."""
    source = write_source(pair[0].parent / "source", {"main.py": SOURCE})
    files = {"tls": "files", "tls_certificate": str(pair[0]), "tls_key": str(pair[1])}
    return app(name, source, topology=topology, **files, **{"server_names": NAMES, **settings})


def balanced(name: str, target: Target, authority: Authority, topology: str) -> dict[str, Any]:
    """An app behind a load balancer, which is the test's own machine."""
    source = write_source(authority.work / "source", {"main.py": SOURCE})
    balancer = target.run("ip route show default").split()[2]
    return app(name, source, topology=topology, server_names=[f"{name}.example"], tls="balancer", trusted_proxies=[balancer])


def assert_served(host: Target, authority: Authority, certificate: Path) -> None:
    """HTTPS, HTTP/2, the redirect and HSTS, and no answer for names that nobody has."""
    for name in NAMES:
        found = visit(host, name, "/who", authority.root)
        assert (found.answer.status, found.answer.headers["Strict-Transport-Security"], found.version) == (200, HSTS, "TLSv1.3")
        assert found.fingerprint == fingerprint(certificate)
        assert visit(host, name, alpn="h2").protocol == "h2"
        answer = host.get("/a%20b/%E3%83%9A?q=%2F&x=1", host=name, method="POST")
        location = answer.headers["Location"].replace("%e3%83%9a", "%E3%83%9A")  # Apache writes small letters
        assert (answer.status, location) == (308, f"https://{name}/a%20b/%E3%83%9A?q=%2F&x=1")
        assert "Strict-Transport-Security" not in answer.headers
    with pytest.raises(ssl.SSLError):
        visit(host, "other.example")


def assert_balanced(host: Target, name: str) -> None:
    """What a load balancer was asked by HTTP is redirected; its health check, of which it says nothing, and a visitor who only says so are not."""
    plain, by_http, by_https = (asked(host, name, forwarded) for forwarded in ("", "http", "https"))
    assert (plain.status, "Strict-Transport-Security" in plain.headers) == (200, False)
    assert (by_http.status, by_http.headers["Location"]) == (308, f"https://{name}/a%20b?q=%2F")
    assert (by_https.json()["scheme"], by_https.headers["Strict-Transport-Security"]) == ("https", HSTS)
    status, is_told, body = host.run(f"python3 - {host.address} {name}", stdin=FROM_THE_HOST).split(" ", 2)
    assert (status, is_told, json.loads(body)["scheme"]) == ("200", "False", "http")


@pytest.mark.parametrize(
    ("topology", "other", "before"), [("nginx_uwsgi", "nginx_gunicorn", []), ("apache_mod_wsgi", "apache_uwsgi_mysql", ["behind-nginx"])]
)
def test_each_front_and_a_move(target: Target, authority: Authority, topology: str, other: str, before: list[str]) -> None:
    """A second run changes nothing, the app knows that it is asked by HTTPS, and the key is root's alone. Another app is behind a load balancer."""
    pair = authority.give(*NAMES)
    behind = f"behind-{topology.partition('_')[0]}"
    gone = [app(name, state="absent", topology=other) for name in before]
    apps = [secured("shop", pair, topology), balanced(behind, target, authority, other)]
    play = target.converge([*gone, *apps], playbook=PLAYBOOK)
    assert missing(play.output, ["shop answers at https://shop.example/ ", f"{behind} answers at https://{behind}.example/ "]) == []
    assert "Its certificate from A CA for tests has 89 days left" in " ".join(play.output.split())
    assert_served(target, authority, pair[0])
    assert_balanced(target, f"{behind}.example")
    told = visit(target, NAMES[0], "/", authority.root).answer.json()
    assert (told["scheme"], told["forwarded"]) == ("https", "https")
    target.turn_on_ipv6()
    assert [target.run("python3 -", stdin=OVER_IPV6.format(name)) for name in (NAMES[0], "other.example")] == ["TLSv1.3", "no handshake"]
    second = target.converge(apps, "-vvv", playbook=PLAYBOOK)
    assert second.recap["changed"] == 0, second.changed
    key = target.run("ls /etc/flaskops/certificates/*/privkey.pem")
    assert target.run(f"stat --format '%U %a' {key}") == "root 600"
    secret = pair[1].read_text().splitlines()[1]
    assert secret not in play.output + second.output + target.run("journalctl --no-pager --output=cat")
    assert target.run("ufw status | grep -c '^443/tcp .*ALLOW'") == "2"  # IPv4 and IPv6


def test_new_files_are_served(target: Target, authority: Authority) -> None:
    """Without a new release; a dry run shows that they come, and nothing of the key. The site's second app brings them too."""
    pair = authority.give(*NAMES)
    release = target.live("shop")
    shop, blog = (secured(name, pair, "apache_mod_wsgi", **settings) for name, settings in (("shop", {}), ("blog", {"mount": "/blog"})))
    dry = target.dry_run([shop], playbook=PLAYBOOK)
    assert {path.rpartition("/")[2] for path in dry.diffs} == {"fullchain.pem"}, "of a key, nothing is shown"
    assert pair[1].read_text().splitlines()[1] not in dry.output
    target.converge([shop, blog], playbook=PLAYBOOK)
    assert_served(target, authority, pair[0])
    assert visit(target, NAMES[0], "/blog/", authority.root).answer.json()["mount"] == "/blog"
    assert target.live("shop") == release


def test_files_that_do_not_fit_are_rejected(target: Target, authority: Authority) -> None:
    """Those of all apps at once."""
    pair = authority.give(*NAMES)
    others = {"shop": ["else.example"], "wild": ["a.example", "*.shop.example"]}
    play = target.play([secured(name, pair, "apache_mod_wsgi", server_names=names) for name, names in others.items()], playbook=PLAYBOOK)
    assert play.returncode != 0
    words = [
        "flask_app_tls_certificate: ",
        "is for shop.example, www.shop.example; needs else.example",
        "needs *.shop.example of flask_app_server_names too",
    ]
    assert missing(play.output, [*words, "Nothing was changed."]) == []


def test_maintenance_and_errors_keep_browsers_on_https(target: Target, authority: Authority) -> None:
    target.run("echo closed >/srv/shop/maintenance.html")
    found = visit(target, NAMES[0], "/", authority.root).answer
    target.run("rm /srv/shop/maintenance.html")
    assert (found.status, found.headers["Strict-Transport-Security"], found.headers["Retry-After"]) == (503, HSTS, "300")


def test_without_https_again_nothing_is_left(target: Target) -> None:
    """HTTP serves again, port 443 is closed, and no certificate is on the host."""
    target.topology = "apache_mod_wsgi"
    target.converge([app("blog", state="absent"), app("shop", server_names=NAMES)])
    assert target.get("/", host=NAMES[0]).status == 200
    assert target.run("ls -d /etc/flaskops/certificates /etc/*/*/flaskops-unknown-*443.conf 2>/dev/null || true") == ""
    assert target.run("ufw status | grep -c '^443/tcp' || true") == "0"
    assert target.run("ss --listening --tcp --numeric --no-header '( sport = :443 )'") == ""


def asked(host: Target, name: str, forwarded: str) -> Answer:
    """What a load balancer gets that says by which scheme it was asked."""
    connection = http.client.HTTPConnection(host.address, timeout=10)
    connection.request("GET", "/a%20b?q=%2F", headers={"Host": name, **({"X-Forwarded-Proto": forwarded} if forwarded else {})})
    answer = connection.getresponse()
    found = Answer(answer.status, dict(answer.getheaders()), answer.read())
    connection.close()
    return found
