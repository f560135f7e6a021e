# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The systemd units of an app: that of a release, and those of a port of the app's own."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.account import FRONT_ACCOUNT
from ansible_collections.flaskops.hosting.plugins.module_utils.record import Listen
from ansible_collections.flaskops.hosting.plugins.module_utils.release_variables import WEB, release_variables
from ansible_collections.flaskops.hosting.plugins.module_utils.sandbox import sandbox, sandbox_of_app, sandbox_of_the_distribution
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import SOCKET, App, OnHost, Service, Text
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import RELEASE_NAME, RELEASE_PATH, fill

UNITS = "/etc/systemd/system"
# What rotates the logs of a front, as the files of their packages say. A package that is installed by this collection starts nothing by itself.
LOG_ROTATION = Service("logrotate.timer", reads=["/etc/logrotate.d"])
PEOPLE = "1000-59999"  # the numbers that Debian gives to people's accounts, in its policy's section 9.2.2


def web_unit(app: App, command: str, stop_timeout: int, lines: list[str] | None = None, service_type: str = "notify") -> Text:
    """The unit that runs a release's web server. ``stop_timeout`` is in seconds; ``lines`` are more lines of its section ``[Service]``."""
    content = fill(
        "flask_app", "app.service.j2", app=app, command=command, stop_timeout=stop_timeout, lines=lines or [], service_type=service_type,
        server=app.topology.server.title, release_variables=web_variables(app), sandbox=sandbox_of_app(RELEASE_PATH, app.root),
    )  # fmt: skip
    return Text("app.service", content)


def web_variables(app: App) -> dict[str, str]:
    """What the web server of a release has in its environment beside the app's own variables."""
    return release_variables(app.name, RELEASE_NAME, RELEASE_PATH, WEB)


def drop_in(service: str, **changes: str | list[str]) -> Text:
    """What shuts in a unit of the distribution's, with the ``changes`` of its kind."""
    return Text(f"{UNITS}/{service}.d/flaskops.conf", fill("flask_app", "drop_in.conf.j2", lines=sandbox_of_the_distribution(**changes)))


def systemd_instance(protocol: str) -> dict[str, Any]:
    """A release's web server under systemd, as the module ``release`` takes it. ``protocol`` is ``http`` or ``uwsgi``."""
    return {"name": "web", "manager": "systemd", "file": "app.service", "socket": SOCKET, "protocol": protocol}


def own_port(listen: str) -> str:
    """The TCP address of a server's variable ``…_listen``; empty if it names the release's own socket."""
    return "" if listen.startswith("unix:") else listen


def port_on_host(app: App, port: str) -> OnHost:
    """The units that hold an app's own TCP port: systemd hands each connection to the live release's socket, so a release is switched behind it.

    Only root and the front's account can connect to it, and for an app without a front people's accounts, because an SSH tunnel ends in theirs.
    """
    if not port:
        return OnHost()
    listen = Listen.parse(port)
    unit = f"{app.name}-port-{listen.port}"
    accounts = f"root, {FRONT_ACCOUNT if app.topology.front else PEOPLE}"
    # Not PrivateNetwork: its connections would be of another network, and a deploy could not see how many an old release still has.
    lines = sandbox(RestrictAddressFamilies="AF_UNIX", UMask="0077", MemoryDenyWriteExecute="yes")
    socket, service = f"{UNITS}/{unit}.socket", f"{UNITS}/{unit}.service"
    return OnHost(
        files=[
            Text(socket, fill("flask_app", "port.socket.j2", app=app, unit=unit, port=port, destination=_destination(listen), accounts=accounts)),
            Text(service, fill("flask_app", "port.service.j2", app=app, unit=unit, sandbox=lines)),
        ],
        services=[Service(f"{unit}.socket", reads=[socket, service], on_change="restarted")],
        packages=["nftables"],
    )


def _destination(listen: Listen) -> str:
    """An address as a rule of nftables."""
    address = ip_address(listen.address.strip("[]"))
    family = "" if address.is_unspecified else f"{'ip' if address.version == 4 else 'ip6'} daddr {address} "
    return f"{family}tcp dport {listen.port}"
