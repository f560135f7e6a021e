# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app behind Apache, or in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.record import Listen, Site
from ansible_collections.flaskops.hosting.plugins.module_utils.sandbox import sandbox
from ansible_collections.flaskops.hosting.plugins.plugin_utils import forwarded, tls
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import COMPRESSED, App, Gone, Link, Mount, OnHost, Served, Service, Text
from ansible_collections.flaskops.hosting.plugins.plugin_utils.server_mod_wsgi import daemon_options, wsgi_callable
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import fill
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import MOD_WSGI
from ansible_collections.flaskops.hosting.plugins.plugin_utils.units import LOG_ROTATION, drop_in
from ansible_collections.flaskops.hosting.plugins.plugin_utils.unknown_names import refusals

SERVICE = Service("apache2.service", reads=["/etc/apache2"], test="apache2ctl configtest", needs="/etc/apache2/sites-enabled")
ENABLED = "/etc/apache2/mods-enabled"
# Modules that Apache's package does not enable, each with the files that enable it.
MODULES = {
    "wsgi": ["wsgi.load", "wsgi.conf"],
    "proxy": ["proxy.load", "proxy.conf"],
    "proxy_uwsgi": ["proxy_uwsgi.load"],
    "proxy_http": ["proxy_http.load"],
    "proxy_fcgi": ["proxy_fcgi.load"],
    "headers": ["headers.load"],
    "filter": ["filter.load"],
    "deflate": ["deflate.load", "deflate.conf"],
    "rewrite": ["rewrite.load"],
    "remoteip": ["remoteip.load"],
    "ssl": ["ssl.load", "ssl.conf", "socache_shmcb.load"],
    "http2": ["http2.load"],
}
ALWAYS = ["headers", "filter", "deflate"]  # of those above
PORTS, DEFAULT_SITE = "/etc/apache2/ports.conf", "000-default.conf"
MOD_WSGI_PACKAGE = "libapache2-mod-wsgi-py3"


@dataclass(frozen=True)
class PhpPage:
    """PHP pages beside the app: their URL path with a slash at its end, and their directory."""

    url: str
    directory: str


@dataclass(frozen=True)
class ApacheApp:
    """What Apache's templates need of an app beyond what every front needs."""

    app: App
    served: Served

    @property
    def in_apache(self) -> bool:
        """Whether Apache itself runs the app, by mod_wsgi."""
        return self.app.topology.server is MOD_WSGI

    @property
    def deepest_first(self) -> list[Mount]:
        """The mounts in the order that mod_proxy needs: it takes the first that fits."""
        return sorted(self.app.mounts, key=lambda mount: mount.path, reverse=True)

    @property
    def backend_name(self) -> str:
        """A name of its own for each app: mod_proxy takes backends on unix sockets with one name for one backend."""
        return f"{self.served.protocol}://{self.app.name}"

    @property
    def backend(self) -> str:
        """How mod_proxy reaches the app."""
        return f"unix:{self.app.socket}|{self.backend_name}"

    @property
    def backend_pattern(self) -> str:
        """A regular expression for all requests that go there."""
        return f"^(unix:[^|]*\\|)?{re.escape(self.backend_name)}/"

    @property
    def snippet_sections(self) -> list[tuple[str, str]]:
        """The sections that the app's snippet stands in: those of its own files and of its backend."""
        files = (f'<Directory "{self.app.current}">', "</Directory>")
        return [files] if self.in_apache else [files, (f'<ProxyMatch "{self.backend_pattern}">', "</ProxyMatch>")]

    @property
    def from_trusted(self) -> str:
        """The expression that a trusted proxy has sent a request."""
        return " || ".join(f"%{{CONN_REMOTE_ADDR}} -ipmatch '{one}'" for one in self.app.trusted_networks)

    @property
    def php(self) -> list[PhpPage]:
        """The PHP pages."""
        return [
            PhpPage(f"{url.rstrip('/')}/", f"{self.app.current}/code/{directory}") for url, directory in self.app.values["apache_site_php"].items()
        ]

    @property
    def php_unit(self) -> str:
        """The name of the units that run them."""
        return f"{self.app.name}-php"

    @property
    def daemon_options(self) -> list[str]:
        """How mod_wsgi's daemon processes run the app."""
        return daemon_options(self.app)

    @property
    def wsgi_callable(self) -> str:
        """The name that the release's WSGI script has for the app."""
        return wsgi_callable(self.app.module)

    def escaped(self, text: str) -> str:
        """A text as a regular expression that fits nothing else."""
        return re.escape(text)

    @property
    def file_name(self) -> str:
        """Deeper mounts come first in the alphabet, because Apache takes the first mapping that fits a URL."""
        depth = min(mount.prefix.count("/") for mount in self.app.mounts)
        return f"{99 - depth}-{self.app.name}.conf"


def on_host(app: App, served: Served, host: dict[str, Any]) -> OnHost:
    """What Apache reads of the app and of the site that it is on, the modules that it needs, and what runs PHP pages."""
    site = app.front_site
    listens = _listens(site)
    view = ApacheApp(app, served)
    apps = f"/etc/apache2/flaskops/{site.name}"
    # sites without names take any, so Apache must read them last
    link = f"/etc/apache2/sites-enabled/{'0-' if site.names else ''}{site.name}.conf"
    php_files, php_services = _php(view) if view.php else ([], [])
    https = tls.on_host(app, SERVICE, link)
    return OnHost(
        files=[
            Text(
                f"{apps}/{view.file_name}",
                fill("apache_site", "app.conf.j2", app=app, view=view, compressed=COMPRESSED, snippet=app.values["apache_site_snippet"]),
            ),
            *(
                Text(f"/etc/apache2/sites-available/{site.name}{ending}.conf", _site_file(site, apps, halves))
                for ending, halves in tls.site_halves(app, "apache_site", host, listens).items()
            ),
            Link(link, f"../sites-available/{tls.site_file(app)}"),
            Gone(f"/etc/apache2/sites-enabled/{DEFAULT_SITE}"),
            # after security.conf, which would take precedence
            Text("/etc/apache2/conf-enabled/zz-flaskops.conf", fill("apache_site", "server.conf.j2")),
            *refusals(site, listens, "apache_site", "/etc/apache2/conf-enabled"),
            Text("/etc/apache2/conf-available/flaskops-request.conf", fill("apache_site", "request.conf.j2", removed=forwarded.REMOVED)),
            *_spellings(view),
            # as many tasks as there may be threads: systemd's own limit on a small host is below what Apache starts with
            # the directory of its sockets, which its children must reach, would have the mode that the umask gives
            drop_in(SERVICE.name, TasksMax="16384", RuntimeDirectory="apache2"),
            Text("/etc/logrotate.d/apache2", fill("apache_site", "logrotate.j2")),
            *_ports(listens, host),
            *_modules(_needed_modules(view), host),
            *php_files,
            *https.files,
        ],
        # PHP first, so that it is there when Apache asks it
        services=[*php_services, tls.reading_certificates(SERVICE, app), LOG_ROTATION, *https.services],
        packages=["apache2", "logrotate", *(["php-cgi", "php-mysql"] if view.php else []), *tls.packages(app)],
    )


def _site_file(site: Site, apps: str, halves: list[tls.Half]) -> str:
    return fill("apache_site", "site.conf.j2", site=site, apps=apps, halves=halves, **_names(site))


def _spellings(view: ApacheApp) -> list[Text]:
    """What removes headers with `_` in their names, of which Apache itself makes no variables: uWSGI, mod_wsgi and PHP would not get them."""
    if view.in_apache or view.served.protocol != "http":
        return []
    return [Text("/etc/apache2/conf-available/flaskops-spellings.conf", fill("apache_site", "spellings.conf.j2", names=forwarded.other_spellings()))]


def _names(site: Site) -> dict[str, Any]:
    """A site's ServerName, which must have no wildcard, and its aliases."""
    if not site.names:
        return {"server_name": "localhost", "aliases": ["*"]}
    if "*" in site.names[0]:  # and so in all of them
        return {"server_name": f"{site.name}.invalid", "aliases": site.names}
    return {"server_name": site.names[0], "aliases": site.names[1:]}


def _listens(site: Site) -> list[Listen]:
    """The sockets of a site, each once. For Apache, a port without an address is one of both families if the host has both, and so is ``[::]``."""
    found = dict.fromkeys(replace(one, address="") if one.address == "[::]" else one for one in site.listens)
    return [one for one in found if one.address != "0.0.0.0" or replace(one, address="") not in found]


def _ports(listens: list[Listen], host: dict[str, Any]) -> list[Text]:
    """The files that have Apache listen where the app needs it, and nowhere else: another web server may have port 80.

    If there are sites that are not ours, ports.conf is theirs, and what it listens on needs no file.
    """
    foreign = {name for name in host["apache"]["sites"] if f"/etc/apache2/sites-enabled/{name}" not in host["owned_paths"]} - {DEFAULT_SITE}
    ports_are_ours = not foreign or PORTS in host["owned_paths"]
    return [
        *([Text(PORTS, fill("apache_site", "ports.conf.j2"))] if ports_are_ours else []),
        *(
            Text(f"/etc/apache2/conf-enabled/flaskops-port-{_words(one)}.conf", fill("apache_site", "listen.conf.j2", listen=one))
            for one in listens
            if ports_are_ours or one.port not in host["apache"]["tls_ports" if one.kind == "https" else "ports"]
        ),
    ]


def _words(listen: Listen) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", str(listen)).strip("-")


def _needed_modules(view: ApacheApp) -> list[str]:
    needed = ["wsgi"] if view.in_apache else ["proxy", f"proxy_{view.served.protocol}"]
    return list(
        dict.fromkeys(
            [
                *needed,
                *ALWAYS,
                *(["rewrite"] if view.app.static or view.app.balancer_path else []),
                *(["remoteip"] if view.app.trusted_proxies else []),
                *(["proxy", "proxy_fcgi"] if view.php else []),
                *(["ssl", "http2"] if view.app.https_listens else []),
            ]
        )
    )


def _modules(needed: list[str], host: dict[str, Any]) -> list[Link]:
    """The links that enable modules. One that was enabled before this collection came is not ours, and stays when the last app goes."""
    enabled, ours = host["apache"]["modules"], host["owned_paths"]
    # in a dry run the package is not there yet, and will enable its module by itself
    brought = ["wsgi"] if host["check_mode"] and MOD_WSGI_PACKAGE in host["packages_missing"] else []
    return [
        Link(f"{ENABLED}/{file}", f"../mods-available/{file}")
        for module in needed
        if (module not in enabled or f"{ENABLED}/{module}.load" in ours) and module not in brought
        for file in MODULES[module]
    ]


def _php(view: ApacheApp) -> tuple[list[Text], list[Service]]:
    """The units of the PHP pages: php-cgi, which has the same path in every release of the distributions, behind a socket for Apache only."""
    socket, service = (f"/etc/systemd/system/{view.php_unit}.{kind}" for kind in ("socket", "service"))
    lines = sandbox(UMask="0077")
    files = [
        Text(socket, fill("apache_site", "php.socket.j2", app=view.app, unit=view.php_unit)),
        Text(service, fill("apache_site", "php.service.j2", app=view.app, unit=view.php_unit, sandbox=lines)),
    ]
    return files, [Service(f"{view.php_unit}.socket", reads=[socket, service], on_change="restarted")]
