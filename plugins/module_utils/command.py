# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands of the host, run without a shell."""

from __future__ import annotations

# pylint: disable=ansible-bad-function  # run_command is an AnsibleModule's, and none is at hand here

import subprocess


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
    """Ask systemd for properties of a unit, such as ``ActiveState``; ``{}`` where systemd cannot tell."""
    shown = run("systemctl", "show", unit, *[f"--property={name}" for name in names])
    return dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
