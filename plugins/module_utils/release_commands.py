# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run commands in a release as its app would: migrations before it goes live, say, and announcements after."""

from __future__ import annotations

import shlex

from ansible_collections.flaskops.hosting.plugins.module_utils.command import PLAIN_PATH, run_as_account, tail
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import (
    Release,
    ReleaseError,
    hide_secrets,
    read_environment_file,
)

COMMAND_TIMEOUT = 900  # seconds for each command: a migration of a large table takes its time


def run_commands(release: Release, commands: list[str]) -> str:
    """Run commands one after the other in the release's code, as its account, with its venv and environment; returns what they wrote.

    Raises ``ReleaseError`` at the first that fails. A release that is not live is marked failed then, so that it never goes live.
    """
    written = ""
    for command in commands:
        code, output = _run(release, command)
        written += f"$ {command}\n{output.rstrip()}\n"
        if code != 0:
            ended = f"took longer than {COMMAND_TIMEOUT} s" if code is None else f"ended with code {code}"
            live = release.tree.live()
            is_live = live is not None and live.name == release.name
            reason, log = (hide_secrets(text, release.secrets()) for text in (f"the command {command!r} {ended}", tail(written)))
            if not is_live:
                release.mark_failed(reason, log)
            raise ReleaseError(f"{reason}; the release is live already, and stays" if is_live else reason, log)
    return hide_secrets(tail(written), release.secrets())


def _run(release: Release, command: str) -> tuple[int | None, str]:
    account = {"user": release.facts().user, "group": release.path.group()}
    variables = read_environment_file((release.path / "environment").read_bytes().decode())
    venv = release.path / ".venv"
    path = f"{venv}/bin:{variables.get('PATH', PLAIN_PATH)}"
    try:
        return run_as_account(
            account, shlex.split(command), release.path / "code", {**variables, "PATH": path, "VIRTUAL_ENV": str(venv)}, COMMAND_TIMEOUT
        )
    except OSError as error:  # there is no such program, or it must not be run
        return 127, f"{error.filename}: {error.strerror}"
