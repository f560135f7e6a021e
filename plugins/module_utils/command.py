# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands of the host, run without a shell: as root, or as an app's account."""

from __future__ import annotations

# pylint: disable=ansible-bad-function  # run_command is an AnsibleModule's, and none is at hand here
import contextlib
import grp
import os
import pwd
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

LOG_LINES = 30
OUTPUT_KEPT = 64 * 1024  # bytes of the end of what a command writes; a log never shows more
MEBIBYTE = 1024 * 1024
PLAIN_PATH = "/usr/local/bin:/usr/bin:/bin"


def run(*words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return it with both outputs in ``stdout``; ``timeout`` is in seconds.

    Raises ``subprocess.TimeoutExpired``. A command that is not installed comes back with return code 127.
    """
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 127, stdout=f"{words[0]}: not installed")


def unit_properties(unit: str, *names: str) -> dict[str, str]:
    """Ask systemd for properties of a unit, such as ``ActiveState``; ``{}`` if systemd does not know."""
    shown = run("systemctl", "show", unit, *[f"--property={name}" for name in names])
    return dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)


def run_as_account(
    options: dict[str, Any],
    words: list[str],
    directory: Path,
    environment: dict[str, str],
    timeout: int,
    stdin: str = "",
    keep_open: int | None = None,
) -> tuple[int | None, str]:
    """Run a command as the app's account and return its exit code, ``None`` after ``timeout`` seconds, and its output.

    What it has left running in the background ends with it. Of a long output, the end is kept.
    """
    account = {"user": pwd.getpwnam(options["user"]).pw_uid, "group": grp.getgrnam(options["group"]).gr_gid, "extra_groups": []}
    return run_bounded(words, timeout, stdin, cwd=directory, env=environment, pass_fds=[keep_open] if keep_open else [], **account)


def run_bounded(words: list[str], timeout: int, stdin: str = "", *, env: dict[str, str], **how: Any) -> tuple[int | None, str]:
    """Do what ``run_as_account`` does, as any account: ``how`` are options of ``subprocess.Popen``."""
    plain = {"PATH": PLAIN_PATH, "LANG": "C.UTF-8", "HOME": "/nonexistent"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as given:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            words,
            env={**plain, **env},
            umask=0o022,
            start_new_session=True,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **how,
        )
        kept = bytearray()
        reader = threading.Thread(target=_keep_end, args=[process.stdout, kept], daemon=True)
        reader.start()
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the whole session that was started above
        process.wait()
        reader.join(1)  # a process that left the session may hold the other end for ever
        output = bytes(kept)
        return code, (output if len(output) < OUTPUT_KEPT else _without_fragment(output, env)).decode(errors="replace")


def _without_fragment(output: bytes, env: dict[str, str]) -> bytes:
    """Remove the end of a variable's value at the cut: a secret is known in what people read only as a whole."""
    values = [value.encode() for value in env.values()]
    return output[max((length for value in values for length in range(len(value)) if length and output.startswith(value[-length:])), default=0) :]


def _keep_end(output: IO[bytes], kept: bytearray) -> None:
    """Read an output to its end, and keep its last bytes only."""
    while piece := output.read1(OUTPUT_KEPT):  # type: ignore[attr-defined]
        kept += piece
        del kept[:-OUTPUT_KEPT]


def tail(text: str) -> str:
    """The last lines of a log."""
    return "\n".join(text.strip().splitlines()[-LOG_LINES:])


def write_to_disk(path: Path) -> None:
    """Have the kernel write what it still holds in memory: what a mark calls complete must be so after a power cut too."""
    run("sync", "--file-system", str(path))
