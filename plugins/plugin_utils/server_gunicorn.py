# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app under Gunicorn."""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App, Served, Text
from ansible_collections.flaskops.hosting.plugins.plugin_utils.entry import entry, entry_file, needs_entry
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import RELEASE_PATH, fill
from ansible_collections.flaskops.hosting.plugins.plugin_utils.units import own_port, systemd_instance, web_unit

OLDEST = "21.2.0"  # older ones need a package that Python 3.12 has no more
GRACEFUL_TIMEOUT = 30  # seconds, Gunicorn's own default


def served(app: App) -> Served:
    """What Gunicorn needs of a release."""
    values = app.values
    command = f"{RELEASE_PATH}/.venv/bin/gunicorn --config {RELEASE_PATH}/gunicorn.conf.py {entry(app.module)}"
    # a sync worker answers nobody else meanwhile, and is replaced after a timeout
    websocket = app.websocket == "auto" and values["nginx_gunicorn_worker_class"] != "sync"
    lines = [f"Environment=SCRIPT_NAME={app.mounts[0].prefix}"]
    return Served(
        settings=[
            *entry_file(app.module),
            web_unit(app, command, stop_timeout=GRACEFUL_TIMEOUT + 5, lines=lines),
            Text(
                "gunicorn.conf.py",
                fill(
                    "nginx_gunicorn",
                    "gunicorn.conf.py.j2",
                    app=app,
                    websocket=websocket,
                    graceful_timeout=GRACEFUL_TIMEOUT,
                    has_entry=needs_entry(app.module),
                    options=_options(values),
                    **_own(values),
                ),
            ),
        ],
        instance=systemd_instance("http"),
        requirements=[_requirement(values["nginx_gunicorn_requirement"], values["nginx_gunicorn_worker_class"])],
        minimum={"gunicorn": OLDEST},
        port=own_port(values["nginx_gunicorn_listen"]),
        websocket=websocket,
    )


def _own(values: dict[str, Any]) -> dict[str, Any]:
    """Gunicorn's variables by their names without the role's."""
    return {name: values[f"nginx_gunicorn_{name}"] for name in ("workers", "threads", "worker_class")}


def _options(values: dict[str, Any]) -> str:
    """Further settings as Python; by way of JSON, because a value from Ansible may be of a type of its own."""
    return repr(json.loads(json.dumps(values["nginx_gunicorn_options"])))


def _requirement(given: str, worker_class: str) -> str:
    """gevent comes as an extra of Gunicorn, and is installed only if it is used."""
    return re.sub(r"^gunicorn(?!\[)", "gunicorn[gevent]", given) if worker_class == "gevent" else given
