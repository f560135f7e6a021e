# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of an app's settings would hurt something else on its host, as ``survey`` found it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.record import Listen, Record, Site
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App
from ansible_collections.flaskops.hosting.plugins.plugin_utils.plan import served
from ansible_collections.flaskops.hosting.plugins.plugin_utils.processes import problems_of_schedules
from ansible_collections.flaskops.hosting.plugins.plugin_utils.tls import conflicts_of_tls
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import APACHE, FRONTS, MOD_WSGI, TOPOLOGIES, UWSGI

DISTRIBUTIONS = {"Ubuntu": ["22", "24", "26"], "Debian": ["12", "13"]}  # and their major versions, on which the roles are tested
EVERYWHERE = ("", "0.0.0.0", "[::]", "::")


def conflicts(app: App, host: dict[str, Any]) -> Iterator[str]:
    """A sentence for each conflict: the variable, what was given, and what would be right."""
    records = {name: Record.from_json(found, name) for name, found in host["apps"].items()}
    own = records.get(app.name)
    others = [record for name, record in records.items() if name != app.name]
    yield from _of_distribution(host)
    if host["account"]["foreign"]:
        yield (
            f"flask_app_user: {app.user!r} is an account that this collection did not make, and it has a login shell "
            f"or another group; give the app one of its own. For example:\n    flask_app_user: {app.name.lower()}-app"
        )
    yield from _of_root(app, host, own)
    yield from _of_development_server(app, own)
    yield from _of_python(app, host)
    yield from problems_of_schedules(app, host["calendars"])
    for missing in [] if host["check_mode"] else host["files_missing"]:  # in a dry run, a database has none yet
        yield f"flask_app_environment_files: got {missing!r}, and there is no such file on this host"
    yield from with_others(app, others)
    yield from of_https(app, own, others)
    for socket in host["sockets"]:
        yield from _with_socket(app, socket, own, others)


def with_others(app: App, others: list[Record]) -> Iterator[str]:
    """A sentence for each thing that the app and others cannot both have."""
    for other in others:
        yield from _of_development(app, other)
        yield from _with_app(app, other)


def of_https(app: App, own: Record | None, others: list[Record]) -> Iterator[str]:
    """A sentence for each app of the same site that has other settings for HTTPS."""
    if app.site:
        yield from conflicts_of_tls(app, own, [(other, site) for other in others for site in other.sites if _is_same_site(app.site, site)])


def _of_distribution(host: dict[str, Any]) -> Iterator[str]:
    name, version = host["distribution"]["name"], host["distribution"]["major_version"]
    if version not in DISTRIBUTIONS.get(name, []):
        known = "; ".join(f"{distribution} {', '.join(versions)}" for distribution, versions in DISTRIBUTIONS.items())
        yield f"This host runs {name} {version}, but the roles support {known}"


def _of_root(app: App, host: dict[str, Any], own: Record | None) -> Iterator[str]:
    if own and own.root and own.root != app.root:
        yield f"flask_app_root: got {app.root!r}, but {app.name} is in {own.root}; remove it there first, or keep that directory"
    elif host["root"]["foreign"]:
        yield (
            f"flask_app_root: got {app.root!r}, which holds files that are not this app's ({', '.join(host['root']['foreign'])}); "
            f"give the app a directory of its own. For example:\n    flask_app_root: /srv/{app.name}"
        )


def _of_development_server(app: App, own: Record | None) -> Iterator[str]:
    if app.topology.for_development:
        if app.mount != "/":
            yield f"flask_app_mount: got {app.mount!r}, but the development server has no mounts; leave it out"
        yield from _of_development(app, own) if own else ()


def _of_development(app: App, other: Record) -> Iterator[str]:
    topology = TOPOLOGIES.get(other.topology)  # an app of which only its data is left has none
    if topology and topology.for_development != app.topology.for_development:
        yield (
            f"flask_app_name: this host has the app {other.app} ({other.topology}), and a development server and production "
            "apps do not share a host; remove that app first (flask_app_state: absent), or take another host"
        )


def _of_python(app: App, host: dict[str, Any]) -> Iterator[str]:
    given, needed = host["python"]["given"], host["python"]["distribution"]
    if not given:
        yield f"flask_app_python: got {app.python!r}, but there is no such file. For example:\n    flask_app_python: /usr/bin/python3"
        return
    from_distribution = app.topology.server is MOD_WSGI or (app.topology.server is UWSGI and app.values["uwsgi_app_origin"] == "distribution")
    if from_distribution and given != needed:
        yield (
            f"flask_app_python: got {app.python!r}, which is Python {given}, but the distribution's "
            f"{app.topology.server.title} is built for Python {needed}. For example:\n    flask_app_python: /usr/bin/python3"
        )


def _with_app(app: App, other: Record) -> Iterator[str]:
    for variable, given, noted, own in (
        ("flask_app_root", app.root, other.root, f"/srv/{app.name}"),
        ("flask_app_user", app.user, other.user, app.name.lower()),
    ):
        if given == noted:
            yield f"{variable}: {given!r} is the app {other.app}'s; give this app its own. For example:\n    {variable}: {own}"
    mine, theirs = PurePosixPath(app.root), PurePosixPath(other.root)
    if mine in theirs.parents or theirs in mine.parents:
        yield (
            f"flask_app_root: got {app.root!r}, but the app {other.app} has {other.root}, and no app's tree is in another one's. "
            f"For example:\n    flask_app_root: /srv/{app.name}"
        )
    for site in other.sites:
        if app.site and site.front == app.site.front:
            yield from _with_site(app, app.site, other, site)
    port = other.own_listen()
    if port and port == served(app).port:
        yield f"{app.topology.server.role}_listen: {port} is the app {other.app}'s; give this app another port"


def _with_site(app: App, site: Site, other: Record, noted: Site) -> Iterator[str]:
    """What is wrong between the app's site and a site of another app on the same front."""
    where = ", ".join(map(str, site.listens))
    if _is_same_site(site, noted):
        for mount in sorted({mount.path for mount in app.mounts} & set(other.mounts)):
            yield (
                f"flask_app_mount: {mount} on port {where} is the app {other.app}'s; "
                "give this app another flask_app_mount, flask_app_server_names or flask_app_listen"
            )
        if site.name != noted.name:
            yield _other_name(app, site, other, noted)
        return
    if site.name == noted.name:
        yield _other_name(app, site, other, noted)
    shared = _ports_and_addresses(site) & _ports_and_addresses(noted)
    both = sorted(set(site.names) & set(noted.names)) or ([] if site.names or noted.names else ["every name"])
    if shared and both:
        yield (
            f"flask_app_listen: got {where}, but the app {other.app} answers to {', '.join(both)} on {', '.join(map(str, noted.listens))}; "
            "apps that share a port and a name must share all of their flask_app_listen and flask_app_server_names"
        )
        return
    for mine, theirs in ((mine, theirs) for mine in site.listens for theirs in noted.listens if mine.port == theirs.port):
        if (mine.address in EVERYWHERE) != (theirs.address in EVERYWHERE) and mine.port != 80:
            rule = "a web server takes a port either at all addresses or at single ones"
        elif site.front == APACHE.name and _is_half_of(mine, theirs):
            rule = "Apache takes a port either of IPv4 or of both families"
        else:
            continue
        yield f"flask_app_listen: got {mine}, but the app {other.app} listens on {theirs}, and {rule}; give this app another port"


def _is_half_of(mine: Listen, theirs: Listen) -> bool:
    """Whether one of them is all addresses of IPv4, and the other one those of both families."""
    return {mine.address, theirs.address} <= {*EVERYWHERE} and (mine.address == "0.0.0.0") != (theirs.address == "0.0.0.0")


def _ports_and_addresses(site: Site) -> set[tuple[int, str]]:
    """Where a site listens; all ways to write all addresses are one, as a port alone is both families."""
    return {(one.port, "" if one.address in EVERYWHERE else one.address) for one in site.listens}


def _is_same_site(site: Site, noted: Site) -> bool:
    mine, theirs = (sorted(str(listen) for listen in one.listens if listen.kind == "http") for one in (site, noted))
    return (site.front, mine, sorted(site.names)) == (noted.front, theirs, sorted(noted.names))


def _other_name(app: App, site: Site, other: Record, noted: Site) -> str:
    return (
        f"{FRONTS[site.front].role}_name: got {site.name!r}, but the app {other.app} is on the site {noted.name!r}; apps share a site's "
        "name if they share flask_app_listen and flask_app_server_names, and only then"
    )


def _with_socket(app: App, socket: dict[str, Any], own: Record | None, others: list[Record]) -> Iterator[str]:
    """What is wrong with a port that something listens on already."""
    holder = f"{socket['process'] or 'a process'} of {socket['user']}" + (f" ({socket['unit']})" if socket["unit"] else "")
    is_our_front = socket["process"] in [FRONTS[front].process for front in _fronts_that_give_way(app, socket["port"], own, others)]
    is_our_port = own is not None and is_same_port(own.own_listen(), socket)
    wanted = [("flask_app_listen", str(one), is_our_front) for one in app.listens if app.site]
    wanted += [("flask_app_https_listen", str(one), is_our_front) for one in app.https_listens]
    wanted.append((f"{app.topology.server.role}_listen", served(app).port, is_our_port))
    for variable, listen, is_ours in wanted:
        if listen and not is_ours and is_same_port(listen, socket):
            yield f"{variable}: port {socket['port']} is in use by {holder}; stop that, or give another port"


def _fronts_that_give_way(app: App, port: int, own: Record | None, others: list[Record]) -> set[str]:
    """The fronts whose port the app may take: its own front, and one that it leaves, unless another app of that front needs the port."""

    def on_port(record: Record) -> set[str]:
        return {site.front for site in record.sites if port in [listen.port for listen in site.listens]}

    left = on_port(own) if own else set()
    return ({app.site.front} if app.site else set()) | left.difference(*map(on_port, others))


def is_same_port(listen: str, socket: dict[str, Any]) -> bool:
    """Return whether a listen and a socket that ``survey`` found cannot be there both."""
    if not listen or Listen.parse(listen).port != socket["port"]:
        return False
    mine, other = Listen.parse(listen).address, socket["address"]
    return mine.strip("[]") == other or mine in EVERYWHERE or other in EVERYWHERE
