# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of firewall: ufw, with a way back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run

# What ufw's state is made of, and where it is kept until a new connection has come through.
FILES = ("/etc/ufw/user.rules", "/etc/ufw/user6.rules", "/etc/ufw/ufw.conf", "/etc/default/ufw")
BEFORE = Path("/var/lib/flaskops/firewall")
GUARD = "flaskops-firewall"
GUARD_SECONDS = 60
# What a new connection does, so that the change is not taken back.
KEEP = f"systemctl stop --quiet {GUARD}.timer"
# Disabled, ufw removes its rules from the kernel; enabled, if it was before, it loads those that are back.
TAKE_BACK = (
    f"ufw disable; cp --archive --parents --target-directory=/ {' '.join(name.lstrip('/') for name in FILES)}; "
    "! grep --quiet ^ENABLED=yes /etc/ufw/ufw.conf || ufw --force enable"
)
ARGUMENTS: dict[str, Any] = {
    "allow": {"type": "dict", "default": {}},
    "close": {"type": "list", "elements": "int", "default": []},
    "enabled": {"type": "bool", "default": False},
    "shuts": {"type": "list", "elements": "dict", "default": []},
}


def commands(options: dict[str, Any]) -> list[list[str]]:
    """The calls of ufw, in an order that keeps what is allowed open: the firewall is turned on last."""
    allow = [["allow", f"{port}/tcp", "comment", comment] for comment, ports in options["allow"].items() for port in ports]
    close = [["delete", "allow", f"{port}/tcp"] for port in options["close"]]
    enable = [["default", "deny", "incoming"], ["--force", "enable"]] if options["enabled"] else []
    return [["ufw", *words] for words in (*allow, *close, *enable)]


def shown(options: dict[str, Any]) -> dict[str, str]:
    """What changes, as a diff."""
    allow = [f"allow {port}/tcp, {comment}\n" for comment, ports in options["allow"].items() for port in ports]
    rest = ["reject all others\n"] if options["enabled"] else []
    return {"before": "".join(f"allow {port}/tcp\n" for port in options["close"]), "after": "".join(allow + rest)}


def keep_what_is() -> None:
    """Keep ufw's state, and start what takes it back after ``GUARD_SECONDS``."""
    shutil.rmtree(BEFORE, ignore_errors=True)
    BEFORE.mkdir(mode=0o700, parents=True)
    run("cp", "--archive", "--parents", f"--target-directory={BEFORE}", *FILES)
    run(*KEEP.split())
    timer = [f"--on-active={GUARD_SECONDS}", "--timer-property=AccuracySec=1", f"--property=WorkingDirectory={BEFORE}"]
    run("systemd-run", "--quiet", f"--unit={GUARD}", *timer, "/bin/sh", "-c", TAKE_BACK)


def answer(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Change the firewall, and return the module's result."""
    calls = commands(options)
    result = {"changed": bool(calls), "diff": shown(options), "guarded": False}
    if check_mode or not calls:
        return result
    if options["enabled"]:
        keep_what_is()
    for words in calls:
        done = run(*words)
        if done.returncode:
            return {**result, "failed": True, "msg": f"{' '.join(words)}: {done.stdout.strip()}"}
    return {**result, "guarded": options["enabled"]}
