# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who has which path and which service on a host: noted, never guessed by a name."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.flaskops.hosting.plugins.module_utils.record import RECORDS, read_json, read_note
from ansible_collections.flaskops.hosting.plugins.module_utils.transaction import Change

OWNERS = Path("/etc/flaskops/owners")
ORIGINALS = Path("/var/lib/flaskops/originals")  # files that were there before an owner came, for when the last one has gone
FORMAT = 1
NGINX, APACHE, UNITS = "/etc/nginx", "/etc/apache2", "/etc/systemd/system"


@dataclass(frozen=True)
class Service:
    """A systemd unit that reads files: how it tests them, what it needs to have anything to do, how it takes a change, what it reads.

    ``lists`` is a command that names all that it reads.
    """

    name: str = ""
    test: str = ""
    needs: str = ""
    on_change: str = "reloaded"
    reads: list[str] = field(default_factory=list)
    lists: str = ""

    def concerns(self, path: Path) -> bool:
        """Tell whether the service reads a path."""
        return not self.reads or any(path == Path(one) or Path(one) in path.parents for one in self.reads)


@dataclass(frozen=True)
class Edit:
    """A text that has another one's place in a file that is nobody's."""

    path: str = ""
    replace: str = ""
    by: str = ""

    def undone(self) -> Change:
        """What gives the file its own text again."""
        return Change(Path(self.path), "edit", replace=self.by, by=self.replace)


@dataclass(frozen=True)
class Owned:
    """What one owner has: ``paths`` of files and links, ``directories`` that were made for them, ``services`` that read them, and ``edits``."""

    paths: list[str] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    format: int = FORMAT

    def to_json(self) -> str:
        """As it is noted."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"

    def __bool__(self) -> bool:
        return bool(self.paths or self.directories or self.edits)


def note_of(owner: str) -> Path:
    """The file that says what an owner has."""
    return OWNERS / f"{owner}.json"


def read_owners() -> dict[str, Owned]:
    """What each owner has. An app that 0.1.0 has put on the host has what its record says. Never raises."""
    noted = {path.stem: read_note(Owned, read_json(path)) for path in sorted(OWNERS.glob("*.json"))}
    before = {path.stem: read_json(path) for path in sorted(RECORDS.glob("*.json")) if path.stem not in noted}
    return {**{app: legacy_owned(app, record) for app, record in before.items() if "format" not in record}, **noted}


def all_paths(owned: Iterable[Owned]) -> set[str]:
    """The paths that any of these owners has."""
    return {path for one in owned for path in one.paths}


def note_after(named: list[Path], services: list[Service], everyone: Iterable[Owned]) -> Owned:
    """What an owner has once these paths are there: with the directories above them that are missing yet, or that were made by this collection."""
    made = {directory for one in everyone for directory in one.directories}
    above = {parent for path in named for parent in path.parents if str(parent) in made or not parent.is_dir()}
    return Owned(sorted(map(str, named)), sorted(map(str, above)), services)


def left_behind(before: Owned, after: Owned, others: Iterable[Owned]) -> tuple[list[Path], list[Path]]:
    """The paths and the directories that an owner had, has no more, and nobody else has; the deepest directories first."""
    others = list(others)
    paths = set(before.paths) - set(after.paths) - all_paths(others)
    directories = set(before.directories) - set(after.directories) - {one for other in others for one in other.directories}
    return sorted(map(Path, paths)), sorted(map(Path, directories), key=lambda path: (-len(path.parts), path))


def left_edits(before: Owned, after: Owned, others: Iterable[Owned]) -> list[Change]:
    """What undoes the edits that an owner had, has no more, and nobody else has; nothing for a file that somebody has removed or changed there."""
    kept = {*after.edits, *(edit for other in others for edit in other.edits)}
    undone = [edit.undone() for edit in before.edits if edit not in kept]
    return [change for change in undone if change.path.is_file()]


def foreign_files(named: list[Path], everyone: Iterable[Owned]) -> list[Path]:
    """Those of the paths that an owner takes now, and that were somebody's files before."""
    noted = all_paths(everyone)
    return [path for path in named if str(path) not in noted and path.is_file() and not path.is_symlink()]


def keep_original(path: Path) -> Change:
    """Keep a copy of a file that is somebody's."""
    return Change.of_file(_original(path), path)


def give_back(path: Path) -> list[Change]:
    """Remove a path that nobody has any more; or put back the file that was there before."""
    original = _original(path)
    if not original.is_file():
        return [Change(path, "absent")]
    return [Change.of_file(path, original), Change(original, "absent")]


def is_original(path: Path) -> bool:
    """Return whether a path is a copy that ``keep_original`` makes."""
    return ORIGINALS in path.parents


def _original(path: Path) -> Path:
    return ORIGINALS / quote(str(path), safe="")


def legacy_owned(app: str, record: dict[str, Any]) -> Owned:
    """What an app has that 0.1.0 has put on the host, which noted no paths: those of its record that are there."""
    front, site = record.get("front_role"), str(record.get("site") or "")
    paths, directories, services = [], [], []
    if front == "nginx_site" and site:
        paths += [f"{NGINX}/flaskops/{site}/{app}.conf", f"{NGINX}/sites-available/{site}.conf", f"{NGINX}/sites-enabled/{site}.conf"]
        directories += [f"{NGINX}/flaskops/{site}", f"{NGINX}/flaskops"]
        services.append(Service("nginx.service", "nginx -t", f"{NGINX}/sites-enabled", reads=[NGINX]))
    if front == "apache_site" and site:
        paths += _legacy_apache(app, site, record)
        directories += [f"{APACHE}/flaskops/{site}", f"{APACHE}/flaskops"]
        services.append(Service("apache2.service", "apache2ctl configtest", f"{APACHE}/sites-enabled", reads=[APACHE]))
    listen = str(record.get("listen") or "")
    units = [f"{app}-port-{listen.rpartition(':')[2]}"] if listen and not listen.startswith("unix:") else []
    units += [f"{app}-php"] if record.get("php") else []
    for unit in units:
        files = [f"{UNITS}/{unit}.socket", f"{UNITS}/{unit}.service"]
        paths += files
        services.insert(0, Service(f"{unit}.socket", on_change="restarted", reads=files))
    return Owned([path for path in paths if os.path.lexists(path)], [path for path in directories if os.path.isdir(path)], services)


def _legacy_apache(app: str, site: str, record: dict[str, Any]) -> list[str]:
    port = str(record.get("site_listen") or "").rpartition(":")[2]
    noted = record.get("modules")
    modules = [module for module in noted if isinstance(module, str)] if isinstance(noted, list) else []
    return [
        *(str(path) for path in Path(f"{APACHE}/flaskops/{site}").glob(f"[0-9][0-9]-{app}.conf")),
        f"{APACHE}/sites-available/{site}.conf",
        f"{APACHE}/sites-enabled/{site}.conf",
        f"{APACHE}/sites-enabled/0-{site}.conf",
        f"{APACHE}/conf-enabled/zz-flaskops.conf",
        f"{APACHE}/conf-enabled/flaskops-port-{port}.conf",
        *(f"{APACHE}/mods-enabled/{module}.{kind}" for module in modules for kind in ("load", "conf")),
    ]
