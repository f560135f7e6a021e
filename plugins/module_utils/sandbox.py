# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sandbox of every systemd unit that this collection makes, and what it takes from the units of the distribution's servers."""

from __future__ import annotations

# What a unit may do: read the system, use the network, and write where its own lines say. A test looks at the score of `systemd-analyze security`.
SANDBOX: dict[str, str | list[str]] = {
    "UMask": "0027",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "RemoveIPC": "yes",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "KeyringMode": "private",
    "DevicePolicy": "closed",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": ["@system-service", "~@privileged @resources"],
    # a forbidden call fails, and kills nothing
    "SystemCallErrorNumber": "EPERM",
}

# The distribution's servers start as root, and other people's sites and programs may run in them too. So they keep what these may use: homes, the
# common /tmp, devices, other processes in /proc, programs that get privileges of their own, such as Postfix's sendmail, and all that is below
# /usr/local. The group is for their logs, which then are 0640 root:adm.
OF_THE_DISTRIBUTION: dict[str, str | list[str]] = {
    "Group": "adm",
    "ProtectSystem": "full",
    "ReadWritePaths": "-/usr/local",
    "ProtectHome": [],
    "PrivateTmp": [],
    "PrivateDevices": [],
    "DevicePolicy": [],
    "ProtectProc": [],
    "RemoveIPC": [],
    "NoNewPrivileges": [],
    "AmbientCapabilities": [],
    "SystemCallFilter": "@system-service",
}
# Ports below 1024, the accounts of processes, their signals, and files of accounts, such as nginx's logs.
CAPABILITIES = "CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_KILL CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE"


def sandbox(**changes: str | list[str]) -> list[str]:
    """The lines of the sandbox for one kind of unit: its ``changes`` replace lines of the same name or come after them; an empty list has none."""
    lines = []
    for name, value in {**SANDBOX, **changes}.items():
        lines += [f"{name}={one}" for one in (value if isinstance(value, list) else [value])]
    return lines


def sandbox_of_app(release: str, root: str) -> list[str]:
    """The lines for what an app runs: it reads its ``release``, and writes its socket, its shared data below ``root`` and a /tmp of its own."""
    # Gunicorn and uWSGI change the owner of their socket
    return sandbox(ReadWritePaths=f"{release}/run {root}/shared", SystemCallFilter=[*SANDBOX["SystemCallFilter"], "@chown"])


def sandbox_of_the_distribution(**changes: str | list[str]) -> list[str]:
    """The lines for a unit of the distribution's, with the ``changes`` of its kind."""
    return sandbox(**{**OF_THE_DISTRIBUTION, "CapabilityBoundingSet": CAPABILITIES, **changes})
