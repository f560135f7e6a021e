# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app under Werkzeug's development server."""

from __future__ import annotations

from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import SOCKET, App, Served
from ansible_collections.flaskops.hosting.plugins.plugin_utils.entry import entry, entry_file, needs_entry
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import RELEASE_PATH
from ansible_collections.flaskops.hosting.plugins.plugin_utils.units import own_port, systemd_instance, web_unit


def served(app: App) -> Served:
    """What the development server needs of a release. Its debugger stays off, because it lets whoever reaches the port run code."""
    module = f"{RELEASE_PATH}/{entry(app.module)}".replace(":", ".py:") if needs_entry(app.module) else app.module
    command = f"{RELEASE_PATH}/.venv/bin/flask --app {module} run --reload --no-debugger --host unix://{RELEASE_PATH}/{SOCKET}"
    return Served(
        settings=[*entry_file(app.module), web_unit(app, command, stop_timeout=5, service_type="exec")],
        instance=systemd_instance("http"),
        port=own_port(app.values["dev_server_listen"]),
    )
