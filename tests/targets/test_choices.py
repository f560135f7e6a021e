"""Variables that most people never set do what they say."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.hosting.tests.targets.harness import Target, app

ADDRESS = "198.18.2.130"
ROOT = "/opt/shops/shop"


def test_other_places_versions_and_times(target: Target) -> None:
    """Root, group, Python, Gunicorn's version and timeout, and the health path, all other than by default."""
    python = target.run("readlink -f /usr/bin/python3")
    choices: dict[str, Any] = {
        "root": ROOT,
        "group": "shopkeepers",
        "python": python,
        "health_path": "/?deep=yes",
        "health_timeout": 20,
        "nginx_gunicorn_requirement": "gunicorn==26.2.0",
        "flask_app_timeout": 7,
    }
    target.converge([app("shop", **choices)])
    assert target.get("/").status == 200
    assert target.run(f"{ROOT}/current/.venv/bin/gunicorn --version") == "gunicorn (version 26.2.0)"
    assert target.run(f"readlink -f {ROOT}/current/.venv/bin/python") == python
    assert target.run("id --group --name shop") == "shopkeepers"
    assert target.run(f"stat --format=%U:%G {ROOT}/current/code/main.py") == "root:shopkeepers"
    assert "proxy_read_timeout 7s;" in target.run("nginx -T 2>/dev/null")
    # nginx gives up first
    assert "timeout = 9\n" in target.run(f"cat {ROOT}/current/gunicorn.conf.py")
    assert not target.succeeds("test -e /srv/shop")
