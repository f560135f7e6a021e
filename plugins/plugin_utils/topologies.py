# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The topologies: each is a row. All that differs between topologies follows from its row, its server and its front."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Front:
    """A web server that listens for visitors.

    ``name`` stands in records, ``role`` is the role whose variables speak its language, ``process`` is what holds its ports.
    """

    name: str
    title: str
    role: str
    process: str


@dataclass(frozen=True)
class Server:
    """An application server. ``role`` is the role that has its variables; ``front_name`` is the front that it is tied to."""

    name: str
    title: str
    role: str
    front_name: str = ""


@dataclass(frozen=True)
class Topology:
    """A chain from the front to the app. An inventory group of this name holds its hosts; ``front`` is ``None`` if visitors do not reach it."""

    name: str
    server: Server
    front: Front | None
    database: bool = False  # whether its documents have one beside the app
    for_development: bool = False  # such an app shares a host with no production app

    @property
    def roles(self) -> list[str]:
        """The roles whose variables an app of this topology has."""
        return ["flask_app", *([self.front.role] if self.front else []), self.server.role]


NGINX = Front("nginx", "nginx", role="nginx_site", process="nginx")
APACHE = Front("apache", "Apache", role="apache_site", process="apache2")
FRONTS = {front.name: front for front in (NGINX, APACHE)}

GUNICORN = Server("gunicorn", "Gunicorn", role="nginx_gunicorn")
UWSGI = Server("uwsgi", "uWSGI", role="uwsgi_app")
MOD_WSGI = Server("mod_wsgi", "mod_wsgi", role="apache_wsgi", front_name="apache")
WERKZEUG = Server("werkzeug", "the development server", role="dev_server")

TOPOLOGIES = {
    row.name: row
    for row in (
        Topology("nginx_gunicorn", GUNICORN, NGINX),
        Topology("nginx_uwsgi", UWSGI, NGINX),
        Topology("apache_gunicorn", GUNICORN, APACHE),
        Topology("apache_mod_wsgi", MOD_WSGI, APACHE),
        Topology("apache_uwsgi_mysql", UWSGI, APACHE, database=True),
        Topology("dev_server", WERKZEUG, None, for_development=True),
    )
}


class TopologyError(Exception):
    """An app's topology is not known; the message names the variable and says what would be right."""


def topology_of(app: str, given: str, role: str, groups: list[str]) -> Topology:
    """The topology of an app: the one that is ``given``, else the ``role``'s own, else the only one of the host's ``groups`` that is a topology.

    Raises ``TopologyError``.
    """
    if given and given not in TOPOLOGIES:
        raise TopologyError(f"flask_app_topology: got {given!r}, needs one of {', '.join(TOPOLOGIES)}")
    chosen = given or role
    if chosen:
        return TOPOLOGIES[chosen]
    found = [name for name in TOPOLOGIES if name in groups]
    if len(found) == 1:
        return TOPOLOGIES[found[0]]
    if not found:
        raise TopologyError(
            f"flask_app_topology: not set for {app}, and its host is in none of the groups {', '.join(TOPOLOGIES)}; "
            "put the host in one of these groups. Or, for this app:\n    flask_app_topology: nginx_gunicorn"
        )
    raise TopologyError(
        f"flask_app_topology: the host is in the groups {' and '.join(found)}, so {app} must say which of these it belongs to. "
        f"For example:\n    flask_app_topology: {found[0]}"
    )
