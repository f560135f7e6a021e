# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The apps that an inventory has for one host, looked at together: what would be wrong is reported before any of them is touched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App
from ansible_collections.flaskops.hosting.plugins.plugin_utils.conflicts import is_same_port, of_https, with_others
from ansible_collections.flaskops.hosting.plugins.plugin_utils.plan import record, served

EXAMPLE = "    flask_apps:\n      - flask_app_name: shop\n        flask_app_source: /home/me/shop"


def problem_of_list(apps: Any) -> str:
    """What is wrong with a host's ``flask_apps`` before it is known what is in them; empty if they are apps."""
    if not isinstance(apps, list):
        return _wrong(_kind(apps))
    other = next((f"a list whose entry {number} is {_kind(app)}" for number, app in enumerate(apps, 1) if not isinstance(app, dict)), "")
    return other and _wrong(other)


def _wrong(given: str) -> str:
    return f"flask_apps: got {given}, needs a list of apps, each a dictionary. For example:\n{EXAMPLE}"


def _kind(value: Any) -> str:
    words: dict[type, str] = {type(None): "nothing", dict: "a dictionary", list: "a list", str: "a string"}
    return next((word for kind, word in words.items() if isinstance(value, kind)), "another value")


def clashes(apps: list[App]) -> Iterator[str]:
    """A sentence for each thing that two apps cannot both have: the app, the variable, and what would be right."""
    for number, app in enumerate(apps):
        for other in apps[:number]:
            yield from (f"{app.name}: {problem}" for problem in _between(app, other))


def _between(app: App, other: App) -> Iterator[str]:
    if app.name == other.name:
        yield f"flask_app_name: {app.name!r} is another app's of this host too; each needs a name of its own"
        return
    yield from with_others(app, [record(other, "")])
    yield from of_https(app, None, [record(other, "")])
    yield from _of_fronts(app, other)
    yield from _of_ports(app, other)


def _of_fronts(app: App, other: App) -> Iterator[str]:
    mine, theirs = app.topology.front, other.topology.front
    if mine and theirs and mine != theirs:
        for port in sorted({one.port for one in app.front_site.listens} & {one.port for one in other.front_site.listens}):
            yield (
                f"flask_app_listen: port {port} is the app {other.name}'s, which is behind {theirs.title}; "
                "give this app another port, or the other one's topology"
            )


def _of_ports(app: App, other: App) -> Iterator[str]:
    """A port that is the front's for one of them, and the other one's own."""
    own, others_own = served(app).port, served(other).port
    for listen in other.site.listens if other.site else []:
        if is_same_port(own, {"port": listen.port, "address": listen.address}):
            yield f"{app.topology.server.role}_listen: port {listen.port} is the app {other.name}'s; give this app another port"
    for listen in app.site.listens if app.site else []:
        if is_same_port(others_own, {"port": listen.port, "address": listen.address}):
            yield f"flask_app_listen: port {listen.port} is the app {other.name}'s; give this app another port"
