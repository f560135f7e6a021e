"""Which apps' WebSockets a front passes on."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils import plan
from ansible_collections.flaskops.hosting.tests.unit.hosts import a_host, app_of


def front_of(topology: str, **values: Any) -> str:
    """What the front reads of an app."""
    planned = plan.plan_present(app_of(topology, **values), a_host(), "192.0.2.10", "ubuntu")
    files: dict[str, str] = {entry["dest"]: entry["content"] for entry in planned["files"] if "content" in entry}
    return next(content for path, content in files.items() if "/flaskops/" in path and path.endswith("shop.conf"))


@pytest.mark.parametrize("topology", ["nginx_gunicorn", "apache_gunicorn"])
def test_websockets_pass_if_the_server_can_and_the_app_wants_them(topology: str) -> None:
    without = front_of(topology)
    for worker_class in ("gthread", "gevent"):
        assert "upgrade" in front_of(topology, nginx_gunicorn_worker_class=worker_class).replace("Upgrade", "")
        assert front_of(topology, nginx_gunicorn_worker_class=worker_class, websocket="never") == without
    assert front_of(topology, websocket="auto") == without
