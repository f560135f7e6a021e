# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run the commands that complete a release's code, as an account that exists only meanwhile; what it made becomes root's."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.module_utils.command import tail
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, environment_file
from ansible_collections.flaskops.hosting.plugins.module_utils.release_variables import BUILD, release_variables
from ansible_collections.flaskops.hosting.plugins.module_utils.transient_unit import VENV_FIRST, as_build, ended, give_to_root, run_in_unit

COMMAND_TIMEOUT = 900  # seconds for each command
HOME = "/var/tmp/home"  # the unit's own, and on the disk: builders keep caches of hundreds of megabytes there


def run_build_commands(release: Release, commands: list[str], environment: dict[str, str]) -> None:
    """Run commands one after the other in the release's code, which they may change. Raises ``ReleaseError`` at the first that fails."""
    written = ""
    for command in commands:
        code, output = _run(release, command, environment)
        written += f"$ {command}\n{output.rstrip()}\n"
        if code != 0:
            how = f"took longer than {COMMAND_TIMEOUT} s" if code is None else f"ended with {ended(code)}"
            raise ReleaseError(f"the build's command {command!r} {how}", tail(written))


def _run(release: Release, command: str, environment: dict[str, str]) -> tuple[int | None, str]:
    unit, code, venv = f"flaskops-{release.tree.app}-build", release.path / "code", (release.path / ".venv").resolve()
    with tempfile.TemporaryDirectory(prefix="flaskops-build-") as directory:
        variables = Path(directory) / "environment"
        variables.write_text(
            environment_file({**environment, **release_variables(release.tree.app, release.name, str(release.path), BUILD)}), encoding="utf-8"
        )
        lines = [
            *as_build(unit, release.tree.root, reads=venv, writes=code),
            f"ExecStartPre=+/bin/chown --recursive --no-dereference --reference=/run/{unit} {code}",
            f"ExecStartPre=/bin/mkdir {HOME}",
            f"WorkingDirectory={code}",
            f"EnvironmentFile={variables}",
            f"Environment=HOME={HOME}",
            f"Environment=VIRTUAL_ENV={venv}",
        ]
        found = run_in_unit(unit, [f"{venv}/bin", *shlex.split(command)], lines, COMMAND_TIMEOUT, script=VENV_FIRST)
    give_to_root(code)
    return found
