# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the roles' variables must fulfil beyond their types."""

from __future__ import annotations

import ipaddress
import re
import shlex
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_sql import PRIVILEGES, problems_of
from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_names import is_host_name
from ansible_collections.flaskops.hosting.plugins.plugin_utils.schema import SchemaError, read_schema


@dataclass(frozen=True)
class Rule:
    """What a value must fulfil beyond its type: a test, the same in words, and an example as YAML."""

    holds: Callable[[Any], bool]
    needs: str
    example: str


def matches(pattern: str) -> Callable[[Any], bool]:
    """A test whether the whole value matches a regular expression."""
    return lambda value: re.fullmatch(pattern, str(value)) is not None


def is_listen_address(value: Any) -> bool:
    """Return whether a value is a port, or an IP address and a port, one of IPv6 in brackets."""
    address, _colon, port = str(value).rpartition(":")
    try:
        if address.startswith("[") and address.endswith("]"):
            ipaddress.IPv6Address(address[1:-1])
        elif address:
            ipaddress.IPv4Address(address)
        return "%" not in address and 0 < int(port) < 65536
    except ValueError:
        return False


def are_listen_addresses(value: list[Any]) -> bool:
    """Return whether these are ports, or IP addresses and ports, each another and at least one."""
    return bool(value) and len(set(map(str, value))) == len(value) and all(map(is_listen_address, value))


def is_instance_address(value: Any) -> bool:
    """Return whether a value is the release's own unix socket, or an IP address and a port."""
    return str(value) == "unix:run/app.sock" or (not str(value).startswith(":") and ":" in str(value) and is_listen_address(value))


def is_loopback_port(value: Any) -> bool:
    """Return whether a value is a port of the loopback address."""
    address = str(value).rpartition(":")[0].strip("[]")
    return bool(address) and is_listen_address(value) and ipaddress.ip_address(address).is_loopback


# Homes, which the sandbox hides; what goes with a boot; and what the web servers' units cannot write.
UNFIT_ROOTS = ["/boot", "/dev", "/etc", "/home", "/proc", "/root", "/run", "/sys", "/tmp", "/usr"]
ROOT_LENGTH = 63  # below it is a unix socket, whose path may have 107 bytes


def is_root_of_app(value: Any) -> bool:
    """Return whether a value is a directory that an app can be in."""
    parts = str(value).split("/")
    fits = matches(r"/[\w.-]+(?:/[\w.-]+)+")(value) and len(str(value)) <= ROOT_LENGTH and not {".", ".."} & {*parts}
    return fits and (f"/{parts[1]}" not in UNFIT_ROOTS or str(value).startswith("/usr/local/"))


def are_names_to_directories(value: dict[str, Any]) -> bool:
    """Return whether a value maps URL paths to relative directories."""
    return all(matches(r"(?:/(?!\.{1,2}(?:/|$))[\w.-]*)+")(url) and is_inside(path) for url, path in value.items())


def is_inside(value: Any) -> bool:
    """Return whether a value is a relative path that stays inside."""
    return matches(r"[\w.][\w./ -]*")(value) and ".." not in str(value).split("/")


ACCOUNT = Rule(
    lambda value: matches(r"[a-z_][a-z0-9_-]{0,31}")(value) and value not in ("root", "www-data"),
    "an account name of a-z, 0-9, - and _ that is neither root's nor the web server's",
    "shop",
)
PATH = r"(?:/(?!\.{1,2}(?:/|$))[\w.~-]+)+"  # /.. is none
MOUNT = f"/|{PATH}"
MODULE = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(?:\(\))?"
ATTRIBUTE = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+"
PLAIN_VALUE = r"""(?:'[^'"\\\x00-\x1f\x7f]*'|"[^'"\\\x00-\x1f\x7f]*"|-?\d+|True|False|None)"""
ARGUMENT = rf"(?:[A-Za-z_]\w*=)?{PLAIN_VALUE}"
FACTORY = rf"[A-Za-z_][\w.]*:[A-Za-z_]\w*\({ARGUMENT}(?:, ?{ARGUMENT})*\)"


def are_mounts(value: dict[str, Any]) -> bool:
    """Return whether a value maps URL prefixes to WSGI callables."""
    return all(matches(MOUNT)(mount) and matches(MODULE)(module) for mount, module in value.items())


def is_address(value: Any) -> bool:
    """Return whether a value is an IP address."""
    try:
        return bool(ipaddress.ip_address(str(value)))
    except ValueError:
        return False


def are_proxies(value: list[Any]) -> bool:
    """Return whether these are IP addresses and networks, and none of them is everybody's."""
    try:
        return all(ipaddress.ip_network(str(one)).prefixlen and re.fullmatch(r"[0-9a-fA-F:./]+", str(one)) for one in value)
    except ValueError:
        return False


def are_schema_files(value: list[str]) -> bool:
    """Return whether these are SQL files that can be sent."""
    try:
        return len(read_schema(value)) == len(value)
    except SchemaError:
        return False


def are_commands(value: list[str]) -> bool:
    """Return whether each of these has a program to run, and every quote an end."""
    try:
        return all(shlex.split(command) for command in value)
    except ValueError:
        return False


LISTENS = "ports, or IP addresses and ports, each once, and IPv6 in brackets"
INSTANCE_LISTEN = Rule(is_instance_address, "unix:run/app.sock, or an IP address and a port, with IPv6 in brackets", '"127.0.0.1:8080"')
DIRECTORIES = Rule(are_names_to_directories, "URL paths and directories of the source", "{/static: static}")
COMMANDS = Rule(are_commands, "commands, each a program and its arguments, with every quote closed; no shell reads them", "[flask db upgrade]")
PROCESSES = Rule(lambda value: value >= 0, "a whole number of at least 1, or 0 for as many as suit the host", "4")
MEMORY = Rule(lambda value: value == 0 or value >= 16, "a whole number of MiB, at least 16, or 0 for no limit", "512")
AT_LEAST_1 = Rule(lambda value: value >= 1, "a whole number of at least 1", "4")
RULES = {
    "flask_app_name": Rule(matches(r"[A-Za-z][A-Za-z0-9_-]{0,31}"), "1 to 32 letters, digits, - and _, a letter first", "shop"),
    "flask_app_version": Rule(matches(r"[^-\s]\S*"), "a branch, a tag or a commit", "v1.2"),
    "flask_app_exclude": Rule(
        lambda value: all(matches(r"(?!/)(?!(?:.*/)?\.{1,2}(?:/|$)).+")(pattern) for pattern in value),
        "patterns of paths in the source, without a leading slash, . and ..",
        "[docs, '**/*.psd']",
    ),
    "flask_app_root": Rule(
        is_root_of_app,
        f"an absolute path of at most {ROOT_LENGTH} characters below a top-level directory other than {', '.join(UNFIT_ROOTS)}; or below /usr/local",
        "/srv/shop",
    ),
    "flask_app_user": ACCOUNT,
    "flask_app_group": ACCOUNT,
    "flask_app_module": Rule(
        matches(f"{MODULE}|{ATTRIBUTE}|{FACTORY}"), "module:callable, module:factory(), module:factory('text') or module:object.callable", "main:app"
    ),
    "flask_app_python": Rule(matches(r"/\S+"), "the absolute path of a Python on the host", "/usr/bin/python3"),
    "flask_app_mount": Rule(matches(MOUNT), "a URL path with a leading slash and no trailing one", "/shop"),
    "flask_app_health_path": Rule(matches(r"/[^\s#]*"), "a URL path with a leading slash, below the mount", "/healthz"),
    "flask_app_balancer_path": Rule(
        matches(f"(?:{PATH})?"), "a URL path with a leading slash and no trailing one, below the mount, or nothing", "/check"
    ),
    "flask_app_listen": Rule(are_listen_addresses, LISTENS, '["80"]'),
    "flask_app_server_names": Rule(
        lambda value: all(is_host_name(str(name)) for name in value),
        "host names of at most 253 characters, with at most 63 between two dots",
        "[shop.example.com]",
    ),
    "flask_app_tls_hsts": Rule(lambda value: value >= 0, "a whole number of seconds, or 0 for none", "31536000"),
    "flask_app_https_listen": Rule(are_listen_addresses, LISTENS, '["443"]'),
    "flask_app_acme_directory": Rule(
        matches(r"letsencrypt|letsencrypt-staging|https://[^\s@/]+/\S*"),
        "letsencrypt, letsencrypt-staging, or the https URL of an ACME directory",
        "letsencrypt",
    ),
    "flask_app_acme_email": Rule(matches(r"|[^\s@,=]+@[^\s@,=]+"), "one e-mail address, or nothing", "me@example.com"),
    "flask_app_trusted_proxies": Rule(
        are_proxies, "IP addresses and networks without bits of a host, none of them all addresses", '["10.0.0.0/16", "2001:db8::7"]'
    ),
    "flask_app_firewall_ports": Rule(lambda value: all(0 < port < 65536 for port in value), "TCP ports", "[9100]"),
    "flask_app_static": DIRECTORIES,
    "flask_app_max_body": Rule(lambda value: value >= 0, "a whole number of MiB, or 0 for no limit", "16"),
    "flask_app_timeout": AT_LEAST_1,
    "flask_app_static_max_age": Rule(lambda value: value >= 0, "a whole number of seconds, or 0 to let browsers ask each time", "31536000"),
    "flask_app_environment_files": Rule(
        lambda value: all(matches(r"/\S+")(path) for path in value), "absolute paths of files on the host", "[/etc/shop/database.env]"
    ),
    "flask_app_shared": Rule(lambda value: all(map(is_inside, value)), "directories of the source", "[uploads]"),
    "flask_app_build": COMMANDS,
    "flask_app_system_packages": Rule(
        lambda value: all(matches(r"[a-z0-9][a-z0-9+.-]+")(name) for name in value), "names of the distribution's packages", "[libpq-dev]"
    ),
    "flask_app_before_activation": COMMANDS,
    "flask_app_after_activation": COMMANDS,
    "flask_app_health_timeout": AT_LEAST_1,
    "flask_app_memory_max": MEMORY,
    "flask_app_keep_releases": AT_LEAST_1,
    "nginx_gunicorn_listen": INSTANCE_LISTEN,
    "nginx_gunicorn_workers": PROCESSES,
    "nginx_gunicorn_threads": AT_LEAST_1,
    "apache_site_name": Rule(matches(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}|"), "letters, digits, dots, - and _, or nothing", "shop"),
    "apache_site_php": DIRECTORIES,
    "apache_wsgi_processes": PROCESSES,
    "apache_wsgi_threads": AT_LEAST_1,
    "uwsgi_app_listen": INSTANCE_LISTEN,
    "uwsgi_app_processes": PROCESSES,
    "uwsgi_app_threads": AT_LEAST_1,
    # pip gets them as arguments, which every account sees
    "nginx_gunicorn_requirement": Rule(matches(r"(?!.*://\S+@).*"), "what pip takes, without a login in a URL", "gunicorn==27.0.1"),
    "uwsgi_app_requirement": Rule(matches(r"(?!.*://\S+@)pyuwsgi(?:[^\w-].*)?"), "pyuwsgi, of any version", "pyuwsgi==2.0.30.post1"),
    "uwsgi_app_mounts": Rule(are_mounts, "URL paths with a leading slash and no trailing one, and WSGI callables", "{/your/path: main:app}"),
    "dev_server_listen": Rule(is_loopback_port, "a port of the loopback address, because only you may reach it", '"127.0.0.1:5000"'),
    "mysql_webapp_database": Rule(
        lambda value: not any(problems_of(value, [])), "1 to 64 letters, digits, _ and -, and no name of the server itself", "webapp"
    ),
    "mysql_webapp_accounts": Rule(
        lambda value: not any(problems_of("webapp", value)),
        "accounts, each with a name of its own in letters, digits, _ and - and no name of the server itself; with privileges that are ALL "
        f"or some of {', '.join(sorted(PRIVILEGES))}; with a host that is localhost, an address or a pattern of addresses; "
        "with a password of 1 to 255 bytes or none",
        "[{name: reader, privileges: [SELECT]}]",
    ),
    "mysql_webapp_schema": Rule(
        are_schema_files,
        "SQL files on the controller in UTF-8, each with a name of its own",
        '["{{ playbook_dir }}/schema/001-product.sql"]',
    ),
    "mysql_webapp_listen": Rule(is_address, "an IP address of the host", "127.0.0.1"),
}
