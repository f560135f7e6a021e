# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run commands in a release as its app would: migrations before it goes live, say, and announcements after."""

from __future__ import annotations

import os
import shlex

from ansible_collections.flaskops.hosting.plugins.module_utils.command import LOG_LINES, tail
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, hide_secrets
from ansible_collections.flaskops.hosting.plugins.module_utils.release_variables import COMMAND
from ansible_collections.flaskops.hosting.plugins.module_utils.transient_unit import VENV_FIRST, as_app, attach_unit, ended, run_in_unit

CHECK_TIMEOUT = 60  # seconds
COMMAND_TIMEOUT = 900  # seconds for each command: a migration of a large table takes its time


def run_commands(release: Release, commands: list[str], lines: int = LOG_LINES) -> str:
    """Run commands one after the other in the release's code, as its account, with its venv and environment; returns the last lines they wrote.

    Raises ``ReleaseError`` at the first that fails. A release that is not live is marked failed then, so that it never goes live.
    """
    written = ""
    for command in commands:
        code, output = _run(release, command)
        written += f"$ {command}\n{output.rstrip()}\n"
        if code != 0:
            how = f"took longer than {COMMAND_TIMEOUT} s" if code is None else f"ended with {ended(code)}"
            live = release.tree.live()
            is_live = live is not None and live.name == release.name
            reason, log = (hide_secrets(text, release.secrets()) for text in (f"the command {command!r} {how}", tail(written, lines)))
            if not is_live:
                release.mark_failed(reason, log)
            raise ReleaseError(f"{reason}; the release is live already, and stays" if is_live else reason, log)
    return hide_secrets(tail(written, lines), release.secrets())


def check(release: Release, command: str) -> None:
    """Run a command that says whether a release's workers can do their work. Raises ``ReleaseError`` if it says no."""
    code, output = _run(release, command, CHECK_TIMEOUT)
    if code != 0:
        how = f"took longer than {CHECK_TIMEOUT} s" if code is None else f"ended with {ended(code)}"
        raise ReleaseError(*(hide_secrets(text, release.secrets()) for text in (f"the check {command!r} of a worker {how}", tail(output))))


def attach(release: Release, words: list[str]) -> int:
    """Run a command in a release as ``run_commands`` does, with this process's own terminal or streams, and return its exit code.

    Nobody stands between it and whoever called it, so nothing of what it writes is hidden.
    """
    return attach_unit(f"flaskops-{release.tree.app}-console-{os.getpid()}", *_in_venv(release, words), VENV_FIRST)


def _run(release: Release, command: str, timeout: int = COMMAND_TIMEOUT) -> tuple[int | None, str]:
    words, lines = _in_venv(release, shlex.split(command))
    unit = f"flaskops-{release.tree.app}-command"
    return run_in_unit(unit, words, lines, timeout, secrets=release.secrets().values(), script=VENV_FIRST)


def _in_venv(release: Release, words: list[str]) -> tuple[list[str], list[str]]:
    """What ``VENV_FIRST`` takes to run a command of a release, and the lines of its unit."""
    venv = f"{release.path}/.venv"
    return [f"{venv}/bin", *words], [*as_app(release, release.facts().user, COMMAND), f"Environment=VIRTUAL_ENV={venv}"]
