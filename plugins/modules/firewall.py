#!/usr/bin/python
# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Allow ports through the host's firewall, and reject all others, without locking anybody out."""

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall
short_description: Allow ports through the host's firewall, and reject all others
version_added: 0.2.0
description:
  - Sets up C(ufw) so that it allows the given TCP ports from everywhere, for IPv4 and IPv6, and rejects all others that come in.
  - Where this turns the firewall on, a new connection to the host must come through afterwards. If that does not succeed within 60
    seconds, the host itself takes back all that was changed, also if nobody reaches it any more.
author: flaskops contributors (@flaskops)
options:
  allow:
    description: Lists of the ports to allow, by what their rules' comment says of them, such as C(SSH).
    type: dict
    default: {}
  close:
    description: The ports that are no longer allowed.
    type: list
    elements: int
    default: []
  enabled:
    description: Whether all other ports are to be rejected, which turns the firewall on. If it is left out, what is set stays.
    type: bool
    default: false
  shuts:
    description: What listens on ports that will be rejected, as C(port) and C(process). The module warns of these before and after.
    type: list
    elements: dict
    default: []
requirements:
  - root on the host, C(ufw) and systemd.
attributes:
  check_mode:
    support: full
    description: Shows the rules, and changes nothing. C(ufw) need not be installed.
  diff_mode:
    support: full
    description: Shows the rules that are added and removed.
"""

EXAMPLES = r"""
- name: Allow SSH and HTTP, and reject all others
  flaskops.hosting.firewall:
    allow: {SSH: [22], flaskops: [80]}
    enabled: true
"""

RETURN = r"""
guarded:
  description: Whether the host takes the change back, unless a new connection keeps it.
  returned: always
  type: bool
  sample: false
"""

import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, settle

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


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "allow": {"type": "dict", "default": {}},
            "close": {"type": "list", "elements": "int", "default": []},
            "enabled": {"type": "bool", "default": False},
            "shuts": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    settle()
    options: dict[str, Any] = module.params
    calls = commands(options)
    result = {"changed": bool(calls), "diff": shown(options), "guarded": False}
    if module.check_mode or not calls:
        module.exit_json(**result)
    if options["enabled"]:
        keep_what_is()
    for words in calls:
        done = run(*words)
        if done.returncode:
            module.fail_json(msg=f"{' '.join(words)}: {done.stdout.strip()}", **result)
    module.exit_json(**{**result, "guarded": options["enabled"]})


if __name__ == "__main__":
    main()
