# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has noted of its apps and of their releases: types, read so that no note stops a run, whatever is missing from it."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import math
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

RECORDS = Path("/etc/flaskops/apps")
FORMAT = 2  # 0.1.0's notes have no number
REMOVED = "removed"  # the topology of an app of which only its data is left
LEGACY_FRONTS = {"nginx_site": "nginx", "apache_site": "apache"}
LEGACY_FILES = {"systemd": "app.service", "supervisord": "supervisor.conf", "apache": ""}
Note = TypeVar("Note")


def read_note(kind: type[Note], data: Any) -> Note:
    """A dataclass from what JSON gave: a key that is missing, or of another type, has its default. Never raises."""
    given = data if isinstance(data, dict) else {}
    hints = typing.get_type_hints(kind)
    known = {one.name: given[one.name] for one in dataclasses.fields(kind) if one.name in given}  # type: ignore[arg-type]
    values = {name: _value(hints[name], value) for name, value in known.items()}
    return kind(**{name: value for name, value in values.items() if value is not None})


def _value(hint: Any, value: Any) -> Any:
    """The value if it is of the type, without the parts that are of another one; else ``None``. A dataclass is read from its dictionary."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (list, dict) and not isinstance(value, origin):
        return None
    if origin is list:
        found = [_value(inner[0], one) for one in value]
        return [one for one in found if one is not None]
    if origin is dict:
        return {name: one for name, one in value.items() if isinstance(one, inner[1])}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return read_note(hint, value) if isinstance(value, dict) else None
    if hint is float:
        return _number(value)
    if hint is int and isinstance(value, bool):
        return None
    return value if isinstance(value, hint) else None


def _number(value: Any) -> float | None:
    """A number that can be compared and shown as a time; else ``None``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # JSON has whole numbers of any length
        return None


@dataclass(frozen=True)
class Listen:
    """On what a front listens: an ``address``, empty for all, a ``port``, and the ``kind`` of what is spoken there, such as ``http``."""

    address: str = ""
    port: int = 80
    kind: str = "http"

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Read ``80``, ``127.0.0.1:80`` or ``[::1]:80``; an address in brackets gets its usual form. Raises ``ValueError``."""
        address, _colon, port = text.rpartition(":")
        if address.startswith("["):
            address = f"[{ipaddress.IPv6Address(address.strip('[]'))}]"
        return cls(address, int(port))

    def __str__(self) -> str:
        return f"{self.address}:{self.port}" if self.address else str(self.port)


@dataclass(frozen=True)
class Https:
    """What apps of a site share for HTTPS: where it comes from, such as ``acme``, whether HTTP redirects there, and how long browsers keep to it."""

    mode: str = ""
    redirect: bool = False
    hsts: int = 0


@dataclass(frozen=True)
class Site:
    """A site of a front: the name of its files, the host names that it answers to, on what it listens, and the directory of its certificate."""

    front: str = ""
    name: str = ""
    names: list[str] = field(default_factory=list)
    listens: list[Listen] = field(default_factory=list)
    https: Https = field(default_factory=Https)
    certificate: str = ""


@dataclass(frozen=True)
class NotedInstance:
    """A process that the app runs: ``unit`` is what runs it, ``listen`` the app's own TCP address, if it has one."""

    name: str = "web"
    manager: str = "systemd"
    unit: str = ""
    listen: str = ""


@dataclass(frozen=True)
class Record:
    """What other apps, and people who ask what runs there, must know of an app."""

    app: str = ""
    root: str = ""
    user: str = ""
    group: str = ""
    topology: str = ""
    url: str = ""
    mount: str = "/"
    mounts: list[str] = field(default_factory=list)
    sites: list[Site] = field(default_factory=list)
    instances: list[NotedInstance] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    firewall_ports: list[int] = field(default_factory=list)
    made_root: bool = False
    format: int = FORMAT

    def question(self, secure: bool = False) -> dict[str, str]:
        """How the host itself asks for the app through its front: ``address``, ``host``, the site's ``proof``, and for HTTPS the ``protocol``.

        Empty if it has no front.
        """
        kind = "https" if secure else "http"
        listens = [(site, one) for site in self.sites for one in site.listens if one.kind == kind]
        if not listens:
            return {}
        site, listen = listens[0]
        local = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(listen.address, listen.address)
        # nobody answers a name that no site has, so for a wildcard stands one of the names that it matches
        names = sorted(site.names, key=lambda name: "*" in name) or ["localhost"]
        question = {"address": f"{local}:{listen.port}", "host": names[0].replace("*", "localhost"), "proof": self.root}
        return {**question, "protocol": kind} if secure else question

    def own_listen(self) -> str:
        """The app's own TCP address; empty if it has none, or if what is noted is none."""
        listen = next((one.listen for one in self.instances if one.name == "web"), "")
        return listen if _listens(listen) else ""

    def to_json(self) -> dict[str, Any]:
        """As it is noted."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Any, app: str) -> Record:
        """Read what was noted of an app, also by 0.1.0. Never raises."""
        given = data if isinstance(data, dict) else {}
        if given and not given.keys() & {"format", "sites", "instances"}:  # not by 0.1.0's own keys: any of them may be missing
            given = _from_legacy(given)
        return dataclasses.replace(read_note(cls, given), app=app, format=FORMAT)

    @classmethod
    def read(cls, app: str, directory: Path = RECORDS) -> Record | None:
        """What the host has noted of an app; ``None`` if it has noted nothing. Never raises."""
        path = directory / f"{app}.json"
        return cls.from_json(read_json(path), app) if path.is_file() else None

    @classmethod
    def read_all(cls, directory: Path = RECORDS) -> dict[str, Record]:
        """What the host has noted of its apps, by their names. Never raises."""
        return {path.stem: cls.from_json(read_json(path), path.stem) for path in sorted(directory.glob("*.json"))}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's object; an empty one if the file has none. Never raises."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _from_legacy(given: dict[str, Any]) -> dict[str, Any]:
    """A record of 0.1.0 in today's form."""
    front = LEGACY_FRONTS.get(str(given.get("front_role")), "")
    listens = [dataclasses.asdict(one) for one in _listens(given.get("site_listen"))]
    site = {"front": front, "name": given.get("site"), "names": given.get("site_names"), "listens": listens}
    listen = given.get("listen")
    own = listen if isinstance(listen, str) and not listen.startswith("unix:") else ""
    return {**given, "sites": [site] if front else [], "instances": [{"listen": own}], "made_root": True}


def _listens(noted: Any) -> list[Listen]:
    """Where something listens by what is noted of it; empty if that is nothing of the kind."""
    try:
        return [Listen.parse(str(noted))]
    except ValueError:
        return []


@dataclass(frozen=True)
class WentLive:
    """When a release last went ``live`` by being released, in seconds since 1970, and who last made it so, such as ``ada@laptop``."""

    live: float = 0.0
    by: str = ""


@dataclass(frozen=True)
class InstanceFacts:
    """A process that a release runs, as it was staged.

    ``manager`` is what runs it, by the release's ``file``; ``socket`` is its unix socket below the release, empty for none; ``protocol`` is what
    it speaks there; ``log`` is the file that its errors go to, if its manager keeps none. A server that would cut short what it is sending is
    stopped only when nobody is connected any more, or after ``drain_timeout`` seconds. A worker must run for ``settle`` seconds before its release
    goes live, and the command ``check`` must end well.
    """

    name: str = "web"
    manager: str = "systemd"
    file: str = "app.service"
    socket: str = "run/app.sock"
    protocol: str = "http"
    log: str = ""
    drain_timeout: float = 0.0
    settle: float = 0.0
    check: str = ""


@dataclass(frozen=True)
class ReleaseFacts:
    """What was noted of a release when it was staged: what activation needs, and what a diff shows.

    One that ``waits_for_commands`` was only imported then: it may need what they do to answer its health path. If its server ``names_release``, it
    tells the host's own health check which release has answered; those that an older version of the collection staged do not.
    """

    release: str = ""
    app: str = ""
    created: float = 0.0
    build: str = ""
    version: str = ""
    module: str = ""
    user: str = ""
    mount: str = "/"
    health_path: str = "/"
    health_host: str = "localhost"
    health_timeout: float = 30.0
    instances: list[InstanceFacts] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    requirements: str = ""
    server_requirements: list[str] = field(default_factory=list)
    venv: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    memory_max: int = 0
    waits_for_commands: bool = False
    names_release: bool = False
    format: int = FORMAT

    @property
    def web(self) -> InstanceFacts:
        """The process that answers visitors."""
        return next((one for one in self.instances if one.name == "web"), InstanceFacts())

    def to_json(self) -> dict[str, Any]:
        """As it is noted."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> ReleaseFacts:
        """Read what was noted of a release, also by 0.1.0. Never raises."""
        given = data if isinstance(data, dict) else {}
        if "format" not in given and "instances" not in given:
            given = {**given, "instances": [_legacy_web(given)]}
        return dataclasses.replace(read_note(cls, given), format=FORMAT)

    @classmethod
    def read(cls, path: Path) -> ReleaseFacts:
        """What a file has noted of a release. Never raises."""
        return cls.from_json(read_json(path))


def _legacy_web(given: dict[str, Any]) -> dict[str, Any]:
    """The only process of a release of 0.1.0 in today's form."""
    noted, listen = given.get("manager"), given.get("listen")
    manager = noted if isinstance(noted, str) and noted in LEGACY_FILES else InstanceFacts.manager
    if isinstance(listen, str):
        socket = listen.replace("unix:", "", 1)
    else:
        socket = "" if manager == "apache" else InstanceFacts.socket  # as each of them had it
    return {"manager": manager, "file": LEGACY_FILES[manager], "socket": socket, "protocol": given.get("protocol"), "log": given.get("log")}
