# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The systemd units of an app: that of a release, and those of a port of the app's own."""

from __future__ import annotations

from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import SOCKET, App, OnHost, Service, Text
from ansible_collections.flaskops.hosting.plugins.plugin_utils.sandbox import SANDBOX, sandbox, sandbox_of_the_distribution
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import RELEASE_PATH, fill

UNITS = "/etc/systemd/system"


def web_unit(app: App, command: str, stop_timeout: int, lines: list[str] | None = None, service_type: str = "notify") -> Text:
    """The unit that runs a release's web server. ``stop_timeout`` is in seconds; ``lines`` are more lines of its section ``[Service]``."""
    # the app reads its release, and writes its socket, its shared data and a /tmp of its own; Gunicorn and uWSGI change the owner of their socket
    writable = f"{RELEASE_PATH}/run {app.root}/shared"
    allowed = sandbox(ReadWritePaths=writable, SystemCallFilter=[*SANDBOX["SystemCallFilter"], "@chown"])
    content = fill(
        "flask_app", "app.service.j2", app=app, command=command, stop_timeout=stop_timeout, lines=lines or [], service_type=service_type,
        server=app.topology.server.title, sandbox=allowed,
    )  # fmt: skip
    return Text("app.service", content)


def drop_in(service: str, **changes: str | list[str]) -> Text:
    """What shuts in a unit of the distribution's, with the ``changes`` of its kind."""
    return Text(f"{UNITS}/{service}.d/flaskops.conf", fill("flask_app", "drop_in.conf.j2", lines=sandbox_of_the_distribution(**changes)))


def systemd_instance(protocol: str) -> dict[str, str]:
    """A release's web server under systemd, as the module ``release`` takes it. ``protocol`` is ``http`` or ``uwsgi``."""
    return {"name": "web", "manager": "systemd", "file": "app.service", "socket": SOCKET, "protocol": protocol}


def own_port(listen: str) -> str:
    """The TCP address of a server's variable ``…_listen``; empty if it names the release's own socket."""
    return "" if listen.startswith("unix:") else listen


def port_on_host(app: App, port: str) -> OnHost:
    """The units that hold an app's own TCP port: systemd hands each connection to the live release's socket, so a release is switched behind it."""
    if not port:
        return OnHost()
    unit = f"{app.name}-port-{port.rpartition(':')[2]}"
    lines = sandbox(PrivateNetwork="yes", UMask="0077", MemoryDenyWriteExecute="yes")
    socket, service = f"{UNITS}/{unit}.socket", f"{UNITS}/{unit}.service"
    return OnHost(
        files=[
            Text(socket, fill("flask_app", "port.socket.j2", app=app, unit=unit, port=port)),
            Text(service, fill("flask_app", "port.service.j2", app=app, unit=unit, sandbox=lines)),
        ],
        services=[Service(f"{unit}.socket", reads=[socket, service], on_change="restarted")],
    )
