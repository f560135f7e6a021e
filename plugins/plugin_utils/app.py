# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One app as servers and fronts see it: what follows from its settings, the same for each of them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import unquote

from ansible_collections.flaskops.hosting.plugins.module_utils.record import Https, Listen, Site
from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_names import ascii_name
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import Topology

MEBIBYTE = 1024 * 1024
SOCKET = "run/app.sock"  # of each release, below its directory
SITE_NAME_LENGTH = 80
# Types of content that get smaller. Not of events: each must leave the host at once.
COMPRESSED = [
    "text/html", "text/plain", "text/css", "text/csv", "text/javascript", "text/markdown", "text/xml", "application/javascript", "application/json",
    "application/ld+json", "application/manifest+json", "application/problem+json", "application/rss+xml", "application/atom+xml",
    "application/wasm", "application/xhtml+xml", "application/xml", "font/otf", "font/ttf", "image/bmp", "image/svg+xml", "image/x-icon",
]  # fmt: skip
# Seconds by which a server gives up a request later than its front: so the visitor's answer is the front's, the same from each server.
LATER = 2
ACME, FILES, BALANCER = "acme", "files", "balancer"  # where HTTPS comes from


@dataclass(frozen=True)
class Text:
    """A text that a host gets, by its path there or in a release."""

    dest: str
    content: str
    mode: str = ""  # as the modules have it by themselves

    def entry(self) -> dict[str, str]:
        """As an entry of the modules' options."""
        return {"dest": self.dest, "content": self.content, **({"mode": self.mode} if self.mode else {})}


@dataclass(frozen=True)
class Link:
    """A symbolic link that a host gets."""

    link: str
    to: str

    def entry(self) -> dict[str, str]:
        """As an entry of the modules' options."""
        return {"link": self.link, "to": self.to}


@dataclass(frozen=True)
class Gone:
    """A path that a host must not have, such as a distribution's default page."""

    dest: str

    def entry(self) -> dict[str, str]:
        """As an entry of the modules' options."""
        return {"dest": self.dest, "state": "absent"}


@dataclass(frozen=True)
class Edit:
    """A text that must have the place of another one in a file of the distribution's."""

    dest: str
    replace: str
    by: str

    def entry(self) -> dict[str, str]:
        """As an entry of the modules' options."""
        return {"dest": self.dest, "replace": self.replace, "by": self.by}


@dataclass(frozen=True)
class Copy:
    """A file of the controller's that a host gets."""

    dest: str
    file: str
    mode: str
    secret: bool = False

    def entry(self) -> dict[str, Any]:
        """As an entry of the modules' options."""
        return {"dest": self.dest, "file": self.file, "mode": self.mode, "secret": self.secret}


@dataclass(frozen=True)
class Service:
    """A systemd unit that reads what a host gets, as the option ``services`` of ``config_files`` has it."""

    name: str
    reads: list[str]
    test: str = ""
    needs: str = ""
    on_change: str = "reloaded"
    lists: str = ""

    def entry(self) -> dict[str, Any]:
        """As an entry of the module's option."""
        return asdict(self)


@dataclass(frozen=True)
class OnHost:
    """What a front, a server or a port puts on a host beside the releases."""

    files: list[Text | Link | Gone | Edit | Copy] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Served:
    """What an application server makes of an app: what each release holds and runs, and how a front asks it.

    ``settings`` are files in the release; ``instance`` is the release's `web`, as the module ``release`` takes it; ``protocol`` is what it
    speaks, ``http`` or ``uwsgi``; ``port`` is the app's own TCP address, if it has one beside its socket; ``beside`` is what the host gets.
    ``websocket`` is whether visitors may open WebSockets, ``chunked_bodies`` whether it takes bodies without their length.
    If an app requires one of the ``requirements`` itself, its version is taken, unless that is older than the ``minimum`` says.
    """

    settings: list[Text]
    instance: dict[str, Any]
    packages: list[str] = field(default_factory=list)
    requirements: list[str] = field(default_factory=list)
    minimum: dict[str, str] = field(default_factory=dict)
    port: str = ""
    websocket: bool = False
    chunked_bodies: bool = True
    beside: OnHost = field(default_factory=OnHost)

    @property
    def protocol(self) -> str:
        """What the instance speaks at its socket."""
        return str(self.instance["protocol"])


@dataclass(frozen=True)
class Static:
    """A directory that the front serves: the URL path that it has, with a slash at its end, and its path."""

    url: str
    directory: str

    @property
    def pattern(self) -> str:
        """The URL path as a regular expression."""
        return re.escape(self.url)


@dataclass(frozen=True)
class Mount:
    """A URL prefix that the app answers under, without a slash at its end: empty for the whole site."""

    prefix: str
    module: str
    static: list[Static]

    @property
    def path(self) -> str:
        """The prefix as WSGI servers and records name it."""
        return self.prefix or "/"


@dataclass(frozen=True)
class Certificate:
    """The certificate of a site on a host: its ``name`` for certbot, its ``directory``, whether it is there, and has all of the site's names."""

    name: str
    directory: str
    is_there: bool
    is_complete: bool


@dataclass(frozen=True)
class App:
    """An app's checked settings in its topology; and its site's certificate, once its host was looked at."""

    values: dict[str, Any]
    topology: Topology
    certificate: Certificate | None = None

    def __getattr__(self, name: str) -> Any:
        """A variable of the app by its name without ``flask_app_``."""
        try:
            return self.values[f"flask_app_{name}"]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def current(self) -> str:
        """The link to the live release."""
        return f"{self.root}/current"

    @property
    def socket(self) -> str:
        """The live release's socket: the kernel resolves the link at each connect."""
        return f"{self.current}/{SOCKET}"

    @property
    def max_body_bytes(self) -> int:
        """The largest request body that is taken; 0 for any."""
        return int(self.max_body) * MEBIBYTE

    @property
    def given_up_after(self) -> int:
        """The seconds after which the server replaces a process that has not answered."""
        return int(self.timeout) + LATER

    @property
    def static_cache_control(self) -> str:
        """What browsers learn of static files, in the same words as by Flask."""
        return f"public, max-age={self.static_max_age}" if self.static_max_age else "no-cache"

    @property
    def memory_bytes(self) -> int:
        """What a process may take; 0 for any."""
        return int(self.memory_max) * MEBIBYTE

    @cached_property
    def mounts(self) -> list[Mount]:
        """The app's mounts, its main one first."""
        modules = {self.mount: self.module, **self.values.get("uwsgi_app_mounts", {})}
        return [self._mount(path.rstrip("/"), module) for path, module in modules.items()]

    def _mount(self, prefix: str, module: str) -> Mount:
        static = [Static(f"{prefix}{url.rstrip('/')}/", f"{self.current}/code/{directory}/") for url, directory in self.static.items()]
        return Mount(prefix, module, static)

    @cached_property
    def listens(self) -> list[Listen]:
        """The addresses on which the front listens for this app."""
        return [Listen.parse(str(one)) for one in self.listen]

    @property
    def sends_hsts(self) -> bool:
        """Whether browsers must come by HTTPS only."""
        return bool(self.tls and self.tls_hsts)

    @cached_property
    def https_listens(self) -> list[Listen]:
        """The addresses on which the front listens for this app by HTTPS."""
        mine = self.https_listen if self.tls in (ACME, FILES) and self.topology.front else []
        return [replace(Listen.parse(str(one)), kind="https") for one in mine]

    @cached_property
    def server_names(self) -> list[str]:
        """The host names as browsers send them, each once."""
        return list(dict.fromkeys(ascii_name(str(name)) for name in self.values["flask_app_server_names"]))

    @cached_property
    def site(self) -> Site | None:
        """The site that the app is on, if its topology has a front. Apps with the same listens and names share one."""
        front = self.topology.front
        if front is None:
            return None
        name = self.values.get(f"{front.role}_name") or site_name(self.listens, self.server_names)
        names = sorted(self.server_names, key=lambda one: ("*" in one, one))
        https = Https(mode=self.tls, redirect=self.tls_redirect, hsts=self.tls_hsts) if self.tls else Https()
        directory = self.certificate.directory if self.certificate else ""
        return Site(front.name, name, names, [*self.listens, *self.https_listens], https, directory)

    @property
    def front_site(self) -> Site:
        """The site of an app whose topology has a front. Raises ``ValueError`` for another one."""
        if self.site is None:
            raise ValueError(f"{self.topology.name} has no front")
        return self.site

    @property
    def trusted_networks(self) -> list[str]:
        """The networks whose `X-Forwarded-*` are believed, each once and in one order."""
        return sorted({str(ip_network(one)) for one in self.trusted_proxies})

    @property
    def open_ports(self) -> set[int]:
        """The ports that the firewall must allow for this app."""
        return {*ports_for_others(self.site), *self.firewall_ports}

    @property
    def maintenance_page(self) -> str:
        """The page that visitors get instead of the app, while it exists."""
        return f"{self.root}/maintenance.html"

    @property
    def out_of_balancer(self) -> str:
        """The file that has load balancers leave the host alone, while it exists."""
        return f"{self.root}/out-of-balancer"

    @property
    def maintenance_url(self) -> str:
        """The URL path of that page, for the front only."""
        return f"/flaskops-maintenance/{self.name}"

    @property
    def open_in_maintenance(self) -> str:
        """The health path, if it is one of the app's own: it answers everybody in maintenance too. Else empty."""
        path = unquote(self.health_path.partition("?")[0])
        return path if re.fullmatch(r"/[\w/.~-]+", path) else ""

    @property
    def asked_from(self) -> str:
        """The address that a deploy's own health check comes from."""
        return local_address(self.https_listens[0] if self.certificate and self.certificate.is_there else self.listens[0])


def site_name(listens: list[Listen], names: list[str]) -> str:
    """A name for a site with these listens and names, the same in whatever order they are given."""
    words = [*sorted(str(one).replace("[::]", "all6") for one in listens), *sorted(names)]
    name = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(words).replace("*", "wildcard")).strip("-")
    return name if len(name) <= SITE_NAME_LENGTH else f"{name[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def local_address(listen: Listen) -> str:
    """The address that the host itself reaches a listen at."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(listen.address, listen.address.strip("[]"))


def ports_for_others(site: Site | None) -> set[int]:
    """The ports of a site that others than the host itself reach."""
    listens = site.listens if site else []
    return {one.port for one in listens if not one.address or not ip_address(one.address.strip("[]")).is_loopback}
