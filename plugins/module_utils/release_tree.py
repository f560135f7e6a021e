# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tree of one app on a host: releases, venvs, shared data, and ``current``, the switch."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.flaskops.hosting.plugins.module_utils.command import remove_tree
from ansible_collections.flaskops.hosting.plugins.module_utils.record import RECORDS, Record, ReleaseFacts, WentLive, read_json, read_note

LOCKS = Path("/run/flaskops")  # where root alone can write: who may write there, or read a lock, can hold it for ever
LOCK_TIMEOUT = 60  # seconds for which a deploy waits for another one
COMPLETE_MARK = "release.json"
FAILED_MARK = "failed.json"
LIVE_MARK = "live.json"


class ReleaseError(Exception):
    """A release cannot be made or cannot go live. ``log`` has the lines that show why."""

    def __init__(self, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.log = log


def open_lock(name: str) -> Any:
    """The file that ``flock`` is for: an app's by its name, or with a dot before it another one."""
    LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
    return open(LOCKS / name, "a+", encoding="utf-8")


@dataclass(frozen=True)
class Tree:
    """The directories of one app. ``app`` is its name, ``root`` the directory that holds them."""

    app: str
    root: Path

    @property
    def releases(self) -> Path:
        """The directory of the releases."""
        return self.root / "releases"

    @property
    def venvs(self) -> Path:
        """The directory of the venvs, each named by the hash of what is installed in it."""
        return self.root / "venvs"

    @property
    def shared(self) -> Path:
        """The directory of the data that outlives releases."""
        return self.root / "shared"

    @property
    def current(self) -> Path:
        """The symlink that says which release is live."""
        return self.root / "current"

    @property
    def record(self) -> Path:
        """The file that shows other runs what this app uses on the host."""
        return RECORDS / f"{self.app}.json"

    def own_paths(self) -> list[Path]:
        """Everything that is ever made in the app's directory; what else is there is somebody else's."""
        return [self.current, self.fresh_current, self.maintenance, self.out_of_balancer, self.releases, self.venvs, self.shared]

    @property
    def fresh_current(self) -> Path:
        """What becomes ``current`` in the next moment."""
        return self.root / ".current.new"

    def note(self, record: Record) -> None:
        """Write what the host notes of this app."""
        self.record.parent.mkdir(parents=True, exist_ok=True)
        write_private(self.record, json.dumps(record.to_json(), indent=1, sort_keys=True))

    def release(self, name: str) -> Release:
        """The release of this name, whether it exists or not."""
        return Release(self, name)

    def live(self) -> Release | None:
        """The release that ``current`` names; ``None`` before the first one."""
        try:
            return self.release(Path(os.readlink(self.current)).name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    @property
    def maintenance(self) -> Path:
        """The page that visitors get instead of the app, while it exists."""
        return self.root / "maintenance.html"

    @property
    def out_of_balancer(self) -> Path:
        """The file that has load balancers leave the host alone, while it exists."""
        return self.root / "out-of-balancer"

    def kept_releases(self) -> list[Release]:
        """The releases that are on the host, oldest first, those that failed before they were complete included."""
        if not self.releases.is_dir():
            return []
        found = [self.release(path.name) for path in self.releases.iterdir()]
        return sorted((one for one in found if one.is_complete() or one.has_failed()), key=Release.made)

    def complete_releases(self) -> list[Release]:
        """The releases that were staged to the end, oldest first, failed ones included."""
        if not self.releases.is_dir():
            return []
        found = [self.release(path.name) for path in self.releases.iterdir()]
        return sorted((one for one in found if one.is_complete()), key=lambda one: one.facts().created)

    def point_current_to(self, release: Release) -> None:
        """Flip the switch: one rename(2), so every connection sees the old release or the new one."""
        self.fresh_current.unlink(missing_ok=True)
        self.fresh_current.symlink_to(Path("releases") / release.name)
        os.replace(self.fresh_current, self.current)

    def lock(self) -> Any:
        """Keep other deploys of this app away until the returned file is closed or its process ends; wait for one that is under way.

        Raises ``ReleaseError`` if another deploy still holds the lock after a minute.
        """
        handle = open_lock(self.app)
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    handle.seek(0)
                    raise ReleaseError(
                        f"another deploy of {self.app} is running on this host (process {handle.read().strip()}); wait for its end"
                    ) from error
            time.sleep(0.1)
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        return handle


@dataclass(frozen=True)
class Release:
    """One immutable release: code, a link to its venv, its environment and its server settings."""

    tree: Tree
    name: str

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.tree.releases / self.name

    def is_complete(self) -> bool:
        """Return whether it was staged to the end. One that was not does not count as existing."""
        return (self.path / COMPLETE_MARK).is_file()

    def has_failed(self) -> bool:
        """Return whether it failed; such a release is kept to look at and never goes live."""
        return (self.path / FAILED_MARK).is_file()

    def facts(self) -> ReleaseFacts:
        """What was noted when it was staged."""
        return ReleaseFacts.read(self.path / COMPLETE_MARK)

    def secrets(self) -> dict[str, str]:
        """Its secret variables, to keep them out of what people read."""
        variables = read_environment_file((self.path / "environment").read_bytes().decode())
        return {name: variables[name] for name in self.facts().secrets if name in variables}

    def mark_complete(self, facts: ReleaseFacts) -> None:
        """Note what it is made of; from here on it exists."""
        noted = replace(facts, release=self.name, created=time.time())
        write_private(self.path / COMPLETE_MARK, json.dumps(noted.to_json(), indent=1))

    def mark_failed(self, reason: str, log: str) -> None:
        """Note why it must never go live."""
        if self.path.is_dir():
            facts = {"reason": reason, "log": log, "failed": time.time()}
            write_private(self.path / FAILED_MARK, json.dumps(facts, indent=1))

    def made(self) -> float:
        """When it was staged or failed, in seconds since 1970."""
        return self.facts().created if self.is_complete() else self.failure().get("failed", 0)

    def mark_live(self, by: str, back: bool = False) -> None:
        """Note that it has gone live, when, and who did it. If one goes ``back`` to it, it keeps its time, which is its place in the order."""
        when = self.went_live() if back else time.time()
        write_private(self.path / LIVE_MARK, json.dumps(asdict(WentLive(when, by))))

    def went_live(self) -> float:
        """When it last went live by being released, in seconds since 1970; 0 if it never did."""
        return self._live_mark().live

    def made_live_by(self) -> str:
        """Who made it live, by releasing it or by going back to it; empty if that is not known."""
        return self._live_mark().by

    def _live_mark(self) -> WentLive:
        return read_note(WentLive, read_json(self.path / LIVE_MARK))

    def failure(self) -> dict[str, Any]:
        """Why it failed: ``reason``, ``log`` and ``failed``, the time; empty if it did not."""
        return read_json(self.path / FAILED_MARK)

    def discard(self) -> None:
        """Remove its directory."""
        remove_tree(self.path)


def write_private(path: Path, text: str) -> None:
    """Write a file that only root can read, in one step."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(fresh, path)


def environment_file(variables: dict[str, str]) -> str:
    """Write variables in the syntax of systemd's EnvironmentFile=, so that every byte arrives as it was.

    Inside double quotes systemd (env-file.c) takes a backslash before these four as an escape, and all else as it is.
    """
    escapes = str.maketrans({character: f"\\{character}" for character in '"\\`$'})
    return "".join(f'{name}="{value.translate(escapes)}"\n' for name, value in sorted(variables.items()))


def read_environment_file(text: str) -> dict[str, str]:
    """The variables in a text that ``environment_file`` has written, and in which no newline was translated."""
    found = re.findall(r'^([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"$', text, re.MULTILINE | re.DOTALL)
    return {name: re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL) for name, value in found}


def hide_secrets(text: str, secrets: dict[str, str]) -> str:
    """Replace each secret in a text that a person will read by its name: whole, by its lines, as URLs have it; and hide the credentials of URLs."""
    for name, value in sorted(secrets.items(), key=lambda item: -len(item[1])):
        for part in [value, repr(value)[1:-1], quote(value, safe=""), *value.splitlines()]:
            if len(part) >= 4:  # shorter ones would shred the text and are no secrets
                text = text.replace(part, f"<{name}>")
    return hide_credentials(text)


def hide_credentials(text: str) -> str:
    """The text without what URLs in it have before an @, which may be a password or a token."""
    return re.sub(r"(?<=://)[^/\s]+@", "…@", text)
