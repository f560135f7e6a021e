# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run will do for one app on one host: all of it follows from the app's settings, its topology and what the host has."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Callable

from ansible_collections.flaskops.hosting.plugins.module_utils.record import Listen, NotedInstance, Record
from ansible_collections.flaskops.hosting.plugins.plugin_utils import (
    console_files,
    front_apache,
    front_nginx,
    processes,
    server_gunicorn,
    server_mod_wsgi,
    server_uwsgi,
    server_werkzeug,
    tls,
)
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import BALANCER, App, OnHost, Served, ports_for_others
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import APACHE, GUNICORN, MOD_WSGI, NGINX, UWSGI, WERKZEUG
from ansible_collections.flaskops.hosting.plugins.plugin_utils.units import port_on_host
from ansible_collections.flaskops.hosting.plugins.plugin_utils.workers import sized

# Each front and each server of a topology's row, and the functions that make what it needs.
FRONT_FILES: dict[str, Callable[[App, Served, dict[str, Any]], OnHost]] = {NGINX.name: front_nginx.on_host, APACHE.name: front_apache.on_host}
SERVED: dict[str, Callable[[App], Served]] = {
    GUNICORN.name: server_gunicorn.served,
    UWSGI.name: server_uwsgi.served,
    MOD_WSGI.name: server_mod_wsgi.served,
    WERKZEUG.name: server_werkzeug.served,
}
PACKAGES = ["python3-venv", "ufw"]  # what every app needs from the distribution


def served(app: App) -> Served:
    """What the application server of the app's topology makes of it."""
    return SERVED[app.topology.server.name](app)


def packages(app: App) -> list[str]:
    """The distribution's packages that the app needs."""
    anywhere: dict[str, Any] = {  # they are the same on each host
        "apache": {"modules": [], "sites": [], "ports": []},
        "nginx": {"sites_enabled": True, "welcome": False},
        "ipv6": True,
        "owned_paths": [],
        "check_mode": False,
    }
    mine = served(app)
    from_the_system = [*mine.packages, *port_on_host(app, mine.port).packages, *app.system_packages]
    return [*PACKAGES, *_on_front(app, anywhere).packages, *from_the_system]


def on_host(app: App, host: dict[str, Any]) -> OnHost:
    """Everything that the app has on a host beside its tree: its own port's units, what its server and its front read, and the command for people."""
    mine = served(app)
    parts = [port_on_host(app, mine.port), mine.beside, _on_front(app, host), console_files.on_host()]
    return OnHost([file for part in parts for file in part.files], [service for part in parts for service in part.services])


def _on_front(app: App, host: dict[str, Any]) -> OnHost:
    return FRONT_FILES[app.topology.front.name](app, served(app), host) if app.topology.front else OnHost()


def record(app: App, url: str) -> Record:
    """What the host notes of the app, for other apps and for people who ask what runs there."""
    return Record(
        app=app.name,
        root=app.root,
        user=app.user,
        group=app.group,
        topology=app.topology.name,
        url=url,
        mount=app.mount,
        mounts=[mount.path for mount in app.mounts],
        sites=[app.site] if app.site else [],
        instances=[NotedInstance(manager=served(app).instance["manager"], listen=served(app).port)],
        firewall_ports=app.firewall_ports if app.firewall else [],
    )


def url(app: App, reached_at: str) -> str:
    """The app's URL, once it has HTTPS if it is to. ``reached_at`` is the name or address that the controller reaches the host at."""
    path = f"{app.mounts[0].prefix}/"
    if app.site is None:
        return f"http://{served(app).port}{path}"
    listen = (app.https_listens or app.listens)[0]
    names = sorted(app.server_names, key=lambda name: "*" in name) or [_host_in_url(listen, reached_at)]
    scheme, usual = ("https", 443) if app.tls else ("http", 80)
    port = 443 if app.tls == BALANCER else listen.port
    return f"{scheme}://{names[0]}{'' if port == usual else f':{port}'}{path}"


def _host_in_url(listen: Listen, reached_at: str) -> str:
    """The host in the URL of an app without names: where the host is reached, but the app's own address if that is of the other family."""
    reached, own = _address(reached_at), _address(listen.address)
    if reached and own and not own.is_unspecified and own.version != reached.version:
        reached = own
    return reached_at if reached is None else f"[{reached}]" if reached.version == 6 else str(reached)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        return None


def tunnel(app: App, login: str, reached_at: str) -> str:
    """How to reach an app that only its own host reaches; empty for one that visitors reach."""
    port = served(app).port
    return "" if app.site else f". From your machine: ssh -L {port.rpartition(':')[2]}:{port} {login}@{reached_at}"


def plan_present(app: App, host: dict[str, Any], reached_at: str, login: str) -> dict[str, Any]:
    """The plan to host the app, for the role's tasks."""
    app = sized(app, host["processors"])
    noted = record(app, url(app, reached_at))
    mine = served(app)
    there = on_host(app, host)
    firewall = plan_firewall(app.name, host, app.open_ports, app.firewall)
    certificates = _plan_certificates(app, host)
    front = noted.question(secure=bool(app.certificate and app.certificate.is_there))
    return {
        "url": url(replace(app, values={**app.values, "flask_app_tls": ""}), reached_at) if certificates["wanted"] else noted.url,
        "hint": tunnel(app, login, reached_at) or tls.hint(app, host),
        "front": front,
        "certificates": certificates,
        "record": noted.to_json(),
        "files": [file.entry() for file in there.files],
        "services": [service.entry() for service in there.services],
        "release": {
            "settings": [text.entry() for text in [*mine.settings, *processes.units(app)]],
            "instances": [mine.instance, *processes.instances(app)],
            "jobs": sorted(app.jobs),
            "server_requirements": mine.requirements,
            "server_minimum": mine.minimum,
            "static": [*app.static.values(), *app.values.get("apache_site_php", {}).values()],
            "health_host": front.get("host", "localhost"),
        },
        "firewall_plan": firewall,
        "prepares": bool(host["packages_missing"] or not (host["account"]["group"] and host["account"]["user"])),
        "finishes": bool(app.after_activation or firewall["close"] or certificates["wanted"] or certificates["leaving"]),
    }


def _plan_certificates(app: App, host: dict[str, Any]) -> dict[str, Any]:
    """The certificate that the host must get for the app once that is live, if it must, and those that go."""
    certificate = app.certificate
    name = certificate.name if certificate else ""
    missing = bool(certificate and not certificate.is_complete)
    return {
        "wanted": name if missing else "",
        "question": tls.question(app) if missing else "",
        "required": app.tls_required,
        "leaving": tls.leaving(app.name, name, host["certificates"]),
    }


def plan_absent(name: str, host: dict[str, Any]) -> dict[str, Any]:
    """The plan to remove an app, for the role's tasks."""
    return {
        "url": "",
        "hint": "",
        "front": {},
        "firewall_plan": plan_firewall(name, host, set()),
        "certificates": {"wanted": "", "question": "", "required": False, "leaving": tls.leaving(name, "", host["certificates"])},
        "account_goes": bool(host["apps"].get(name)) and host["account"]["ours"],
    }


def plan_firewall(name: str, host: dict[str, Any], needed: set[int], wanted: bool = True) -> dict[str, Any]:
    """The ports that the firewall must allow for the app of this ``name``, and those that it need not allow any more.

    A port goes if the app had it, and neither SSH nor another app needs it. ``shuts`` is what listens on a port that turning it on closes.
    """
    firewall, ssh = host["firewall"], set(host["ssh_ports"])
    records = {app: Record.from_json(found, app) for app, found in host["apps"].items()}
    had = {port for app, found in records.items() if app == name for port in _ports_of(found)}
    others = {port for app, found in records.items() if app != name for port in _ports_of(found)}
    let_in = set(firewall["ports"])
    ready = firewall["enabled"] and firewall["incoming"] == "DROP"
    allow = {"SSH": sorted(ssh - let_in), "flaskops": sorted(needed - ssh - let_in)}
    open_to_others = {one["port"]: one["process"] for one in host["sockets"] if not ip_address(one["address"]).is_loopback}
    return {
        "opens": wanted and (not ready or any(allow.values())),
        "allow": {comment: ports for comment, ports in allow.items() if ports},
        "enables": not ready,
        "shuts": [
            {"port": port, "process": open_to_others[port]} for port in sorted(open_to_others.keys() - ssh - needed - others - let_in) if not ready
        ],
        "close": sorted((had - needed - others - ssh) & let_in) if wanted else [],
    }


def _ports_of(record: Record) -> set[int]:
    return {*record.firewall_ports, *(port for site in record.sites for port in ports_for_others(site))}
