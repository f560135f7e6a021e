# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Text that is sent to a MySQL or MariaDB server, or read from it: names, literals, grants."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SCRATCH = "flaskops_rehearsal"  # the database that schema files are tried on
TRIAL = "flaskops_trial"  # the account that tries them
SYSTEM_DATABASES = {"mysql", "sys", "information_schema", "performance_schema"}
SYSTEM_ACCOUNTS = {"root", "mysql", "debian-sys-maint", TRIAL}
ALL = "ALL PRIVILEGES"
# What can be granted on a database, under both servers; together the server calls them ALL PRIVILEGES.
PRIVILEGES = {
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER", "CREATE TEMPORARY TABLES",
    "LOCK TABLES", "EXECUTE", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "TRIGGER",
}  # fmt: skip
DATABASE_NAME = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}"
ACCOUNT_NAME = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,31}"
HOST = r"localhost|[A-Za-z0-9%:](?:[A-Za-z0-9.:%_/-]{0,253}[A-Za-z0-9%:])?"
PASSWORD_BYTES = 255  # the limit of caching_sha2_password


def quote_name(name: str) -> str:
    """A name as an SQL identifier."""
    return "`" + name.replace("`", "``") + "`"


def quote_pattern(database: str) -> str:
    """A database's name as GRANT takes it: there ``_`` and ``%`` would match other characters."""
    return quote_name(re.sub(r"([\\_%])", r"\\\1", database))


def quote_text(text: str) -> str:
    """A text as an SQL literal, for a session without NO_BACKSLASH_ESCAPES."""
    escapes = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z", "\0": "\\0"})
    return f"'{text.translate(escapes)}'"


CLIENT_GROUPS = ("client", "client-server", "client-mariadb", "mysql", "mariadb-client")
UNESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "s": " "}


def option_file(**options: str) -> str:
    """A client's option file, for options that must not be among its arguments."""
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
    return "[client]\n" + "".join(f'{name}="{value.translate(escapes)}"\n' for name, value in options.items())


def password_in(options: str) -> str | None:
    """The password that a client's option file has for it; ``None`` if it has none. The last one counts, as for the client."""
    group, found = "", None
    for line in map(str.strip, options.splitlines()):
        if line.startswith("["):
            group = line[1:].partition("]")[0].strip().lower()
        name, _equals, value = (part.strip() for part in line.partition("="))
        if name == "password" and group in CLIENT_GROUPS:
            quoted = re.match(r"""(["'])((?:\\.|(?!\1).)*)\1""", value)
            plain = quoted[2] if quoted else value.partition("#")[0].strip()
            found = re.sub(r"""\\([ntrbs"'\\])""", lambda escape: UNESCAPED.get(escape[1], escape[1]), plain)
    return found


def without_definers(line: bytes) -> bytes:
    """A line of a dump or a schema file, so that what it creates belongs to whoever loads it."""
    if not line.lstrip()[:6].upper().startswith((b"CREATE", b"DEFINE", b"/*!500", b"/*!501")):
        return line
    return re.sub(rb"(?i)\bDEFINER\s*=\s*(`(?:[^`]|``)*`|'[^']*'|[\w.-]+)@(`[^`]*`|'[^']*'|[\w.%-]+)", b"", line, count=1)


@dataclass(frozen=True)
class Account:
    """An account of a server. ``privileges`` are those on its one database."""

    name: str
    host: str = "localhost"
    privileges: frozenset[str] = frozenset()
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_option(cls, given: dict[str, Any]) -> Account:
        """Read one entry of the ``accounts`` option."""
        wanted = {" ".join(str(one).upper().split()) for one in given.get("privileges") or []}
        everything = bool(wanted & {"ALL", ALL}) or wanted >= PRIVILEGES
        return cls(given["name"], given.get("host") or "localhost", frozenset({ALL} if everything else wanted), given.get("password"))

    @property
    def quoted(self) -> str:
        """The account as SQL names it."""
        return f"{quote_text(self.name)}@{quote_text(self.host)}"

    @property
    def label(self) -> str:
        """The account as people name it."""
        return f"{self.name}@{self.host}"

    @property
    def needs_tls(self) -> bool:
        """Whether its connections come over the network."""
        return self.host != "localhost"

    def grant(self, database: str) -> str:
        """The statement that grants its privileges; empty if it has none."""
        if not self.privileges:
            return ""
        return f"GRANT {', '.join(sorted(self.privileges))} ON {quote_pattern(database)}.* TO {self.quoted};\n"


def problems_of(database: str, accounts: list[dict[str, Any]]) -> Iterator[str]:
    """What is wrong in the options: one sentence for each problem, which says what would be right."""
    if not re.fullmatch(DATABASE_NAME, database) or database in SYSTEM_DATABASES | {SCRATCH, "test"}:
        yield f"database: got {database!r}, needs 1 to 64 letters, digits, _ and -, and no name of the server itself. For example: webapp"
    names = [str(one.get("name")) for one in accounts]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"accounts: {name!r} is given {names.count(name)} times; give each account a name of its own"
    for given in accounts:
        yield from _problems_of_account(given)


def _problems_of_account(given: dict[str, Any]) -> Iterator[str]:
    name, host, password = str(given.get("name")), str(given.get("host") or "localhost"), given.get("password")
    if not re.fullmatch(ACCOUNT_NAME, name) or name in SYSTEM_ACCOUNTS:
        yield f"accounts: got the name {name!r}, needs 1 to 32 letters, digits, _ and -, and no name of the server itself. For example: reader"
    if not re.fullmatch(HOST, host):
        yield f"accounts: {name} has the host {host!r}, needs localhost, an address or a pattern of addresses. For example: 10.0.0.%"
    unknown = sorted(Account.from_option({**given, "name": name}).privileges - PRIVILEGES - {ALL})
    if unknown:
        yield f"accounts: {name} has the privileges {unknown}, needs ALL or some of {', '.join(sorted(PRIVILEGES))}"
    if password is not None and (not isinstance(password, str) or not 0 < len(password.encode()) <= PASSWORD_BYTES or "\0" in password):
        yield f"accounts: the password of {name} needs to be a string of 1 to {PASSWORD_BYTES} bytes; leave it out to have one generated"


def is_granted(grants: list[str], account: Account, database: str) -> bool:
    """Return whether these lines of SHOW GRANTS give the account its privileges on the database, and nothing else."""
    wanted = {(privilege, f"{quote_pattern(database)}.*") for privilege in account.privileges}
    found = set()
    for line in grants:
        grant = re.fullmatch(r"GRANT (.+?) ON (\S+) TO .*", line)
        if grant is None or "WITH GRANT OPTION" in line:
            return False
        found |= {(privilege, grant[2]) for privilege in grant[1].split(", ")}
    return found - {("USAGE", "*.*")} == wanted


def revoke(grants: list[str], account: Account) -> str:
    """The statements that revoke everything that these lines of SHOW GRANTS give an account, roles included."""
    roles = [re.match(r"GRANT ([`'].+?) TO ", line) for line in grants]
    taken = [f"REVOKE {role[1]} FROM {account.quoted};\n" for role in roles if role]
    return "".join([f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account.quoted};\n", *taken])
