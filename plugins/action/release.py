# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of release: fetch and pack the code, render the settings, keep secrets out of sight."""

from __future__ import annotations

import base64
import getpass
import io
import json
import os
import socket
import tempfile
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import hide_credentials
from ansible_collections.flaskops.hosting.plugins.plugin_utils.config_texts import with_texts
from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_action import HostAction
from ansible_collections.flaskops.hosting.plugins.plugin_utils.printable import printable
from ansible_collections.flaskops.hosting.plugins.plugin_utils.rendering import render_entries
from ansible_collections.flaskops.hosting.plugins.plugin_utils.requirements import AUTO, read_requirements
from ansible_collections.flaskops.hosting.plugins.plugin_utils.sign_of_life import sign_of_life
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import Source, build_name, open_source
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits import SourceError

TRAVELS_WITH_TASK = 512 * 1024  # bytes; larger code goes over as a file, and only to hosts that have it not yet
NOTES_SHOWN = 10  # of those on what is not shipped
LONGEST_BY = 100  # characters
PRIVATE_OPTIONS = ("environment", "secrets", "settings", "configuration")
UNDER_WAY = {
    "staged": "staging the release (code, virtual environment, pre-flight)",
    "workers_ending": "telling the workers to end",
    "live": "making the release live (start, health, switch, last requests of the old one)",
    "rolled_back": "going back (start, health, switch, last requests of the newer one)",
    "run": "running the app's commands",
    "restarted": "restarting the app (pre-flight, last requests of the old processes, health)",
    "absent": "removing the app",
}
RELEASE_TOKENS = {"release_path": "@RELEASE_PATH@", "release_name": "@RELEASE@"}


class ActionModule(HostAction):
    """Hand everything over in one round trip; two more if the code is large and new to the host."""

    TRANSFERS_FILES = False  # it makes its remote directory itself, only if it needs one

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result. Raises ``AnsibleActionFail`` for a source or variables that cannot be used."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        options = {name: value for name, value in self._task.args.items() if name not in PRIVATE_OPTIONS}
        options["by"] = user_at_machine()
        if options.get("state") not in ("staged", "live") or "source" not in options or options.get("release"):
            return self._call(options, task_vars)
        try:
            with open_source(str(options["source"]), str(options.get("version") or "HEAD"), options.pop("exclude", None) or []) as source:
                return self._stage(source, options, task_vars)
        except SourceError as error:
            raise AnsibleActionFail(printable(str(error))) from error

    def _stage(self, source: Source, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        options = {**options, "source": hide_credentials(str(options["source"]))}  # the host logs its options
        payload = self._payload(source, options, task_vars)
        self._warn(source.notes)
        payload["archive"] = _packed_if_small(source)
        result = self._call({**options, "payload": _encode(payload)}, task_vars)
        if not result.get("archive_needed"):
            return result
        try:
            return self._call({**options, "payload": _encode(payload), "archive": self._send(source)}, task_vars)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _warn(self, notes: list[str]) -> None:
        more = [f"and {len(notes) - NOTES_SHOWN} more such notes"] if len(notes) > NOTES_SHOWN else []
        for note in [*notes[:NOTES_SHOWN], *more]:
            self._display.warning(printable(f"flask_app_source: {note}"))

    def _payload(self, source: Source, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        manifest = source.manifest()
        build = build_name(manifest)
        requirements = read_requirements(source.directory, str(options.get("requirements", AUTO)), build)
        source.require(requirements.files)
        given = self._task.args
        environment = {name: str(value) for name, value in (given.get("environment") or {}).items()}
        return {
            "build": build,
            "version": source.version,
            "manifest": manifest,
            "requirements": requirements.to_json(),
            "settings": render_entries(self, given.get("settings") or [], task_vars, **RELEASE_TOKENS),
            "environment": environment if requirements.builds else _with_src(source, str(options.get("module")), environment),
            "secrets": dict(given.get("secrets") or {}),
            "configuration": self._configuration(given.get("configuration") or {}, task_vars),
        }

    def _configuration(self, given: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        return {**given, "files": with_texts(self, given["files"], task_vars)} if given else {}

    def _call(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        host, state = task_vars.get("inventory_hostname"), str(options.get("state"))
        states = ["staged", "live"] if state == "live" and not options.get("release") else [state]
        under_way = ", then ".join(UNDER_WAY.get(one, one) for one in states)
        with sign_of_life(self._display.display, f"{host}: {options.get('app')}: {under_way}"):
            return self.ask_host("release", options, task_vars)

    def _send(self, source: Source) -> str:
        remote = self._connection._shell.join_path(self._make_tmp_path(), "source.tar.gz")
        with tempfile.NamedTemporaryFile() as local:
            source.pack(local)
            local.flush()
            self._transfer_file(local.name, remote)
        self._fixup_perms2((os.path.dirname(remote), remote))
        return remote


def _packed_if_small(source: Source) -> str | None:
    """The code in a form that travels with the task; ``None`` if it is large, and is packed only for a host that asks for it."""
    packed = io.BytesIO()
    if source.is_small:
        source.pack(packed)
    return base64.b64encode(packed.getvalue()).decode() if 0 < packed.tell() <= TRAVELS_WITH_TASK else None


def user_at_machine() -> str:
    """Who runs Ansible, and where: as much of it as can be shown."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # nobody has this number
        user = str(os.getuid())
    return "".join(one for one in f"{user}@{socket.gethostname()}" if one.isprintable())[:LONGEST_BY]


def _encode(payload: dict[str, Any]) -> str:
    # base64, so that Ansible's masking of hidden values meets one long string and not each short secret in it
    return base64.b64encode(json.dumps(payload).encode()).decode()


def _with_src(source: Source, module: str, environment: dict[str, str]) -> dict[str, str]:
    """The environment with the source's ``src/`` on Python's path, if the app's module is in there alone and is not installed."""
    first = module.partition(":")[0].partition(".")[0]
    inside = [top for top in ("", "src") if any((source.directory / top / name).exists() for name in (first, f"{first}.py"))]
    if inside != ["src"]:
        return environment
    return {**environment, "PYTHONPATH": ":".join(["@RELEASE_PATH@/code/src", *filter(None, [environment.get("PYTHONPATH", "")])])}
