# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app behind nginx."""

from __future__ import annotations

import hashlib
from typing import Any

from ansible_collections.flaskops.hosting.plugins.plugin_utils import forwarded
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App, Edit, Gone, Link, OnHost, Served, Service, Text
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import fill
from ansible_collections.flaskops.hosting.plugins.plugin_utils.units import LOG_ROTATION, drop_in
from ansible_collections.flaskops.hosting.plugins.plugin_utils.unknown_names import refusals

# One half-open request holds a connection; those of Debian's own limit are soon taken. It has no other place than that file.
CONNECTIONS = Edit("/etc/nginx/nginx.conf", "worker_connections 768;", "worker_connections 8192; # flaskops")
OPEN_FILES = "32768:524288"  # those of a worker, which may have as many files open as connections
SERVICE = Service("nginx.service", reads=["/etc/nginx"], test="nginx -t", needs="/etc/nginx/sites-enabled")


def on_host(app: App, served: Served, _host: dict[str, Any]) -> OnHost:
    """What nginx reads of the app, and of the site that it is on."""
    site = app.front_site
    apps = f"/etc/nginx/flaskops/{site.name}"
    trusted = _trusted_variable(app.trusted_networks)
    snippet = app.values["nginx_site_snippet"]
    return OnHost(
        files=[
            Text(f"{apps}/{app.name}.conf", fill("nginx_site", "app.conf.j2", app=app, served=served, trusted=trusted, snippet=snippet)),
            Text(f"/etc/nginx/sites-available/{site.name}.conf", fill("nginx_site", "site.conf.j2", site=site, apps=apps)),
            Link(f"/etc/nginx/sites-enabled/{site.name}.conf", f"../sites-available/{site.name}.conf"),
            Gone("/etc/nginx/sites-enabled/default"),
            *refusals(site, "nginx_site", "/etc/nginx/conf.d"),
            Text("/etc/nginx/conf.d/flaskops.conf", fill("nginx_site", "requests.conf.j2")),
            Text(f"/etc/nginx/snippets/flaskops-{served.protocol}.conf", fill("nginx_site", f"{served.protocol}.conf.j2", removed=forwarded.REMOVED)),
            *_trusted_proxies(app.trusted_networks, trusted),
            CONNECTIONS,
            drop_in(SERVICE.name, NoNewPrivileges="yes", PrivateDevices="yes", DevicePolicy="closed", LimitNOFILE=OPEN_FILES),
        ],
        services=[SERVICE, LOG_ROTATION],
        packages=["nginx", "logrotate"],
    )


def _trusted_variable(networks: list[str]) -> str:
    """The name of the variable that says whether one of these has sent a request: the same for all apps that trust the same ones."""
    return f"flaskops_trusted_{hashlib.sha256(' '.join(networks).encode()).hexdigest()[:12]}"


def _trusted_proxies(networks: list[str], variable: str) -> list[Text]:
    path = f"/etc/nginx/conf.d/{variable.replace('_', '-')}.conf"
    return [Text(path, fill("nginx_site", "trusted.conf.j2", networks=networks, variable=variable))] if networks else []
