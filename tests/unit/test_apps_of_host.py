"""The apps that an inventory has for one host: a list of them, of which none hurts another one."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.filter.wrong_apps import FilterModule
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App
from ansible_collections.flaskops.hosting.plugins.plugin_utils.apps_of_host import clashes, problem_of_list
from ansible_collections.flaskops.hosting.tests.unit.hosts import app_of

SHOP = {"flask_app_name": "shop"}


def an_app(name: str, topology: str = "nginx_gunicorn", **variables: Any) -> App:
    """An app with a port of its own, unless another one is given."""
    return app_of(topology, name=name, **({} if topology == "dev_server" else {"listen": {"shop": "80", "blog": "81"}[name]}), **variables)


@pytest.mark.parametrize("apps", [[], [SHOP], [SHOP, {}]])
def test_a_list_of_dictionaries_is_right(apps: Any) -> None:
    assert problem_of_list(apps) == ""


@pytest.mark.parametrize(
    ("apps", "given"),
    [
        (None, "nothing"),
        ("shop", "a string"),
        (SHOP, "a dictionary"),
        ({"shop": SHOP}, "a dictionary"),
        (7, "another value"),
        (["shop"], "a list whose entry 1 is a string"),
        ([SHOP, None], "a list whose entry 2 is nothing"),
        ([[SHOP]], "a list whose entry 1 is a list"),
    ],
)
def test_anything_else_is_rejected(apps: Any, given: str) -> None:
    assert problem_of_list(apps) == (
        f"flask_apps: got {given}, needs a list of apps, each a dictionary. For example:\n"
        "    flask_apps:\n      - flask_app_name: shop\n        flask_app_source: /home/me/shop"
    )


def test_the_first_host_with_wrong_apps_is_named() -> None:
    wrong_apps = FilterModule().filters()["wrong_apps"]
    hostvars = {"db1": {}, "web1": {"flask_apps": [SHOP]}, "web2": {"flask_apps": None}, "web3": {"flask_apps": "shop"}}
    assert wrong_apps(["db1", "web1"], hostvars) == ""
    assert wrong_apps(["db1", "web1", "web2", "web3"], hostvars).startswith("web2: flask_apps: got nothing, needs a list of apps")


def test_apps_that_share_nothing_do_not_clash() -> None:
    assert list(clashes([an_app("shop"), an_app("blog")])) == []
    assert list(clashes([an_app("shop"), an_app("blog", "apache_mod_wsgi")])) == []


@pytest.mark.parametrize(
    ("shop", "blog", "problem"),
    [
        ({}, {"name": "shop", "user": "blog", "root": "/srv/blog"}, "flask_app_name: 'shop' is another app's of this host too"),
        ({}, {"user": "shop"}, "flask_app_user: 'shop' is the app shop's"),
        ({}, {"root": "/srv/shop"}, "flask_app_root: '/srv/shop' is the app shop's"),
        ({}, {"root": "/srv/shop/blog"}, "flask_app_root: got '/srv/shop/blog', but the app shop has /srv/shop"),
        ({"root": "/srv/blog/shop"}, {}, "flask_app_root: got '/srv/blog', but the app shop has /srv/blog/shop"),
        ({}, {"listen": "80"}, "flask_app_mount: / on port 80 is the app shop's"),
        (
            {"nginx_gunicorn_listen": "127.0.0.1:8080"},
            {"nginx_gunicorn_listen": "127.0.0.1:8080"},
            "nginx_gunicorn_listen: 127.0.0.1:8080 is the app",
        ),
        ({"nginx_gunicorn_listen": "127.0.0.1:81"}, {}, "flask_app_listen: port 81 is the app shop's"),
        ({}, {"nginx_gunicorn_listen": "127.0.0.1:80"}, "nginx_gunicorn_listen: port 80 is the app shop's"),
    ],
)
def test_what_two_apps_cannot_both_have_is_reported_once(shop: dict[str, Any], blog: dict[str, Any], problem: str) -> None:
    both = [
        app_of("nginx_gunicorn", **{"name": "shop", "listen": "80", **shop}),
        app_of("nginx_gunicorn", **{"name": "blog", "listen": "81", **blog}),
    ]
    (found,) = clashes(both)
    assert found.startswith(f"{both[1].name}: {problem}"), found


def test_two_fronts_do_not_share_a_port() -> None:
    (found,) = clashes([an_app("shop"), app_of("apache_gunicorn", name="blog", listen="80")])
    assert (
        found == "blog: flask_app_listen: port 80 is the app shop's, which is behind nginx; give this app another port, or the other one's topology"
    )


def test_development_and_production_do_not_share_a_host() -> None:
    (found,) = clashes([an_app("shop"), app_of("dev_server", name="blog")])
    assert found.startswith("blog: flask_app_name: this host has the app shop (nginx_gunicorn), and a development server")
