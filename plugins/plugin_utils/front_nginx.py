# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app behind nginx."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.account import FRONT_ACCOUNT
from ansible_collections.flaskops.hosting.plugins.module_utils.record import Listen, Site
from ansible_collections.flaskops.hosting.plugins.plugin_utils import forwarded, tls
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import COMPRESSED, App, Edit, Gone, Link, OnHost, Served, Service, Text
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import fill
from ansible_collections.flaskops.hosting.plugins.plugin_utils.units import LOG_ROTATION, drop_in
from ansible_collections.flaskops.hosting.plugins.plugin_utils.unknown_names import refusals

# One half-open request holds a connection; those of Debian's own limit are soon taken. It has no other place than that file.
CONNECTIONS = Edit("/etc/nginx/nginx.conf", "worker_connections 768;", "worker_connections 8192; # flaskops")
OPEN_FILES = "32768:524288"  # those of a worker, which may have as many files open as connections
# nginx.org's package knows no sites-enabled and has an account of its own, which gets the group that may enter the sockets' directories.
ENABLED = Text("/etc/nginx/conf.d/zz-flaskops-sites.conf", "include /etc/nginx/sites-enabled/*.conf;\n")
FOR_NGINX_ORG = [
    ENABLED,
    Edit("/etc/nginx/nginx.conf", "user  nginx;", f"user  nginx {FRONT_ACCOUNT}; # flaskops"),
    Edit("/etc/nginx/nginx.conf", "worker_connections  1024;", "worker_connections  8192; # flaskops"),
]
WELCOME = "/etc/nginx/conf.d/default.conf"
USUAL_NAME, USUAL_NAMES = 40, 3000  # characters of one name, and of all
SERVICE = Service("nginx.service", reads=["/etc/nginx"], test="nginx -t", needs="/etc/nginx/sites-enabled", lists="nginx -T")


def on_host(app: App, served: Served, host: dict[str, Any]) -> OnHost:
    """What nginx reads of the app, and of the site that it is on."""
    site = app.front_site
    listens = _listens(site, host)
    apps = f"/etc/nginx/flaskops/{site.name}"
    trusted = _trusted_variable(app.trusted_networks)
    snippet, as_debian = app.values["nginx_site_snippet"], host["nginx"]["sites_enabled"]
    # nginx.org's may have sites of others in conf.d, so it runs without one of ours too
    service = SERVICE if as_debian else replace(SERVICE, needs="")
    link = f"/etc/nginx/sites-enabled/{site.name}.conf"
    https = tls.on_host(app, service, link)
    return OnHost(
        files=[
            Text(f"{apps}/{app.name}.conf", fill("nginx_site", "app.conf.j2", app=app, served=served, trusted=trusted, snippet=snippet)),
            *(
                Text(f"/etc/nginx/sites-available/{site.name}{ending}.conf", fill("nginx_site", "site.conf.j2", site=site, apps=apps, halves=halves))
                for ending, halves in tls.site_halves(app, "nginx_site", host, listens).items()
            ),
            Link(link, f"../sites-available/{tls.site_file(app)}"),
            Gone("/etc/nginx/sites-enabled/default"),
            *refusals(site, listens, "nginx_site", "/etc/nginx/conf.d", rejects=tls.nginx_version(host) >= (1, 19, 4)),
            *_tls_settings(app, host),
            Text("/etc/nginx/conf.d/flaskops.conf", fill("nginx_site", "requests.conf.j2")),
            Text(f"/etc/nginx/snippets/flaskops-{served.protocol}.conf", fill("nginx_site", f"{served.protocol}.conf.j2", removed=forwarded.REMOVED)),
            Text("/etc/nginx/snippets/flaskops-compress.conf", fill("nginx_site", "compress.conf.j2", types=COMPRESSED)),
            *_many_names(site),
            *_trusted_proxies(app.trusted_networks, trusted),
            *([CONNECTIONS] if as_debian else FOR_NGINX_ORG),
            *([Gone(WELCOME)] if host["nginx"]["welcome"] else []),
            drop_in(SERVICE.name, NoNewPrivileges="yes", PrivateDevices="yes", DevicePolicy="closed", LimitNOFILE=OPEN_FILES),
            *https.files,
        ],
        services=[tls.reading_certificates(service, app), LOG_ROTATION, *https.services],
        packages=["nginx", "logrotate", *tls.packages(app)],
    )


def _listens(site: Site, host: dict[str, Any]) -> list[Listen]:
    """The sockets of a site, each once. For nginx, a port without an address is one of IPv4 only, so a host with IPv6 has another one for that.

    None has options, because all servers on a socket would need the same ones. Without them, a socket of IPv6 takes nothing of IPv4.
    """
    everywhere = ["", "[::]"] if host["ipv6"] else [""]
    found = [replace(one, address=address) for one in site.listens for address in ([one.address] if one.address else everywhere)]
    return list({(one.address or "0.0.0.0", one.port): one for one in found}.values())


def _many_names(site: Site) -> list[Text]:
    """What nginx needs for names that do not fit its own table of names."""
    fits = sum(map(len, site.names)) <= USUAL_NAMES and all(len(name) <= USUAL_NAME for name in site.names)
    return [] if fits else [Text("/etc/nginx/conf.d/flaskops-names.conf", fill("nginx_site", "names.conf.j2"))]


def _tls_settings(app: App, host: dict[str, Any]) -> list[Text]:
    """What all sites with HTTPS have in common. Until that version, the keys of tickets are lost with each reload."""
    tickets = tls.nginx_version(host) >= (1, 23, 2)
    text = fill("nginx_site", "tls_settings.conf.j2", ciphers=tls.CIPHERS, tickets=tickets)
    return [Text("/etc/nginx/snippets/flaskops-tls.conf", text)] if app.https_listens else []


def _trusted_variable(networks: list[str]) -> str:
    """The name of the variable that says whether one of these has sent a request: the same for all apps that trust the same ones."""
    return f"flaskops_trusted_{hashlib.sha256(' '.join(networks).encode()).hexdigest()[:12]}"


def _trusted_proxies(networks: list[str], variable: str) -> list[Text]:
    path = f"/etc/nginx/conf.d/{variable.replace('_', '-')}.conf"
    return [Text(path, fill("nginx_site", "trusted.conf.j2", networks=networks, variable=variable))] if networks else []
