# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pre-flight: import a release's app, and ask it for its health path, before it gets any traffic."""

from __future__ import annotations

import inspect
import json
import os
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils import probe
from ansible_collections.flaskops.hosting.plugins.module_utils.command import MEBIBYTE, PLAIN_PATH, tail
from ansible_collections.flaskops.hosting.plugins.module_utils.record import ReleaseFacts
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, read_environment_file
from ansible_collections.flaskops.hosting.plugins.module_utils.release_variables import PREFLIGHT
from ansible_collections.flaskops.hosting.plugins.module_utils.transient_unit import as_app, ended, run_in_unit


def import_app(release: Release, facts: ReleaseFacts) -> None:
    """Import the app in its venv, as its account, with its environment, in its sandbox. Raises ``ReleaseError`` with the app's own last lines."""
    _judge(release, facts, "")


def ask_app(release: Release, facts: ReleaseFacts) -> None:
    """Import the app like ``import_app``, and ask it for its health path. Raises ``ReleaseError``."""
    _judge(release, facts, facts.health_path)


def last_verdict(reported: str) -> dict[str, Any]:
    """What the pre-flight reported last; nothing if that is not of its form, because the app may write there too."""
    try:
        verdict = json.loads(reported.splitlines()[-1])
    except (ValueError, IndexError):
        return {}
    whole = isinstance(verdict, dict) and (verdict.get("settling") or {"ok", "reason", "log"} <= verdict.keys())
    return {**verdict, **{name: str(verdict[name]) for name in ("reason", "log") if name in verdict}} if whole else {}


def _judge(release: Release, facts: ReleaseFacts, path: str) -> None:
    timeout = int(facts.health_timeout) + probe.SETTLING
    code, output, reported = _run_probe(release, facts, path, timeout)
    verdict = last_verdict(reported)
    if code is None:
        what = f"did not answer {path}" if path else "was not imported"
        raise ReleaseError(f"{facts.module} {what} in {timeout} s", tail(output))
    if verdict.get("settling"):
        what = f"answered {path}" if path else "was imported"
        raise ReleaseError(f"the app {what} and then ended its process ({ended(code)}) by itself", tail(output))
    if not verdict:
        raise ReleaseError(f"importing {facts.module.partition(':')[0]} ended the process ({ended(code)})", tail(output + reported))
    if not verdict["ok"]:
        raise ReleaseError(verdict["reason"], tail(output + verdict["log"]))


def _run_probe(release: Release, facts: ReleaseFacts, path: str, timeout: int) -> tuple[int | None, str, str]:
    """Run the pre-flight; returns its exit code, ``None`` after ``timeout`` seconds, what the app wrote, and what the pre-flight reported."""
    module, _colon, name = facts.module.partition(":")
    words = [f"{release.path}/.venv/bin/python", "-", module, name, facts.mount, path, facts.health_host]
    lines = [
        *as_app(release, facts.user, PREFLIGHT),
        f"Environment=PATH={release.path}/.venv/bin:{PLAIN_PATH}",
        *([f"LimitDATA={facts.memory_max * MEBIBYTE}"] if facts.memory_max else []),
    ]
    secrets = read_environment_file((release.path / "environment").read_bytes().decode()).values()
    reported_from, reported_to = os.pipe()
    try:
        code, output = run_in_unit(f"flaskops-{release.tree.app}-preflight", words, lines, timeout, inspect.getsource(probe), reported_to, secrets)
        return code, output, _content_of_pipe(reported_from)
    finally:
        os.close(reported_to)
        os.close(reported_from)


def _content_of_pipe(pipe: int) -> str:
    """What a pipe contains now, whoever else may still hold its other end; a pipe takes 64 KiB."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 64 * 1024).decode(errors="replace")
    except BlockingIOError:
        return ""
