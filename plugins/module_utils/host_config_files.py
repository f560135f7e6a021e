# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of config_files: one transaction for files, links, notes and services."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shlex
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.flaskops.hosting.plugins.module_utils import ownership
from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, unit_properties
from ansible_collections.flaskops.hosting.plugins.module_utils.ownership import Edit, Owned, Service
from ansible_collections.flaskops.hosting.plugins.module_utils.transaction import JOURNAL, Change, Transaction, TransactionError

UNITS = Path("/etc/systemd/system")
LET_GO_SECONDS = 1  # until the old processes of a server that was reloaded have let go of a port, for the server that gets it
FILE_OPTIONS: dict[str, Any] = {
    "dest": {"type": "path"},
    "src": {"type": "str"},
    "content": {"type": "str"},
    "file": {"type": "path"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str", "default": "0644"},
    "secret": {"type": "bool", "default": False},
    "link": {"type": "path"},
    "to": {"type": "str"},
    "replace": {"type": "str"},
    "by": {"type": "str"},
}
SERVICE_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "test": {"type": "str", "default": ""},
    "needs": {"type": "str", "default": ""},
    "on_change": {"type": "str", "choices": ["reloaded", "restarted"], "default": "reloaded"},
    "reads": {"type": "list", "elements": "str", "default": []},
    "lists": {"type": "str", "default": ""},
}
ARGUMENTS: dict[str, Any] = {
    "owner": {"type": "str"},
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": FILE_OPTIONS,
        "required_one_of": [("dest", "link")],
        "mutually_exclusive": [("dest", "link"), ("src", "content", "file", "replace")],
        "required_together": [("link", "to"), ("replace", "by")],
    },
    "services": {"type": "list", "elements": "dict", "default": [], "options": SERVICE_OPTIONS},
    "payload": {"type": "str", "default": "", "no_log": True},
}


class Work:
    """What a run makes of the files and services that it is given, and of what their owner had before."""

    def __init__(self, owner: str | None, changes: list[Change], services: list[Service]) -> None:
        self.given = [service.name for service in services]
        self.services = list(services)
        self.changes = list(changes)
        if owner:
            self._take_ownership(owner)

    def _take_ownership(self, owner: str) -> None:
        everyone = ownership.read_owners()
        before = everyone.get(owner, Owned())
        others = [owned for name, owned in everyone.items() if name != owner]
        named = [change.path for change in self.changes if change.kind in ("file", "link")]
        self.changes += [ownership.keep_original(path) for path in ownership.foreign_files(named, everyone.values())]
        edits = [Edit(str(change.path), change.replace, change.by) for change in self.changes if change.kind == "edit"]
        after = replace(ownership.note_after(named, self.services, everyone.values()), edits=edits)
        self.changes += ownership.left_edits(before, after, others)
        paths, directories = ownership.left_behind(before, after, others)
        self.services = [*self.services, *(service for service in before.services if service.name not in self.given)]
        mentioned = {change.path for change in self.changes}
        # a directory that somebody has put in its place is not ours
        for path in paths:
            if path not in mentioned and (path.is_symlink() or not path.is_dir()):
                self.changes += ownership.give_back(path)
        for directory in directories:
            if directory.is_dir() and is_empty_after(directory, self.changes):
                self.changes.append(Change(directory, "not empty"))
        note = ownership.note_of(owner)
        self.changes.append(Change(note, "file", after.to_json().encode(), mode=0o600) if after else Change(note, "absent"))

    def wanted(self, service: Service, pending: list[Change], all_concerned: bool) -> str:
        """What must be done with a service: ``stopped``, ``reloaded``, ``restarted``; ``running`` if it must only run; else nothing."""
        if service.needs and is_gone_after(Path(service.needs), self.changes):
            return "stopped"
        its_own = [change for change in pending if change.path.parent == UNITS / f"{service.name}.d"]
        concerned = all_concerned or any(service.concerns(change.path) for change in pending if change not in its_own)
        if service.name in self.given:
            # systemd applies what a unit may do only when it starts
            return "restarted" if its_own else service.on_change if concerned else "running"
        if unit_goes(service, pending):
            return "stopped"
        return "reloaded" if concerned and is_active(service.name) else ""


def unit_goes(service: Service, pending: list[Change]) -> bool:
    """Tell whether the service's own unit is removed: systemd can stop only what it still has a file of."""
    return any(change.path == UNITS / service.name and change.kind == "absent" for change in pending)


class Services:
    """The services that a run changes. ``before`` is what systemd said of them at its start."""

    def __init__(self, names: Iterable[str]) -> None:
        self.before = {name: unit_properties(name, "ActiveState", "UnitFileState") for name in names}
        self.changed: dict[str, str] = {}

    def bring(self, name: str, wanted: str) -> None:
        """Have a service ``reloaded``, ``restarted``, ``running`` or ``stopped``, and enabled or not.

        Raises ``TransactionError`` if systemd refuses.
        """
        before = self.before[name]
        if wanted == "stopped":
            if is_up_or_enabled(before):
                self.changed[name] = wanted
                _systemctl("disable", "--now", name)
            return
        if before.get("UnitFileState") != "enabled":
            self.changed[name] = "enabled"
            _systemctl("enable", name)
        if before.get("ActiveState") != "active":
            self.changed[name] = "started"
            _systemctl("start", name)
        elif wanted != "running":
            self.changed[name] = wanted
            _systemctl("reload-or-restart" if wanted == "reloaded" else "restart", name)

    def before_changes(self) -> dict[str, dict[str, str]]:
        """What systemd said at the start of the services that were changed since."""
        return {name: self.before[name] for name in self.changed}


def stop_again(before: dict[str, dict[str, str]]) -> None:
    """Stop and disable the services that were not up before: first of all, while systemd still has the files of their units."""
    for name, found in before.items():
        if found.get("ActiveState") != "active":
            run("systemctl", "--quiet", "stop", name)
        if found.get("UnitFileState") != "enabled":
            run("systemctl", "--quiet", "disable", name)


def start_again(before: dict[str, dict[str, str]]) -> None:
    """Start the services that were up before, or have them read their files again, once these are back."""
    for name, found in before.items():
        if found.get("UnitFileState") == "enabled":
            run("systemctl", "--quiet", "enable", name)
        if found.get("ActiveState") == "active":
            run("systemctl", "--quiet", "reload-or-restart", name)


def would_change(options: dict[str, Any]) -> bool:
    """Tell whether config_files, given these options, would change something on the host, or fail."""
    checked = ArgumentSpecValidator(ARGUMENTS).validate(options)
    if checked.error_messages:
        return True
    result = answer(checked.validated_parameters, check_mode=True)
    return bool(result["changed"] or result.get("failed"))


def recover(transaction: Transaction) -> bool:
    """Put back what an earlier run changed that was killed half-way, files and services; tells whether there was one."""
    before = transaction.unfinished()
    stop_again(before or {})
    recovered = transaction.recover()
    if recovered:
        run("systemctl", "daemon-reload")
        start_again(before or {})
    return recovered


def is_active(service: str) -> bool:
    """Tell whether a unit runs."""
    return unit_properties(service, "ActiveState").get("ActiveState") == "active"


def is_up_or_enabled(found: dict[str, str]) -> bool:
    """Tell whether a unit runs now or would after a boot."""
    return found.get("ActiveState") == "active" or found.get("UnitFileState") == "enabled"


def test(service: Service) -> list[str]:
    """Have a service's own command look at the files, and return what it warns of. Raises ``TransactionError`` with its message."""
    if not service.test:
        return []
    tested = run(*shlex.split(service.test))
    if tested.returncode:
        raise TransactionError(f"{service.test}: exit code {tested.returncode}\n{tested.stdout.strip()}")
    return [line for line in tested.stdout.splitlines() if "[warn]" in line]


def find_ignored(warnings: Iterable[str], pending: list[Change]) -> None:
    """Raise ``TransactionError`` if a server warns that it ignores a word of what changes, such as a site's name that another site has already."""
    words = {word.strip(";") for change in pending for word in change.content.decode(errors="replace").split()}
    ignored = [line for line in warnings if line.endswith("ignored") and words & set(re.findall(r'"([^"]*)"', line))]
    if ignored:
        raise TransactionError("\n".join([*ignored, "Something else has this already: remove it there, or give the app another name or port"]))


def find_unread(service: Service, changes: list[Change]) -> None:
    """Raise ``TransactionError`` if a service reads one of the links not that it is to read."""
    links = [str(change.path) for change in changes if change.kind == "link" and service.concerns(change.path)]
    if not service.lists or not links:
        return
    shown = run(*shlex.split(service.lists)).stdout
    for link in links:
        if link not in shown:
            directory = os.path.dirname(link)
            raise TransactionError(f"{service.name} does not read {link}: {service.lists} does not name it. Have it include {directory}/*.conf")


def reload_units(changes: list[Change]) -> None:
    """Have systemd read its units again, if some of them changed."""
    if any(UNITS in change.path.parents for change in changes):
        run("systemctl", "daemon-reload")


def _systemctl(*words: str) -> None:
    verb, service = words[0], words[-1]
    done = run("systemctl", "--quiet", *words)
    if done.returncode:
        log = run("journalctl", f"--unit={service}", "--lines=10", "--output=cat", "--no-pager").stdout
        raise TransactionError(f"systemctl {verb} {service}: exit code {done.returncode}\n{done.stdout.strip()}\n{log.strip()}")


def is_as_wanted(service: str, wanted: str) -> bool:
    """Tell whether the service runs now and after a boot; or does neither, if it shall be ``stopped``; whatever it does if nothing is wanted."""
    if not wanted:
        return True
    found = unit_properties(service, "ActiveState", "UnitFileState")
    if wanted == "stopped":
        return not is_up_or_enabled(found)
    return found.get("ActiveState") == "active" and found.get("UnitFileState") == "enabled"


def is_gone_after(path: Path, changes: list[Change]) -> bool:
    """Tell whether a path is missing or an empty directory, or will be when the changes are made."""
    if any(change.path == path for change in changes) or path.is_file():
        return any(change.path == path and change.kind == "absent" for change in changes)
    return is_empty_after(path, changes)


def is_empty_after(directory: Path, changes: list[Change]) -> bool:
    """Tell whether a directory is empty, or will be when the changes are made."""
    found = {path.name for path in directory.glob("*")}
    here = [change for change in changes if change.path.parent == directory]
    gone = {change.path.name for change in here if change.kind in ("absent", "not empty")}
    return not (found | {change.path.name for change in here}) - gone


def put_on_the_host(work: Work, transaction: Transaction, pending: list[Change], recovered: bool, warnings: list[str]) -> dict[str, str]:
    """Write what is pending, test it, and have the services take it; returns what was done with each. What they warn of becomes ``warnings``.

    Raises ``TransactionError`` with the server's own message; files and services are as they were before then.
    """
    found = {service.name: work.wanted(service, pending, recovered) for service in work.services}
    wanted = {name: what for name, what in found.items() if what}
    without_unit = [service.name for service in work.services if unit_goes(service, pending) and wanted.get(service.name) == "stopped"]
    # what goes makes room for what comes, such as a port
    order = [name for name in wanted if name not in work.given] + [name for name in wanted if name in work.given]
    others = sorted(wanted.keys() - set(without_unit), key=lambda name: (wanted[name] != "stopped", order.index(name)))
    last_left = [name for name in others if name not in work.given][-1:]
    services = Services(wanted)

    def prepare() -> None:
        for name in without_unit:
            services.bring(name, "stopped")

    def accept() -> None:
        reload_units(pending)
        for service in work.services:
            if wanted.get(service.name) in ("reloaded", "restarted"):
                found = test(service)
                warnings.extend(found)
                find_ignored(found, pending)
                find_unread(service, work.changes if service.name in work.given else [])
        try:
            for name in others:
                services.bring(name, wanted[name])
                if name in last_left and services.changed:
                    time.sleep(LET_GO_SECONDS)
        except TransactionError:
            stop_again(services.before_changes())
            raise

    try:
        transaction.commit(pending, accept, prepare, services.before)
    except (TransactionError, OSError):
        reload_units(pending)
        start_again(services.before_changes())
        raise
    return services.changed


def converge(options: dict[str, Any], transaction: Transaction, check_mode: bool, result: dict[str, Any]) -> None:
    """Make files and services what they must be, and fill the module's result. Raises ``TransactionError``."""
    result["recovered"] = transaction.unfinished() is not None if check_mode else recover(transaction)
    # only now: what an owner has is noted on the host, and may have just been put back
    work = Work(options["owner"], transaction.changes, [Service(**given) for given in options["services"]])
    transaction.changes = work.changes
    pending = transaction.pending()
    shown = [change for change in pending if not ownership.is_original(change.path)]  # copies of files are our own business
    result["paths"] = [str(change.path) for change in shown]
    result["diff"] = [change.diff() for change in shown]
    other = any(not is_as_wanted(service.name, work.wanted(service, pending, False)) for service in work.services)
    result["changed"] = bool(pending or result["recovered"] or other)
    if result["changed"] and not check_mode:
        result["services"] = put_on_the_host(work, transaction, pending, result["recovered"], result["warnings"])


def answer(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Make files and services what they must be, and return the module's result."""
    result: dict[str, Any] = {"changed": False, "recovered": False, "services": {}, "paths": [], "warnings": []}
    try:
        secrets = json.loads(base64.b64decode(options["payload"]) or "{}")
        entries = [{**entry, "content": secrets.get(entry.get("dest"), entry.get("content"))} for entry in options["files"]]
        transaction = Transaction([Change.from_entry(entry) for entry in entries], JOURNAL)
        with contextlib.nullcontext() if check_mode else transaction.lock():
            converge(options, transaction, check_mode, result)
    except TransactionError as error:
        return {**result, "changed": False, "failed": True, "msg": f"Nothing was changed, because this was rejected: {error}"}
    return result
