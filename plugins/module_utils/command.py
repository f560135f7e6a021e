# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands of the host, run without a shell."""

from __future__ import annotations

# pylint: disable=ansible-bad-function  # run_command is an AnsibleModule's, and none is at hand here
import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO

LOG_LINES = 30
OUTPUT_KEPT = 64 * 1024  # bytes of the end of what a command writes; a log never shows more
CUT = f"(more than {OUTPUT_KEPT // 1024} KiB of output; this is its end)"
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\udc80-\udcff]")  # all but the tab and the end of a line; and bytes that are no text
REMOVAL_TRIES = 5
MEBIBYTE = 1024 * 1024
PLAIN_PATH = "/usr/local/bin:/usr/bin:/bin"
ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def settle() -> None:
    """Make this process as root's is on every host, however it became root: ``su`` and ``doas`` keep the user's PATH, umask and language."""
    os.environ.update(PATH=ROOT_PATH, LC_ALL="C.UTF-8")
    os.umask(0o022)


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


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it. An account may have nested directories as deep as it likes, and still change them.

    Raises ``OSError`` if it is still there after some tries.
    """
    said = ""
    for _try in range(REMOVAL_TRIES):
        if not os.path.lexists(path):
            return
        said = run("rm", "--recursive", "--force", "--one-file-system", "--", str(path)).stdout
    if os.path.lexists(path):
        raise OSError(f"{path} cannot be removed: {tail(said)}")


def has_files(directory: Path) -> bool:
    """Return whether anything but directories is in a directory, however deep."""
    return bool(run("find", str(directory), "!", "-type", "d", "-print", "-quit").stdout)


def unit_properties(unit: str, *names: str) -> dict[str, str]:
    """Ask systemd for properties of a unit, such as ``ActiveState``; ``{}`` if systemd does not know."""
    shown = run("systemctl", "show", unit, *[f"--property={name}" for name in names])
    return dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)


def run_bounded(words: list[str], timeout: int, stdin: str = "", errors: int | None = None, secrets: Iterable[str] = ()) -> tuple[int | None, str]:
    """Run a command and return its exit code, ``None`` after ``timeout`` seconds, and its output, of which the end is kept.

    ``errors`` is a file descriptor for its standard error, which else is part of the output. No half of one of the ``secrets`` is at the cut.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as given:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            words, start_new_session=True, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT if errors is None else errors
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
        if len(kept) < OUTPUT_KEPT:
            return code, kept.decode(errors="replace")
        return code, f"{CUT}\n{_without_fragment(bytes(kept), secrets).decode(errors='replace')}"


def _without_fragment(output: bytes, secrets: Iterable[str]) -> bytes:
    """Remove the end of a secret at the cut: it is known in what people read only as a whole."""
    values = [value.encode() for value in secrets]
    return output[max((length for value in values for length in range(len(value)) if length and output.startswith(value[-length:])), default=0) :]


def _keep_end(output: IO[bytes], kept: bytearray) -> None:
    """Read an output to its end, and keep its last bytes only."""
    while piece := output.read1(OUTPUT_KEPT):  # type: ignore[attr-defined]
        kept += piece
        del kept[:-OUTPUT_KEPT]


def tail(text: str, most: int = LOG_LINES) -> str:
    """The last lines of a log, and whether something before them was cut off."""
    lines = text.strip().splitlines()
    cut = [CUT] if CUT in lines[:-most] else []
    return "\n".join([*cut, *lines[-most:]])


def without_controls(text: str) -> str:
    r"""A text that a terminal only shows: each control character is written as ``\x1b``."""
    return CONTROLS.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)


def write_to_disk(path: Path) -> None:
    """Have the kernel write what it still holds in memory: what a mark calls complete must be so after a power cut too."""
    run("sync", "--file-system", str(path))
