# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTPS of a site: which certificate it has, and what its front and its host get for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.certificates import summary_of_file
from ansible_collections.flaskops.hosting.plugins.module_utils.record import Listen, Record, Site
from ansible_collections.flaskops.hosting.plugins.module_utils.sandbox import CAPABILITIES, sandbox
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import (
    ACME,
    BALANCER,
    FILES,
    App,
    Certificate,
    Copy,
    OnHost,
    Service,
    Text,
    local_address,
    site_name,
)
from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_names import ascii_name, is_host_name
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import fill

DIRECTORIES = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
NOTES = "/etc/flaskops/certificates"
CERTBOT = "/etc/letsencrypt/live"
CHALLENGES = "/var/lib/letsencrypt/flaskops"  # not below /var/lib/flaskops, which is root's alone
PROGRAM = "/usr/local/lib/flaskops/certificates.py"
UNIT = "flaskops-certificates"
# https://ssl-config.mozilla.org/guidelines/6.0.json, intermediate: those of TLS 1.2; the ones of TLS 1.3 need no list
CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}" for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305") for key in ("ECDSA", "RSA")
)  # fmt: skip
# nginx's version of each distribution, for a host that has no nginx yet
NGINX = {("Ubuntu", "22"): "1.18", ("Ubuntu", "24"): "1.24", ("Debian", "12"): "1.22"}
NEWER_NGINX = "1.26"
ALL_NAMES = "all"
ENDING = ".https"  # of the file with all that a site gets with its certificate


@dataclass(frozen=True)
class Half:
    """One of a site's virtual hosts: where it listens, its own lines, and whether the apps are in it."""

    listens: list[Listen]
    lines: list[str]
    serves: bool = True
    options: str = ""  # of nginx's `listen`


def problems_of_tls(values: dict[str, Any], has_front: bool) -> Iterator[str]:
    """What of an app's settings does not fit together for HTTPS."""
    mode = values["flask_app_tls"]
    if not has_front:
        if mode:
            yield f"flask_app_tls: got {mode!r}, but the development server has no HTTPS; leave it out"
        return
    for name in ("certificate", "key"):
        given = values[f"flask_app_tls_{name}"]
        if mode == FILES and not given:
            yield f"flask_app_tls_{name}: is not given, and flask_app_tls is files. For example:\n    flask_app_tls_{name}: /home/me/shop-{name}.pem"
        if given and mode != FILES:
            yield f"flask_app_tls_{name}: got {given!r}, but flask_app_tls is {mode!r}. To use it:\n    flask_app_tls: files"
    if mode == BALANCER and not values["flask_app_trusted_proxies"]:
        yield (
            "flask_app_trusted_proxies: is empty, and flask_app_tls is balancer: nobody's X-Forwarded-Proto would be believed. For example:\n"
            '    flask_app_trusted_proxies: ["10.0.0.0/16"]'
        )
    if mode == ACME:
        yield from _problems_of_acme(values["flask_app_server_names"], values["flask_app_listen"])
    if mode in (ACME, FILES):
        both = {str(Listen.parse(str(one)).port) for one in values["flask_app_listen"]}
        both &= {str(Listen.parse(str(one)).port) for one in values["flask_app_https_listen"]}
        if both:
            yield f"flask_app_https_listen: got {', '.join(sorted(both))}, which is in flask_app_listen too; give HTTPS a port of its own"


def _problems_of_acme(names: list[str], listens: list[Any]) -> Iterator[str]:
    if not names:
        yield "flask_app_tls: got 'acme', which needs the names for the certificate. For example:\n    flask_app_server_names: [shop.example.com]"
    wildcards = [name for name in names if "*" in name]
    if wildcards:
        yield (
            f"flask_app_server_names: got {', '.join(wildcards)}, but with flask_app_tls: acme a CA gives no certificate for a wildcard; "
            "give each name, or take flask_app_tls: files"
        )
    if not any(one.port == 80 and not _is_loopback(one) for one in map(Listen.parse, map(str, listens))):
        yield (
            f"flask_app_listen: got {', '.join(map(str, listens))}, but with flask_app_tls: acme the CA asks at port 80, where the site must listen. "
            'For example:\n    flask_app_listen: ["80"]'
        )


def _is_loopback(listen: Listen) -> bool:
    return listen.address.strip("[]") == "::1" or listen.address.startswith("127.")


def problems_of_other_hosts(names: list[str], variables: Mapping[str, Any]) -> Iterator[str]:
    """The hosts of the play with an app that is to ask a CA for one of these names too: the CA may ask any of them, and only one can answer."""
    for host in variables.get("ansible_play_hosts_all", []):
        there = variables["hostvars"][host] if host != variables.get("inventory_hostname") else {}
        for app in there.get("flask_apps", [{}]) if there else []:
            own = {name: app.get(name, there.get(name)) for name in ("flask_app_tls", "flask_app_server_names", "flask_app_state")}
            theirs = [ascii_name(str(name)) for name in own["flask_app_server_names"] or [] if is_host_name(str(name))]
            both = sorted({*names} & {*theirs})
            if both and own["flask_app_tls"] == ACME and own["flask_app_state"] != "absent":
                yield (
                    f"flask_app_server_names: got {', '.join(both)}, which {host} has too; with flask_app_tls: acme a CA asks any host of a name, so "
                    "several hosts need a load balancer that has the certificate. For example:\n    flask_app_tls: balancer"
                )
                return


def with_certificate(app: App, host: dict[str, Any]) -> App:
    """The app with the certificate that its site has, or is to get, on a host."""
    if app.site is None or app.tls not in (ACME, FILES):
        return app
    if app.tls == FILES:  # it comes with the files that need it
        directory = f"{NOTES}/{site_name([], app.server_names) or ALL_NAMES}"
        return replace(app, certificate=Certificate("", directory, is_there=True, is_complete=True))
    noted = host["certificates"]
    name = lineage(app.server_names, noted)
    found = noted.get(name, {"covered": [], "given_by": ""})
    covered = set(found["covered"]) & set(app.server_names)
    is_complete = covered == set(app.server_names) and found["given_by"] in ("", _server(app))
    return replace(app, certificate=Certificate(name, f"{CERTBOT}/{name}", bool(covered), is_complete))


def lineage(names: list[str], noted: dict[str, Any]) -> str:
    """The name of the certificate for these names: that of the one that has most of them already, so that it stays when a name comes or goes."""
    shared = {name: len(set(names) & {*one["names"], *one["covered"]}) for name, one in sorted(noted.items())}
    best = max(shared, key=lambda name: shared[name], default="")
    return best if best and shared[best] else f"flaskops-{min(names)}"


def hint(app: App, host: dict[str, Any]) -> str:
    """What a run says at its end of a certificate that its host has; empty for none."""
    certificate = app.certificate
    if certificate is None or not certificate.is_complete:
        return ""
    of_files = app.tls == FILES
    found = host.get("certificate_files", {}).get(certificate.directory, {}) if of_files else host["certificates"].get(certificate.name, {})
    if "days" not in found:
        return ""
    renewal = "; to renew it, run with new files" if of_files else f", and will be renewed: {found['next']}"
    error = f", but: {found['error']}" if found["error"] else ""
    return f". Its certificate from {found['issuer']} has {found['days']} days left{renewal}{error}"


def brought(app: App, host: dict[str, Any], file: Path) -> dict[str, Any]:
    """The certificates of users' own that a host has after a run which brings it that of the app from this file on the controller."""
    there: dict[str, Any] = host.get("certificate_files", {})
    return {**there, app.certificate.directory: summary_of_file(file)} if app.certificate else there


def leaving(app: str, wanted: str, noted: dict[str, Any]) -> list[str]:
    """The certificates that only this app has, and that it will not have any more."""
    return sorted(name for name, one in noted.items() if set(one["owners"]) <= {app} and name != wanted)


def nginx_version(host: dict[str, Any]) -> tuple[int, ...]:
    """Major, minor and patch of a host's nginx, or of the one that it will get."""
    distribution = host.get("distribution", {})
    key = (distribution.get("name", ""), distribution.get("major_version", ""))
    text = host.get("versions", {}).get("nginx") or NGINX.get(key, NEWER_NGINX)
    return tuple(int(one) for one in re.findall(r"\d+", text.partition(":")[2] or text)[:3])


def site_halves(app: App, role: str, host: dict[str, Any], listens: list[Listen]) -> dict[str, list[Half]]:
    """The virtual hosts of a site, by the ending of the file that they are in: those with a whole certificate, and those until it has one.

    ``listens`` are those of the site, as the front needs them.
    """
    plain, encrypted = ([one for one in listens if one.kind == kind] for kind in ("http", "https"))
    certificate = app.certificate
    if certificate is None:
        return {"": [Half(plain, _lines(role, "plain.conf.j2", app=app, challenges="", redirects=False) if app.tls else [])]}
    http2_by_listen = nginx_version(host) < (1, 25, 1)  # https://nginx.org/en/docs/http/ngx_http_v2_module.html#http2
    redirects = app.tls_redirect
    port = app.https_listens[0].port
    common = {"app": app, "directory": certificate.directory, "http2_by_listen": http2_by_listen}
    common |= {"challenges": CHALLENGES if app.tls == ACME else "", "port": "" if port == 443 else f":{port}", "ciphers": CIPHERS}
    secure = Half(encrypted, _lines(role, "tls.conf.j2", **common), options=" ssl http2" if http2_by_listen else " ssl")
    lacks_names = certificate.is_there and not certificate.is_complete
    first = [Half(plain, _lines(role, "plain.conf.j2", redirects=False, **common)), *([secure] if lacks_names else [])]
    complete = [Half(plain, _lines(role, "plain.conf.j2", redirects=redirects, **common), serves=not redirects), secure]
    return {"": complete} if app.tls == FILES else {"": first, ENDING: complete}


def _lines(role: str, template: str, **values: Any) -> list[str]:
    return fill(role, template, **values).splitlines()


def site_file(app: App) -> str:
    """The name of the file that a front reads of a site."""
    certificate = app.certificate
    ending = ENDING if certificate and app.tls == ACME and certificate.is_complete else ""
    return f"{app.front_site.name}{ending}.conf"


def on_host(app: App, service: Service, link: str) -> OnHost:
    """What a host needs for a site's HTTPS beside what its front reads: the files, or what asks a CA for them."""
    certificate = app.certificate
    if certificate is None:
        return OnHost()
    if app.tls == FILES:
        files: list[Any] = [
            Copy(f"{certificate.directory}/fullchain.pem", app.tls_certificate, "0644"),
            Copy(f"{certificate.directory}/privkey.pem", app.tls_key, "0600", secret=True),
        ]
        return OnHost(files)
    note, timer = f"{NOTES}/{certificate.name}", f"/etc/systemd/system/{UNIT}.timer"
    unit = f"/etc/systemd/system/{UNIT}.service"
    plain = next(one for one in app.listens if one.port == 80 and not _is_loopback(one))
    wanted = {
        "names": sorted(app.server_names),
        "server": _server(app),
        "email": app.acme_email,
        "eab": f"{note}.eab" if app.acme_eab else "",
        "ca_file": f"{note}.ca.pem" if app.acme_ca_file else "",
        "link": link,
        "target": f"../sites-available/{app.front_site.name}{ENDING}.conf",
        "unit": service.name,
        "test": service.test,
        "http": _local(plain),
        "https": _local(app.https_listens[0]),
    }
    return OnHost(
        files=[
            Text(f"{note}.json", json.dumps(wanted, indent=1, sort_keys=True) + "\n"),
            *([Copy(wanted["eab"], app.acme_eab, "0600", secret=True)] if app.acme_eab else []),
            *([Copy(wanted["ca_file"], app.acme_ca_file, "0644")] if app.acme_ca_file else []),
            Text(PROGRAM, _program()),
            Text(unit, fill("flask_app", "certificates.service.j2", program=PROGRAM, sandbox=_sandbox())),
            Text(timer, fill("flask_app", "certificates.timer.j2")),
        ],
        services=[Service(f"{UNIT}.timer", reads=[unit, timer], on_change="restarted")],
    )


def question(app: App) -> str:
    """What a CA is asked, and which."""
    return f"{_server(app)} for a certificate for {', '.join(sorted(app.server_names))}"


def _server(app: App) -> str:
    return DIRECTORIES.get(app.acme_directory, str(app.acme_directory))


def packages(app: App) -> list[str]:
    """The distribution's packages for a site's HTTPS. ``ssl-cert`` has what refuses unknown names, if a front cannot do so without a certificate."""
    return [*(["certbot"] if app.tls == ACME else []), *(["ssl-cert"] if app.https_listens else [])]


def reading_certificates(service: Service, app: App) -> Service:
    """The front's service, which must take new files of the user's own; a certificate from a CA comes by itself."""
    return replace(service, reads=[*service.reads, app.certificate.directory]) if app.certificate and app.tls == FILES else service


def _local(listen: Listen) -> str:
    address = local_address(listen)
    return f"{f'[{address}]' if ':' in address else address}:{listen.port}"


def _sandbox() -> list[str]:
    """What the unit may do: ask the CA, write what belongs to certificates, and have a front test and take them."""
    writable = ["/etc/letsencrypt", "/etc/nginx/sites-enabled", "/etc/apache2/sites-enabled"]
    paths = [f"-{one}" for one in writable]
    return sandbox(CapabilityBoundingSet=CAPABILITIES, ProtectSystem="full", ReadWritePaths=paths, SystemCallFilter="@system-service")


def _program() -> str:
    return (Path(__file__).resolve().parents[1] / "module_utils" / "certificates.py").read_text(encoding="utf-8")


def conflicts_of_tls(app: App, own: Record | None, others: Iterable[tuple[Record, Site]]) -> Iterator[str]:
    """The apps of the app's site that have other settings for HTTPS. All of them may change: then the first one goes ahead of the others."""
    mine = app.front_site.https
    before = {one.https for one in own.sites} if own else set()
    for other, site in others:
        if site.https != mine and site.https not in before:
            yield (
                f"flask_app_tls: got {app.tls!r}, but the app {other.app} is on the same site with {site.https.mode!r}; apps of a site share its "
                "certificate, so give both the same flask_app_tls, flask_app_tls_redirect, flask_app_tls_hsts and flask_app_https_listen"
            )
