"""An app answers under its mount with right URLs; static files come from nginx; apps share a site."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Target, app

ADDRESS = "198.18.2.50"
SHOP = app(
    "shop",
    APPS / "shop",
    requirements="requirements.txt",
    mount="/shop",
    static={"/static": "static", "/notes": "static/my notes"},
    nginx_site_snippet="add_header X-Snippet shop always;",
)
DEEP = app("deep", mount="/a/b", nginx_gunicorn_listen="127.0.0.1:8081")
ROOT_APP = app("front")
NAMES = {"flask_app_server_names": ["named.example", "*.wild.example"]}


@pytest.fixture(scope="module")
def host(target: Target) -> Target:
    """Three apps on one site under different mounts."""
    target.converge([SHOP, DEEP, ROOT_APP])
    return target


def test_each_mount_reaches_its_app(host: Target) -> None:
    """The app sees its mount as SCRIPT_NAME, on a unix socket and on TCP; what is under no mount goes to the app at /."""
    assert host.get("/").json() == {"version": "one", "mount": ""}
    assert host.get("/a/b/").json() == {"version": "one", "mount": "/a/b"}
    assert host.get("/a/b/who").json()["cwd"].startswith("/srv/deep/")
    assert host.get("/shop/items/7").json() == {
        "number": 7, "path": "/items/7", "root": "/shop", "url": f"http://{ADDRESS}/shop/items/7"
    }  # fmt: skip
    for path in ("/a/who", "/shopping/who", "/who"):
        assert host.get(path).status == 200
    assert host.get("/who").json()["cwd"].startswith("/srv/front/")


def test_urls_and_redirects_stay_under_the_mount(host: Target) -> None:
    """url_for, a redirect by the app and one by Flask's router all lead back into the app."""
    assert host.get("/shop/").json() == {"item": "/shop/items/7", "style": "/shop/static/style.css", "query": ""}
    answer = host.get("/shop/items", method="POST")
    assert (answer.status, answer.headers["Location"]) == (303, "/shop/items/8")
    answer = host.get("/shop/folder")
    assert answer.status == 308 and answer.headers["Location"] == f"http://{ADDRESS}/shop/folder/"
    assert host.get("/shop/folder/").text == "folder"


@pytest.mark.parametrize(("path", "location"), [("/shop", "/shop/"), ("/shop?a=1&b=%20x", "/shop/?a=1&b=%20x"), ("/a/b?c", "/a/b/?c")])
def test_mount_without_slash_is_completed(host: Target, path: str, location: str) -> None:
    """With its query, with its method, and without a guess at the scheme or host that a proxy before nginx may have."""
    answer = host.get(path, method="POST")
    assert (answer.status, answer.headers["Location"]) == (308, location)


def test_query_and_host_arrive(host: Target) -> None:
    """The app sees what the client sent."""
    assert host.get("/shop/?q=%E3%83%9A%E3%83%B3&x=1").json()["query"] == "q=%E3%83%9A%E3%83%B3&x=1"
    assert host.get("/shop/items/1", host="else.example:8000").json()["url"] == "http://else.example:8000/shop/items/1"


def test_static_files_come_from_nginx(host: Target) -> None:
    """With the right type, also while the app is stopped; the rest of the code is not to be had."""
    unit = f"shop@{host.live('shop')}.service"
    host.run(f"systemctl stop {unit}")
    try:
        answer = host.get("/shop/static/style.css")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/css")
        assert answer.text == "body { color: navy; }\n"
        assert host.get("/shop/notes/hello.txt").text == "hello\n", "the directory's name has a space"
        assert host.get("/shop/").status == 502
        for path in ("/shop/static/../main.py", "/shop/static/%2e%2e/main.py", "/shop/static..%2fmain.py", "/shop/static../main.py"):
            assert host.get(path).status in (400, 404, 502), path
        assert host.get("/shop/static/").status in (403, 404), "a directory's names are nobody's business"
        assert host.get("/").status == 200
    finally:
        host.run(f"systemctl start {unit}")
    assert host.get("/shop/").status == 200


def test_snippet_is_the_apps_alone(host: Target) -> None:
    """Lines for one app's location do not touch the others. An answer for a page of another site, which is not compressed, has them too."""
    for site in ("same-origin", "cross-site"):
        assert host.get("/shop/items/7", Sec_Fetch_Site=site).headers["X-Snippet"] == "shop"
    assert host.get("/shop/items", method="POST", body=b"x" * 1000).status == 303
    assert "X-Snippet" not in host.get("/").headers


def test_new_static_file_is_served_with_its_release(host: Target, tmp_path: Path) -> None:
    """A new release's files replace the old one's without a reload of nginx."""
    workers = host.run("pgrep -P $(cat /run/nginx.pid)")
    source = Path(shutil.copytree(APPS / "shop", tmp_path / "shop"))
    (source / "static/style.css").write_text("body { color: teal; }\n")
    (source / "static/ペン.txt").write_text("ペン")
    host.converge([{**SHOP, "flask_app_source": str(source)}])
    assert host.get("/shop/static/style.css").text == "body { color: teal; }\n"
    assert host.get("/shop/static/%E3%83%9A%E3%83%B3.txt").text == "ペン"
    assert host.run("pgrep -P $(cat /run/nginx.pid)") == workers


@pytest.fixture(scope="module")
def moved(host: Target) -> Target:
    """The host on which one app has got another mount, and names of its own on the same port."""
    host.converge([{**DEEP, **NAMES, "flask_app_mount": "/c"}])
    return host


def test_changed_mount_moves_the_app(moved: Target) -> None:
    """The old address is the app's at / again, the new one is this app's."""
    assert moved.get("/c/", host="named.example").json()["mount"] == "/c"
    assert moved.get("/a/b/").json()["mount"] == ""


def test_site_is_chosen_by_name(moved: Target) -> None:
    """Names, wildcards too, lead to their own app; every other name to the site without names."""
    for name in ("named.example", "shop.wild.example"):
        assert moved.get("/c/who", host=name).json()["cwd"].startswith("/srv/deep/")
    assert moved.get("/who", host="other.example").json()["cwd"].startswith("/srv/front/")
    assert moved.get("/c/", host="other.example").json()["mount"] == ""
    assert moved.get("/shop/", host="other.example").status == 200
