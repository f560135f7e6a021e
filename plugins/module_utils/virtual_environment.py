# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build the virtual environment that all releases with the same requirements share."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import hashlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.command import MEBIBYTE, run, run_as_account, tail, write_to_disk
from ansible_collections.flaskops.hosting.plugins.module_utils.index_logins import without_logins
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import ReleaseError, open_lock

BLANKS = Path("/var/cache/flaskops/venvs")
COMPLETE_MARK = "complete"
GENTLY = ("nice", "-n", "10", "ionice", "-c", "3")  # a build waits for the apps that serve meanwhile
BUILD_TIMEOUT = 900  # seconds for pip; compiling uWSGI on a small host takes minutes
LITTLE_SPACE = 64  # MiB; a venv with a framework and a server takes about as many


def is_built(venv: Path) -> bool:
    """Return whether this venv was built to its end."""
    return (venv / COMPLETE_MARK).exists()


def build(options: dict[str, Any], venv: Path, source: Path) -> None:
    """Make a venv with what ``options`` and the requirements in ``source`` ask for; built as the app's account, then root's.

    Raises ``ReleaseError``, and leaves nothing behind then.
    """
    if venv.exists():
        shutil.rmtree(venv)
    try:
        _install(options, venv, source)
    except ReleaseError:
        shutil.rmtree(venv, ignore_errors=True)
        raise
    write_to_disk(venv)
    (venv / COMPLETE_MARK).touch()


def _install(options: dict[str, Any], venv: Path, source: Path) -> None:
    uid, gid = pwd.getpwnam(options["user"]).pw_uid, grp.getgrnam(options["group"]).gr_gid
    venv.mkdir(mode=0o755)
    os.chown(venv, uid, gid)
    wanted = list(options["server_requirements"])
    with tempfile.TemporaryDirectory(prefix="flaskops-build-") as home:
        if options["requirements"]:
            wanted = ["--requirement", without_logins(source, options["requirements"], Path(home), uid), *wanted]
        os.chown(home, uid, gid)
        environment = {"HOME": home, "TMPDIR": home, "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

        def run_in_build(*words: str) -> None:
            code, output = run_as_account(options, [*GENTLY, *words], source, environment, BUILD_TIMEOUT)
            if code != 0:
                raise _failure(venv, code, output)

        run_in_build(options["python"], "-m", "venv", "--without-pip", str(venv))
        with _blank(options["python"]) as blank:
            run_in_build("cp", "--archive", str(blank / "lib"), str(venv))
        if wanted:
            run_in_build(str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--no-cache-dir", *wanted)
    give_to_root(venv)


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
            made = run(*GENTLY, python, "-m", "venv", "--clear", str(blank), timeout=BUILD_TIMEOUT)
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
