# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build the virtual environment that all releases with the same requirements share."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.command import MEBIBYTE, remove_tree, run, tail, write_to_disk
from ansible_collections.flaskops.hosting.plugins.module_utils.index_logins import without_logins
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import ReleaseError, open_lock
from ansible_collections.flaskops.hosting.plugins.module_utils.sandbox import sandbox
from ansible_collections.flaskops.hosting.plugins.module_utils.transient_unit import run_in_unit

BLANKS = Path("/var/cache/flaskops/venvs")
COMPLETE_MARK = "complete"
# What a shell makes of a Python, the venv's path, the directory with pip, and what pip is to install, if anything.
BUILD = """
python=$1 venv=$2 pip=$3
shift 3
"$python" -m venv --without-pip "$venv" && cp --archive "$pip" "$venv" || exit
[ $# = 0 ] || "$venv/bin/python" -m pip install --quiet --no-cache-dir "$@"
exit $?
"""
BUILD_TIMEOUT = 900  # seconds for pip; compiling uWSGI on a small host takes minutes
LITTLE_SPACE = 64  # MiB; a venv with a framework and a server takes about as many


def is_built(venv: Path) -> bool:
    """Return whether this venv was built to its end."""
    return (venv / COMPLETE_MARK).exists()


def build(options: dict[str, Any], venv: Path, source: Path) -> None:
    """Make a venv with what ``options`` and the requirements in ``source`` ask for; built by an account of the build's own, then root's.

    Raises ``ReleaseError``, and leaves nothing behind then.
    """
    remove_tree(venv)
    try:
        _install(options, venv, source)
    except ReleaseError:
        remove_tree(venv)
        raise
    write_to_disk(venv)
    (venv / COMPLETE_MARK).touch()


def _install(options: dict[str, Any], venv: Path, source: Path) -> None:
    venv.mkdir(mode=0o755)
    wanted = list(options["server_requirements"])
    unit = f"flaskops-{options['app']}-build"
    with _blank(options["python"]) as blank, tempfile.TemporaryDirectory(prefix="flaskops-build-") as files:
        if options["requirements"]:
            wanted = ["--requirement", without_logins(source, options["requirements"], Path(f"/run/{unit}"), Path(files)), *wanted]
        words = [options["python"], str(venv), str(blank / "lib"), *wanted]
        lines = _lines(unit, options["group"], venv, source, files)
        code, output = run_in_unit(unit, words, lines, BUILD_TIMEOUT, script=BUILD)
    give_to_root(venv)
    if code != 0:
        raise _failure(venv, code, output)


def _lines(unit: str, group: str, venv: Path, source: Path, files: str) -> list[str]:
    """The lines of the unit that builds: an account that exists while the unit runs, and sees nothing of the app but its code.

    Its home is a directory that systemd gives it, with a copy of the ``files``.
    """
    root, home = venv.parent.parent, f"/run/{unit}"
    return [
        *sandbox(
            UMask="0022",
            DynamicUser="yes",
            SupplementaryGroups=group,  # which may read the code
            TemporaryFileSystem=f"{root}:ro",
            BindReadOnlyPaths=str(source),
            BindPaths=str(venv),
            ReadWritePaths=str(venv),
        ),
        f"RuntimeDirectory={unit}",
        "RuntimeDirectoryMode=0700",
        # root learns the account's number from its home
        f"ExecStartPre=+/bin/cp --recursive --no-target-directory {files} {home}",
        f"ExecStartPre=+/bin/chown --recursive --reference={home} {home} {venv}",
        f"WorkingDirectory={source}",
        f"Environment=HOME={home}",
        # the unit's own, and on the disk: /tmp may be in memory
        "Environment=TMPDIR=/var/tmp",
        "Environment=PIP_NO_INPUT=1",
        "Environment=PIP_DISABLE_PIP_VERSION_CHECK=1",
        # a build waits for the apps that serve meanwhile
        "Nice=10",
        "IOSchedulingClass=idle",
    ]


def give_to_root(top: Path) -> None:
    """Take a tree from the account that made it, which may exchange its paths for links meanwhile: from the top, by descriptors.

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


@contextlib.contextmanager
def _blank(python: str) -> Iterator[Path]:
    """A venv that holds pip and nothing else, kept for all apps of the host: pip takes seconds to install, and next to none to copy.

    It is made anew when the Python gets another version. Nobody else makes it while it is used. Raises ``ReleaseError``.
    """
    blank = BLANKS / hashlib.sha256(python.encode()).hexdigest()[:16]
    blank.mkdir(mode=0o755, parents=True, exist_ok=True)
    with open_lock(f".venv-{blank.name}") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        mark, version = blank / COMPLETE_MARK, run(python, "-c", "import sys; print(sys.version)").stdout
        if not mark.exists() or mark.read_text(encoding="utf-8") != version:
            made = run("nice", python, "-m", "venv", "--clear", str(blank), timeout=BUILD_TIMEOUT)
            if made.returncode:
                raise _failure(blank, made.returncode, made.stdout)
            write_to_disk(blank)
            mark.write_text(version, encoding="utf-8")
        yield blank


def _failure(venv: Path, code: int | None, output: str) -> ReleaseError:
    errors = [line for line in output.splitlines() if line.lower().startswith("error:")]
    reason = "took too long" if code is None else (errors or ["see the log"])[-1]
    free = shutil.disk_usage(venv).free // MEBIBYTE
    if free < LITTLE_SPACE:  # neither pip nor venv says so by itself in every case
        reason += f" ({free} MiB are free at {venv.parent})"
    return ReleaseError(f"the venv cannot be built: {reason}", tail(output))
