# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app behind nginx."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App, Edit, Gone, Link, OnHost, Served, Service, Text
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import fill
from ansible_collections.flaskops.hosting.plugins.plugin_utils.units import drop_in

# One half-open request holds a connection; those of Debian's own limit are soon taken. It has no other place than that file.
CONNECTIONS = Edit("/etc/nginx/nginx.conf", "worker_connections 768;", "worker_connections 8192; # flaskops")
OPEN_FILES = "32768:524288"  # those of a worker, which may have as many files open as connections
SERVICE = Service("nginx.service", reads=["/etc/nginx"], test="nginx -t", needs="/etc/nginx/sites-enabled")


def on_host(app: App, served: Served, _host: dict[str, Any]) -> OnHost:
    """What nginx reads of the app, and of the site that it is on."""
    site = app.front_site
    apps = f"/etc/nginx/flaskops/{site.name}"
    return OnHost(
        files=[
            Text(f"{apps}/{app.name}.conf", fill("nginx_site", "app.conf.j2", app=app, served=served, snippet=app.values["nginx_site_snippet"])),
            Text(f"/etc/nginx/sites-available/{site.name}.conf", fill("nginx_site", "site.conf.j2", site=site, apps=apps)),
            Link(f"/etc/nginx/sites-enabled/{site.name}.conf", f"../sites-available/{site.name}.conf"),
            Gone("/etc/nginx/sites-enabled/default"),
            CONNECTIONS,
            drop_in(SERVICE.name, NoNewPrivileges="yes", PrivateDevices="yes", DevicePolicy="closed", LimitNOFILE=OPEN_FILES),
        ],
        services=[SERVICE],
        packages=["nginx"],
    )
