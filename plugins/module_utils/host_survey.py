# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of survey: what is on the host, and nothing is changed."""

from __future__ import annotations

import glob
import grp
import ipaddress
import os
import pwd
import re
import socket
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils import certificates
from ansible_collections.flaskops.hosting.plugins.module_utils.account import is_ours
from ansible_collections.flaskops.hosting.plugins.module_utils.app_status import LOG_LINES, more_of, question_of
from ansible_collections.flaskops.hosting.plugins.module_utils.command import run
from ansible_collections.flaskops.hosting.plugins.module_utils.database_use import databases_of, noted_databases
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_systemd import UNITS
from ansible_collections.flaskops.hosting.plugins.module_utils.ownership import Owned, all_paths, read_owners
from ansible_collections.flaskops.hosting.plugins.module_utils.record import Record
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Tree
from ansible_collections.flaskops.hosting.plugins.module_utils.release_variables import WEB

LISTENING = "0A"  # the state column of /proc/net/tcp
DISTRIBUTION_PYTHON = "/usr/bin/python3"
NGINX_WELCOME = (  # nginx.org's conf.d/default.conf, without what stands for nothing
    "server listen 80 server_name localhost location / root /usr/share/nginx/html index index.html index.htm "
    "error_page 500 502 503 504 /50x.html location = /50x.html root /usr/share/nginx/html"
)
MODULES_OF_PACKAGE = ["deflate", "filter"]  # of those that this collection uses
PORTS_OF_PACKAGE = "Listen 80\n<IfModule ssl_module>\nListen 443\n</IfModule>\n"
MOST_NAMES = 10  # of what is in a directory
SSH_SERVERS = ("sshd", "sshd-listener", "dropbear", "tinysshd")
NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false")
ARGUMENTS: dict[str, Any] = {
    "role": {"type": "str", "choices": ["", "flask_app", "mysql_webapp"], "default": ""},
    "variables": {"type": "dict", "default": {}},
    "topology": {"type": "str", "default": ""},
    "packages": {"type": "list", "elements": "str", "default": []},
    "status": {"type": "bool", "default": False},
    "app": {"type": "str", "default": ""},
    "log_lines": {"type": "int", "default": LOG_LINES},
    "process": {"type": "str", "default": WEB},
    "schedules": {"type": "list", "elements": "str", "default": []},
    "user": {"type": "str", "default": ""},
    "group": {"type": "str", "default": ""},
    "python": {"type": "str", "default": ""},
    "root": {"type": "str", "default": ""},
    "environment_files": {"type": "list", "elements": "str", "default": []},
}


def distribution() -> dict[str, str]:
    """Name and major version, from os-release."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    release = dict(line.split("=", 1) for line in lines if "=" in line)
    name, version = (release.get(key, "").strip('"') for key in ("ID", "VERSION_ID"))
    return {"name": name.capitalize(), "major_version": version.split(".")[0]}


def installed_packages(packages: list[str]) -> dict[str, str]:
    """The versions of those of the packages that dpkg has installed."""
    if not packages:
        return {}
    shown = run("dpkg-query", "--show", "--showformat=${Package} ${Version} ${db:Status-Status}\n", *packages)
    return dict(line.split()[:2] for line in shown.stdout.splitlines() if line.endswith(" installed"))


def account(user: str, group: str) -> dict[str, bool]:
    """Whether the group exists, whether the user is right, and whose it is."""
    has_group = any(entry.gr_name == group for entry in grp.getgrall())
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return {"user": False, "group": has_group, "ours": False, "foreign": False}
    right = has_group and found.pw_gid == grp.getgrnam(group).gr_gid and found.pw_shell in NO_LOGIN
    ours = is_ours(found)
    return {"user": right, "group": has_group, "ours": ours, "foreign": not (right or ours)}


def sockets() -> list[dict[str, Any]]:
    """The listening TCP sockets, with who holds them."""
    found: list[dict[str, Any]] = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not os.path.exists(table):
            continue
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                address, port = fields[1].split(":")
                found.append({"address": _address(address), "port": int(port, 16), "user": _user(int(fields[7])), "inode": fields[9]})
    owners = _socket_owners({one["inode"] for one in found})
    # root without CAP_SYS_PTRACE, as in a container, does not see the sockets of another account's process
    found = [{**one, **owners.get(one.pop("inode"), {"process": "", "unit": ""})} for one in found]
    units = socket_units() if any(one["process"] == "systemd" for one in found) else {}
    for one in found:
        if one["process"] == "systemd":  # it holds an app's port
            one["unit"] = units.get((one["address"], one["port"]), one["unit"])
    return found


def ipv6() -> bool:
    """Whether a program can listen on IPv6: a kernel may be without it."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
            listener.bind(("::", 0))
    except OSError:
        return False
    return True


def ssh_ports(listening: list[dict[str, Any]]) -> list[int]:
    """The ports that SSH listens on, by a service or by a socket of systemd, and the one that this connection has come by."""
    ports = {one["port"] for one in listening if one["process"] in SSH_SERVERS}
    if any(one["process"] == "systemd" for one in listening):
        shown = run("systemctl", "show", "--property=Listen", "ssh.socket", "sshd.socket", "dropbear.socket").stdout
        ports |= {int(port) for port in re.findall(r"^Listen=.*?:(\d+) \(Stream\)$", shown, re.MULTILINE)}
    return sorted(ports | came_by(os.getpid())) or [22]


def came_by(pid: int) -> set[int]:
    """The port that the SSH connection of a process has come by, from the environment of a process above it: sudo clears its own."""
    while pid > 1:
        process = Path("/proc", str(pid))
        try:
            found = re.search(rb"(?:^|\0)SSH_CONNECTION=\S+ \d+ \S+ (\d+)\0", (process / "environ").read_bytes())
            if found:
                return {int(found[1])}
            pid = int((process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            break
    return set()


def socket_units() -> dict[tuple[str, int], str]:
    """The units of systemd that hold a TCP port, by the port's address and number."""
    found = {}
    for path in filter(Path.is_file, UNITS.glob("*.socket")):
        for address, port in re.findall(r"^ListenStream=(.*):(\d+)$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
            found[address.strip("[]"), int(port)] = path.name
    return found


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _address(digits: str) -> str:
    words = [bytes.fromhex(digits[start : start + 8])[::-1] for start in range(0, len(digits), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _socket_owners(inodes: set[str]) -> dict[str, dict[str, str]]:
    owners = {}
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
            inode = target[len("socket:[") : -1] if target.startswith("socket:[") else ""
            if inode in inodes and inode not in owners:
                process = Path(link).parent.parent
                owners[inode] = {"process": (process / "comm").read_text().strip(), "unit": _unit_of(process)}
        except OSError:
            continue  # the process has ended in between
    return owners


def _unit_of(process: Path) -> str:
    units = re.findall(r"[^/\n]+\.(?:service|socket|scope)", (process / "cgroup").read_text())
    return units[0] if units else ""


def firewall() -> dict[str, Any]:
    """ufw's rules, read from its files, because its command takes a quarter of a second."""
    rules = Path("/etc/ufw/user.rules")
    if not rules.exists():
        return {"installed": False, "enabled": False, "incoming": "", "ports": []}
    ports: set[int] = set()
    allowed = r"^### tuple ### allow (?:tcp|any) (\S+) 0\.0\.0\.0/0 any 0\.0\.0\.0/0 (?:\S+ \S+ )?in\b"
    for words in re.findall(allowed, rules.read_text(), re.MULTILINE):
        ports |= {int(port) for port in words.split(",") if port.isdigit()}
    enabled = re.search(r"^ENABLED=yes", Path("/etc/ufw/ufw.conf").read_text(), re.MULTILINE)
    policy = re.search(r'^DEFAULT_INPUT_POLICY="(\w+)"', Path("/etc/default/ufw").read_text(), re.MULTILINE)
    return {"installed": True, "enabled": bool(enabled), "incoming": policy[1] if policy else "", "ports": sorted(ports)}


def apache() -> dict[str, Any]:
    """What Apache has enabled, from its files."""
    ports = Path("/etc/apache2/ports.conf")
    text = ports.read_text(encoding="utf-8", errors="replace") if ports.exists() else PORTS_OF_PACKAGE
    plain = re.sub(r"<IfModule.*?</IfModule>", "", text, flags=re.DOTALL)  # of modules for TLS
    enabled = Path("/etc/apache2/mods-enabled")
    return {
        "modules": sorted(path.stem for path in enabled.glob("*.load")) if enabled.is_dir() else MODULES_OF_PACKAGE,
        "sites": sorted(path.name for path in Path("/etc/apache2/sites-enabled").glob("*.conf")),
        "ports": _listened(plain),
        "tls_ports": [port for port in _listened(text) if port not in _listened(plain)],
    }


def _listened(text: str) -> list[int]:
    return [int(port) for port in re.findall(r"^\s*Listen\s+(\d+)\s*$", text, re.MULTILINE)]


def certificates_of(owners: dict[str, Owned]) -> dict[str, dict[str, Any]]:
    """The certificates that this collection asks a CA for, with the names that they are to have and have, and whose they are."""
    return {
        wanted.name: {
            "names": wanted.names,
            "covered": wanted.covered(),
            "given_by": wanted.given_by(),
            "owners": sorted(owner for owner, owned in owners.items() if str(wanted.note) in owned.paths),
            **certificates.summary(wanted),
        }
        for wanted in certificates.read_all()
    }


def certificate_files() -> dict[str, dict[str, Any]]:
    """What people read of the certificates of users' own, by their directories."""
    return {str(path.parent): certificates.summary_of_file(path) for path in sorted(certificates.NOTES.glob("*/fullchain.pem"))}


def nginx() -> dict[str, bool]:
    """Whether nginx reads the directory of Debian's package, and nginx.org's page as it came; of a host without nginx, what Debian's package has."""
    main, page = Path("/etc/nginx/nginx.conf"), Path("/etc/nginx/conf.d/default.conf")
    text = main.read_text(encoding="utf-8", errors="replace") if main.is_file() else "include sites-enabled/*;"
    shown = page.read_text(encoding="utf-8", errors="replace") if page.is_file() else ""
    words = re.sub(r"#.*|[{};]", " ", shown).split()
    return {
        "sites_enabled": re.search(r"^\s*include\s+\S*\bsites-enabled/", text, re.MULTILINE) is not None,
        "welcome": words == NGINX_WELCOME.split(),
    }


def pythons(given: str) -> dict[str, str]:
    """Major and minor version of a Python and of the distribution's own; empty if it does not run."""
    # its package knows; the link may have been led to another one
    shown = run("dpkg-query", "--show", "--showformat=${Version}", "python3-minimal").stdout
    package = re.match(r"\d+\.\d+", shown)
    distribution = package[0] if package else ""
    if given in ("", DISTRIBUTION_PYTHON) and Path(DISTRIBUTION_PYTHON).resolve().name == f"python{distribution}":
        return {"given": distribution, "distribution": distribution}
    asked = run(given or DISTRIBUTION_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    return {"given": "" if asked.returncode else asked.stdout.strip(), "distribution": distribution}


def calendars(schedules: list[str]) -> dict[str, str]:
    """What is wrong with times at which jobs are to run, as this host's systemd reads them; nothing for those that are right."""
    wrong = {}
    for schedule in schedules:
        shown = run("systemd-analyze", "calendar", "--", schedule)
        if shown.returncode:
            wrong[schedule] = "systemd does not understand it"
        elif re.search(r"^\s*Next elapse: never$", shown.stdout, re.MULTILINE):
            wrong[schedule] = "that time never comes"
    return wrong


def look_at_root(root: str, records: dict[str, Record]) -> dict[str, Any]:
    """Whether a directory exists; and, if no app has noted it as its own, some names of what is in it."""
    path = Path(root)
    if not root or not path.is_dir():
        return {"exists": False, "foreign": []}
    noted = any(record.root == root for record in records.values())
    return {"exists": True, "foreign": [] if noted else sorted(os.listdir(root))[:MOST_NAMES]}


def apps(records: dict[str, Record], status: bool, app: str = "", log_lines: int = LOG_LINES, process: str = WEB) -> dict[str, dict[str, Any]]:
    """The apps that this collection put on the host, with the release that is live, and their status if requested, or that of one ``app``."""
    return {name: tell_app(record, status and app in ("", name), log_lines, process) for name, record in records.items()}


def tell_app(record: Record, status: bool, log_lines: int = LOG_LINES, process: str = WEB) -> dict[str, Any]:
    """What is noted of an app, how to send its health check, which release is live, and its status if requested."""
    tree = Tree(record.app, Path(record.root))
    live = tree.live() if record.root else None
    shown = {**record.to_json(), "front": question_of(record), "live": live.name if live else "", "databases": databases_of(record)}
    return {**shown, **more_of(record, tree, log_lines, process)} if status else shown


def answer(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """What is on the host: the module's result. It is the same in check mode."""
    records, listening, owners = Record.read_all(), sockets(), read_owners()
    versions = installed_packages(options["packages"])
    return {
        "changed": False,
        "distribution": distribution(),
        "processors": len(os.sched_getaffinity(0)),
        "packages_missing": sorted(set(options["packages"]) - versions.keys()),
        "versions": versions,
        "package_lists": bool(glob.glob("/var/lib/apt/lists/*_Packages*")),
        "account": account(options["user"], options["group"]),
        "sockets": listening,
        "ipv6": ipv6(),
        "ssh_ports": ssh_ports(listening),
        "firewall": firewall(),
        "apache": apache(),
        "nginx": nginx(),
        "python": pythons(options["python"]),
        "calendars": calendars(options["schedules"]),
        "root": look_at_root(options["root"], records),
        "files_missing": [name for name in options["environment_files"] if not os.path.isfile(name)],
        "owned_paths": sorted(all_paths(owners.values())),
        "certificates": certificates_of(owners),
        "certificate_files": certificate_files(),
        "apps": apps(records, *(options[name] for name in ("status", "app", "log_lines", "process"))),
        "databases": noted_databases(),
    }
