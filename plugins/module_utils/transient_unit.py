# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a command of an app, or for one, as a unit of systemd that exists while it runs: in a sandbox, and nothing of it is left afterwards."""

from __future__ import annotations

# pylint: disable=ansible-bad-function  # run_command is an AnsibleModule's, and none is at hand here
import functools
import os
import re
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.command import PLAIN_PATH, run, run_bounded
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release
from ansible_collections.flaskops.hosting.plugins.module_utils.release_variables import release_variables
from ansible_collections.flaskops.hosting.plugins.module_utils.sandbox import sandbox, sandbox_of_app

# systemd-run gives a signal no number, and a shell does
KEEP_CODE = '"$@"; exit $?'
# also before a PATH of the app's own environment; an interrupt is the command's alone
VENV_FIRST = 'PATH=$1:$PATH; shift; trap : INT; "$@"; exit $?'
ENDS_WITH_ITS_COMMAND = ["KillSignal=SIGKILL", "OOMPolicy=continue"]
PLAIN_ENVIRONMENT = [f"Environment=PATH={PLAIN_PATH}", "Environment=LANG=C.UTF-8", "Environment=HOME=/nonexistent"]


def run_in_unit(
    unit: str,
    words: list[str],
    lines: list[str],
    timeout: int,
    stdin: str = "",
    errors: int | None = None,
    secrets: Iterable[str] = (),
    script: str = KEEP_CODE,
) -> tuple[int | None, str]:
    """Run a command in a unit and return its exit code, ``None`` after ``timeout`` seconds, and its output.

    ``lines`` are those of the unit's section ``[Service]``, ``errors`` is a file descriptor for its standard error, which else is part of its
    output, and ``script`` what a shell makes of the words. A code above 128 is that of a signal. Of a long output, the end is kept, which
    begins with no half of a secret. An earlier run's unit of the same name, which nobody waits for any more, is ended first.
    """
    properties = [*PLAIN_ENVIRONMENT, *ENDS_WITH_ITS_COMMAND, f"RuntimeMaxSec={timeout + 10}", *lines]
    _end(unit)
    code, output = run_bounded(_start(unit, properties, script, words, "--pipe"), timeout, stdin, errors, secrets)
    if code is None:
        _end(unit)
    return code, output


def attach_unit(unit: str, words: list[str], lines: list[str], script: str) -> int:
    """Run a command in a unit with this process's own input and outputs, or with its terminal if it has one; return the exit code.

    It may take as long as it likes. It ends if this process is interrupted or asked to end, or loses its terminal.
    """
    terminal = [f"Environment=TERM={os.environ['TERM']}"] if "TERM" in os.environ else []
    properties = [*PLAIN_ENVIRONMENT, *terminal, *ENDS_WITH_ITS_COMMAND, *lines]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    plain = {"SYSTEMD_TINT_BACKGROUND": "0", "SYSTEMD_ADJUST_TERMINAL_TITLE": "0"}
    # with both, systemd-run takes a pipe unless all three are terminals
    started = subprocess.Popen(_start(unit, properties, script, words, "--pty", "--pipe"), env={**os.environ, **plain})
    try:
        return started.wait()
    finally:
        if started.returncode is None:
            _end(unit)


def _leave(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)


def _start(unit: str, properties: list[str], script: str, words: list[str], *streams: str) -> list[str]:
    start = ["systemd-run", "--quiet", *streams, "--wait", "--collect", "--service-type=exec", f"--unit={unit}"]
    command = ["/bin/sh", "-c", script, "sh", *words]
    if _systemd_leaves_variables():
        start.append("--expand-environment=no")
    else:
        # An older one fills in variables. Its reload of all units, in the moment between a unit's start and its command's, doubles what hides them.
        command = [word.replace("$", "$$") for word in command]
    return [*start, *(f"--property={line}" for line in properties), "--", *command]


@functools.cache
def _systemd_leaves_variables() -> bool:
    version = re.match(r"systemd (\d+)", run("systemd-run", "--version").stdout)
    return bool(version) and int(version[1]) >= 254  # type: ignore[index]


def as_app(release: Release, user: str, phase: str) -> list[str]:
    """The lines of a unit that runs something in a release as its app: with its account, its sandbox, its environment, in its code."""
    return [
        *sandbox_of_app(str(release.path), str(release.tree.root)),
        f"User={user}",
        f"Group={release.path.group()}",
        f"WorkingDirectory={release.path}/code",
        f"EnvironmentFile={release.path}/environment",
        *(f"Environment={name}={value}" for name, value in release_variables(release.tree.app, release.name, str(release.path), phase).items()),
    ]


def as_build(unit: str, root: Path, reads: Path, writes: Path, **changes: str | list[str]) -> list[str]:
    """The lines of a unit that builds for the app below ``root``: an account that exists meanwhile, which sees two of its directories alone.

    ``changes`` are those of its sandbox. It has a directory of its own in ``/run``, from which root learns the account's number.
    """
    own = {"UMask": "0022", "DynamicUser": "yes", "TemporaryFileSystem": f"{root}:ro"}
    paths = {"BindReadOnlyPaths": str(reads), "BindPaths": str(writes), "ReadWritePaths": str(writes)}
    return [
        *sandbox(**{**own, **paths, **changes}),
        f"RuntimeDirectory={unit}",
        "RuntimeDirectoryMode=0700",
        # the unit's own, and on the disk: /tmp may be in memory
        "Environment=TMPDIR=/var/tmp",
        # a build waits for the apps that serve meanwhile
        "Nice=10",
        "IOSchedulingClass=idle",
    ]


def give_to_root(top: Path) -> None:
    """Take a tree from a unit's account, which may exchange its paths for links meanwhile: from the top, by descriptors.

    Nobody else can write in it then; a package may bring files that everybody can write.
    """
    _take(os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))


def _take(directory: int) -> None:
    try:
        os.fchown(directory, 0, 0)
        os.fchmod(directory, os.fstat(directory).st_mode & 0o755)
        with os.scandir(directory) as listed:  # from here on the account changes no name in it
            entries = list(listed)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _take(os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory))
                continue
            os.chown(entry.name, 0, 0, dir_fd=directory, follow_symlinks=False)
            if not entry.is_symlink():
                os.chmod(entry.name, entry.stat(follow_symlinks=False).st_mode & 0o755, dir_fd=directory)
    finally:
        os.close(directory)


def ended(code: int | None) -> str:
    """What a command ended with, in words, by the code that ``run_in_unit`` returned."""
    return f"signal {code - 128}" if code is not None and 128 < code <= 128 + 64 else f"code {code}"


def _end(unit: str) -> None:
    run("systemctl", "stop", "--quiet", f"{unit}.service")
