# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must change on a server so that one of its databases is as wanted: planned first, then done."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_server import SOCKET, State, new_password
from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_sql import Account, is_granted, quote_name, quote_text, revoke
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import environment_file, read_environment_file, write_private

RECORDS = Path("/etc/flaskops/databases")
PORT = "3306"


class PlanError(Exception):
    """The wanted state is impossible, and nothing was changed; the message says what would be right."""


@dataclass(frozen=True)
class SchemaFile:
    """A file of SQL from the controller."""

    name: str
    text: bytes = field(repr=False)

    @classmethod
    def from_payload(cls, given: dict[str, str]) -> SchemaFile:
        """Unpack a file that the controller sent."""
        return cls(given["name"], base64.b64decode(given["text"]))

    @property
    def digest(self) -> str:
        """The hash that shows whether this is the file that was applied."""
        return hashlib.sha256(self.text).hexdigest()


@dataclass
class Record:
    """What a host has noted about one database: that it is ours, and its accounts. Their passwords are in separate files."""

    database: str
    state: str = ""  # present, or kept: a database that outlived its accounts; empty: not ours
    accounts: dict[str, dict[str, str]] = field(default_factory=dict)  # by name: host and fingerprint
    schema: dict[str, str] = field(default_factory=dict)  # for a dry run while the server is stopped

    @classmethod
    def read(cls, database: str) -> Record:
        """The record of this database; an empty one if there is none."""
        path = RECORDS / f"{database}.json"
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else cls(database)

    @classmethod
    def others(cls, database: str) -> list[Record]:
        """The records of the other databases on the host."""
        return [cls.read(path.stem) for path in sorted(RECORDS.glob("*.json")) if path.stem != database]

    @property
    def directory(self) -> Path:
        """The directory of the accounts' environment files."""
        return RECORDS / self.database

    def environment(self, account: str) -> Path:
        """The file that tells an app how to reach the database with this account."""
        return self.directory / f"{account}.env"

    def password(self, account: str) -> str | None:
        """The account's password on this host; ``None`` if there is none."""
        path = self.environment(account)
        return read_environment_file(path.read_bytes().decode()).get("DATABASE_PASSWORD") if path.exists() else None

    def write(self) -> None:
        """Write the record itself."""
        RECORDS.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_private(RECORDS / f"{self.database}.json", json.dumps(vars(self), indent=1, sort_keys=True))


@dataclass
class Plan:
    """Statements and files, with a line for people about each change. What changes nothing has no line."""

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    environments: dict[str, str] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    pending: list[SchemaFile] = field(default_factory=list)

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.before or self.after)

    @property
    def diff(self) -> dict[str, str]:
        """The plan as Ansible shows it."""
        return {"before": "".join(f"{line}\n" for line in self.before), "after": "".join(f"{line}\n" for line in self.after)}

    def change(self, before: str, after: str, *statements: str) -> None:
        """Add a change with its statements; either side may be empty."""
        self.before += [before] if before else []
        self.after += [after] if after else []
        self.statements += statements


def pending_files(files: list[SchemaFile], applied: dict[str, str]) -> list[SchemaFile]:
    """The files that a database does not have yet, in their order. Raises ``PlanError`` for one that has changed since."""
    changed = [one.name for one in files if applied.get(one.name, one.digest) != one.digest]
    if changed:
        raise PlanError(
            f"schema: {', '.join(changed)} has changed since it was applied to this database. Put it back as it was, and write what is "
            "new into another file at the end of the list"
        )
    return [one for one in files if one.name not in applied]


def secure(plan: Plan, state: State, flavor: str) -> None:
    """Plan to remove what no server may have. Raises ``PlanError`` if that would lose data."""
    for account in [*state.anonymous, *state.remote_roots]:
        plan.change(f"account {account.label}", "", f"DROP USER {account.quoted};\n")
    if not state.root_by_socket:
        method = "VIA unix_socket" if flavor == "mariadb" else "WITH auth_socket"
        plan.change("root with a password", "root by the socket only", f"ALTER USER root@localhost IDENTIFIED {method};\n")
    if state.grants_to_everybody:
        plan.change("privileges of all accounts", "", "DELETE FROM mysql.db WHERE User = '';\n", "FLUSH PRIVILEGES;\n")
    if state.tables_of_test:
        raise PlanError(f"the server has a database test with {state.tables_of_test} tables, open to everybody; rename or drop it first")
    if "test" in state.databases:
        plan.change("database test", "", "DROP DATABASE test;\n")


def wanted(
    plan: Plan, record: Record, state: State,
    accounts: list[Account], grants: dict[str, list[str]], files: list[SchemaFile], applied: dict[str, str],
) -> None:  # fmt: skip
    """Plan the database with its accounts and its schema. Raises ``PlanError``."""
    database = quote_name(record.database)
    charset = state.databases.get(record.database)
    if charset is None:
        plan.change("", f"database {record.database} (utf8mb4)", f"CREATE DATABASE {database} CHARACTER SET utf8mb4;\n")
    elif charset != "utf8mb4":
        line = f"database {record.database}"
        plan.change(f"{line} ({charset})", f"{line} (utf8mb4)", f"ALTER DATABASE {database} CHARACTER SET utf8mb4;\n")
    for name, noted in sorted(record.accounts.items()):
        if (name, noted["host"]) not in [(one.name, one.host) for one in accounts]:
            leaving = Account(name, noted["host"])
            plan.change(f"account {leaving.label}", "", f"DROP USER IF EXISTS {leaving.quoted};\n")
    for account in accounts:
        _plan_account(plan, record, state, account, grants.get(account.label))
    plan.pending = pending_files(files, applied)
    for one in plan.pending:
        plan.change("", f"schema file {one.name} (sha256 {one.digest[:12]})")


def _plan_account(plan: Plan, record: Record, state: State, account: Account, grants: list[str] | None) -> None:
    kept, key = record.password(account.name), (account.name, account.host)
    password = account.password or kept or new_password()
    plan.passwords[account.name] = password
    plan.environments[account.name] = environment_of(record.database, account.name, password)
    line = f"account {account.label}: " + (", ".join(sorted(account.privileges)) or "no privileges")
    origin = "given" if account.password else "kept on this host" if kept else "generated on this host"
    identified, tls = f"IDENTIFIED BY {quote_text(password)}", f"REQUIRE {'SSL' if account.needs_tls else 'NONE'}"
    grant = account.grant(record.database)
    if key not in state.fingerprints:
        plan.change("", line, f"CREATE USER {account.quoted} {identified} {tls};\n", grant)
        plan.change("", f"password of {account.label}, {origin}")
        return
    if kept != password or state.fingerprints[key] != record.accounts.get(account.name, {}).get("fingerprint"):
        plan.change("", f"password of {account.label}, {origin}", f"ALTER USER {account.quoted} {identified};\n")
    if (key in state.tls_accounts) != account.needs_tls:
        plan.change("", f"account {account.label}: {tls}", f"ALTER USER {account.quoted} {tls};\n")
    if grants is not None and not is_granted(grants, account, record.database):
        plan.change(f"account {account.label}: other privileges", line, revoke(grants, account), grant)
    path = record.environment(account.name)
    if kept == password and path.read_bytes().decode() != plan.environments[account.name]:
        plan.change("", f"file {path}")


def environment_of(database: str, account: str, password: str) -> str:
    """The environment file of an account, in the syntax of systemd's ``EnvironmentFile=``."""
    # the socket, because MySQL takes a password over TCP from no client without TLS or RSA; percent-encoded, as URLs are
    url = f"mysql+pymysql://{account}:{quote(password, safe='')}@localhost/{database}?unix_socket={SOCKET}&charset=utf8mb4"
    return environment_file({
        "DATABASE_URL": url,
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": PORT,
        # a login over the socket needs neither TLS nor the client's RSA
        "DATABASE_SOCKET": SOCKET,
        "DATABASE_NAME": database,
        "DATABASE_USER": account,
        "DATABASE_PASSWORD": password,
    })  # fmt: skip
