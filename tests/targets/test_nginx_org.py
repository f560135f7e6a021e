"""nginx from nginx.org: its nginx.conf reads conf.d alone and it runs with an account of its own. What it warns of is read."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import Target, app, differences, missing, write_source

pytestmark = thorough

ADDRESS = "198.18.2.230"
MAIN = """
user  nginx;
worker_processes  auto;

error_log  /var/log/nginx/error.log notice;
pid        /run/nginx.pid;


events {
    worker_connections  1024;
}


http {
    include       /etc/nginx/mime.types;
    default_type  application/octet-stream;

    access_log  /var/log/nginx/access.log;
    sendfile        on;
    keepalive_timeout  65;

    include /etc/nginx/conf.d/*.conf;
}
"""
PAGE = """server {
    listen       80;
    server_name  localhost;

    #access_log  /var/log/nginx/host.access.log  main;

    location / {
        root   /usr/share/nginx/html;
        index  index.html index.htm;
    }

    # redirect server error pages to the static page /50x.html
    #
    error_page   500 502 503 504  /50x.html;
    location = /50x.html {
        root   /usr/share/nginx/html;
    }
}
"""
OWN_SITE = "server { listen 8080; server_name own.example; return 200 own; }\n"
MAIN_PATH = "/etc/nginx/nginx.conf"
FILES = {MAIN_PATH: MAIN, "/etc/nginx/conf.d/default.conf": PAGE, "/etc/nginx/conf.d/own.conf": OWN_SITE}
OWN_PAGE = "python3 -c 'import urllib.request as r; print(r.urlopen(\"http://127.0.0.1:8080/\").read().decode())'"
COUNT = """
def app(environ, start):
    start("200 OK", [])
    return [str(len(environ["wsgi.input"].read())).encode()]
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An app that answers how much was sent to it, with a file."""
    source = write_source(tmp_path_factory.mktemp("shop"), {"main.py": COUNT, "static/style.css": "body { color: navy; }"})
    return app("shop", source, static={"/static": "static"}, server_names=["shop.example"])


@pytest.fixture(scope="module")
def host(target: Target) -> Target:
    """A host with nginx as nginx.org's package lays it out, which serves a page of its owner's."""
    target.run("cd /etc/nginx && rm -rf sites-* snippets modules-* nginx.conf && useradd --system --user-group --shell /bin/false nginx")
    for path, content in FILES.items():
        target.run(f"cat >{path}", stdin=content)
    target.run("systemctl enable --quiet nginx && systemctl restart nginx")
    return target


def test_apps_are_served_and_the_owners_page_too(host: Target, shop: dict[str, Any]) -> None:
    """A body that nginx keeps in a file arrives; a name that no site has gets no answer; a second run has nothing to do; removal leaves nothing."""
    before = host.snapshot("/etc/nginx")
    apps = [shop, app("api", listen="81", nginx_gunicorn_listen="127.0.0.1:9001")]
    play = host.converge(apps)
    assert host.get("/", host="shop.example", method="POST", body=b"x" * 1_000_000).text == "1000000"
    assert host.get("/static/style.css", host="shop.example").text == "body { color: navy; }"
    assert host.get("/", port=81).json()["version"] == "one"
    assert host.run(OWN_PAGE) == "own"
    with pytest.raises(OSError):
        host.get("/", host="other.example")
    read = host.run("nginx -T 2>/dev/null")
    assert missing(read, ["/etc/nginx/sites-enabled/80-shop.example.conf", "user  nginx www-data;", "worker_connections  8192;"]) == []
    assert host.run("ps -o user= --ppid $(cat /run/nginx.pid) | sort -u") == "nginx"
    assert "conflicting server name" not in play.output
    assert host.converge(apps).recap["changed"] == 0
    host.converge([{"flask_app_name": name, "flask_app_state": "absent"} for name in ("shop", "api")])
    assert list(differences(before, host.snapshot("/etc/nginx"))) == ["/etc/nginx/conf.d/default.conf", MAIN_PATH]
    assert host.run(f"cat {MAIN_PATH}") == MAIN.strip(), "it has a new time, and nothing else is new"
    assert host.run(OWN_PAGE) == "own"


def test_a_name_that_nginx_has_already_is_rejected(host: Target, shop: dict[str, Any]) -> None:
    """Of two servers with one name it takes the first, and only warns: the app's visitors would get the other one's page."""
    host.run("cat >/etc/nginx/conf.d/own.conf", stdin=OWN_SITE.replace("8080", "80").replace("own.example", "shop.example"))
    host.run("systemctl reload nginx")
    before = host.snapshot("/etc/nginx")
    play = host.play([shop])
    words = ['conflicting server name "shop.example" on 0.0.0.0:80, ignored', "Nothing was changed, because this was rejected"]
    assert play.returncode == 2 and missing(play.output.replace("\\", ""), words) == []
    assert differences(before, host.snapshot("/etc/nginx")) == {}


def test_sites_that_nginx_does_not_read_are_rejected(host: Target, shop: dict[str, Any]) -> None:
    """It would go on without them, and say that its configuration is right."""
    host.run("rm /etc/nginx/conf.d/own.conf && sed -i 's,include /etc/nginx/conf.d/.*,# sites-enabled/,' /etc/nginx/nginx.conf")
    before = host.snapshot("/etc/nginx")
    play = host.play([shop])
    words = ["nginx.service does not read /etc/nginx/sites-enabled/80-shop.example.conf: nginx -T does not name it", "Nothing was changed"]
    assert play.returncode == 2 and missing(play.output, words) == []
    assert differences(before, host.snapshot("/etc/nginx")) == {}
