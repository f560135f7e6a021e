# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The MySQL or MariaDB server of a host, asked by root over its unix socket with the distribution's own client."""

from __future__ import annotations

# pylint: disable=ansible-bad-function  # run_command is a method of AnsibleModule, and there is no such object here
import contextlib
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_sql import (
    SCRATCH,
    TRIAL,
    Account,
    option_file,
    password_in,
    quote_name,
    quote_text,
    without_definers,
)

SOCKET = "/run/mysqld/mysqld.sock"
ROOT_OPTIONS = Path("/root/.my.cnf")
LEDGER = "flaskops_schema"  # the table that says which schema files a database has
# Literals are escaped with backslashes, whatever the server's own mode is.
SQL_MODE = "SET SESSION sql_mode = 'STRICT_ALL_TABLES';\n"
NOT_TO_BINLOG = "SET SESSION sql_log_bin = 0;\n"
QUOTED_SCRATCH = quote_name(SCRATCH)


class ServerError(Exception):
    """The server rejected a statement, or does not answer; the message is its own."""


@dataclass
class State:
    """What a server has, as far as this collection needs to know."""

    databases: dict[str, str] = field(default_factory=dict)  # their character sets
    fingerprints: dict[tuple[str, str], str] = field(default_factory=dict)  # of each account's plugin and password
    tls_accounts: set[tuple[str, str]] = field(default_factory=set)
    anonymous: list[Account] = field(default_factory=list)
    remote_roots: list[Account] = field(default_factory=list)
    root_by_socket: bool = True
    tables_of_test: int = 0
    grants_to_everybody: int = 0
    ledgers: set[str] = field(default_factory=set)


class Server:
    """One server. ``flavor`` is ``mariadb`` or ``mysql``, by which of them is installed."""

    def __init__(self) -> None:
        self._password: str | None = None  # of root, on a server that lets nobody in by the socket alone
        self.flavor = next((name for name, daemon in (("mariadb", "mariadbd"), ("mysql", "mysqld")) if _find(daemon)), "")

    @property
    def unit(self) -> str:
        """Its systemd unit."""
        return f"{self.flavor}.service"

    def answers(self) -> bool:
        """Return whether it is installed and runs. Raises ``ServerError`` if it runs and rejects root."""
        try:
            return bool(self.flavor) and self.query("SELECT 1") == [["1"]]
        except ServerError as error:
            if "ERROR 2002 " in str(error):  # nobody listens on the socket
                return False
            raise

    def query(self, sql: str) -> list[list[str]]:
        """Run SQL as root and return the rows of all its results. Raises ``ServerError``."""
        try:
            shown = self._run_as_root((SQL_MODE + sql).encode())
        except ServerError as error:
            self._take_password(error)
            shown = self._run_as_root((SQL_MODE + sql).encode())
        return [line.split("\t") for line in shown.decode("utf-8", "replace").splitlines()]

    def load(self, database: str, sql: bytes) -> None:
        """Run a schema file as root. Raises ``ServerError`` with the line that the server rejected."""
        self._run_as_root(sql, database)

    def read(self) -> State:
        """Look at databases, accounts and what must not be there, in one go."""
        state = State()
        for kind, *row in self.query(MARIADB_STATE + STATE if self.flavor == "mariadb" else MYSQL_STATE + STATE):
            if kind == "database":
                state.databases[row[0]] = row[1]
            elif kind == "account":
                self._take_account(state, *row)
            elif kind == "root":
                state.root_by_socket = row[0] == "1"
            elif kind == "test":
                state.tables_of_test = int(row[0])
            elif kind == "everybody":
                state.grants_to_everybody = int(row[0])
            elif kind == "ledger":
                state.ledgers.add(row[0])
        return state

    @staticmethod
    def _take_account(state: State, name: str, host: str, fingerprint: str, tls: str) -> None:
        state.fingerprints[name, host] = fingerprint
        if tls:
            state.tls_accounts.add((name, host))
        if not name:
            state.anonymous.append(Account(name, host))
        if name == "root" and host != "localhost":
            state.remote_roots.append(Account(name, host))

    def grants(self, accounts: list[Account]) -> dict[str, list[str]]:
        """The lines of SHOW GRANTS of accounts that exist, by the accounts' labels."""
        asked = "".join(f"SELECT '', {quote_text(one.label)}; SHOW GRANTS FOR {one.quoted};\n" for one in accounts)
        found: dict[str, list[str]] = {}
        for row in self.query(asked) if asked else []:
            if row[0] == "":
                lines = found[row[1]] = []
            else:
                lines.append("\t".join(row))
        return found

    def applied(self, database: str) -> dict[str, str]:
        """The schema files that a database has, with their hashes, in the order in which they came."""
        rows = self.query(f"SELECT file, sha256 FROM {quote_name(database)}.{LEDGER} ORDER BY number")
        return dict(rows)

    def record(self, database: str, name: str, digest: str) -> None:
        """Note in the database that it has a schema file."""
        table = f"{quote_name(database)}.{LEDGER}"
        self.query(
            f"CREATE TABLE IF NOT EXISTS {table} (number INT AUTO_INCREMENT PRIMARY KEY, file VARCHAR(255) NOT NULL UNIQUE,"
            " sha256 CHAR(64) NOT NULL, applied TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);\n"
            f"INSERT INTO {table} (file, sha256) VALUES ({quote_text(name)}, {quote_text(digest)});"
        )

    @contextlib.contextmanager
    def rehearsal(self, database: str | None) -> Iterator[Rehearsal]:
        """A scratch copy of a database (an empty one for ``None``), with an account that can touch nothing else."""
        account = Account(TRIAL, privileges=frozenset({"ALL PRIVILEGES"}), password=new_password())
        # to keep out of the binary log, and to make functions and triggers if there is one; neither affects other databases
        session = "SUPER, BINLOG ADMIN" if self.flavor == "mariadb" else "SUPER"
        self.clear_rehearsal()
        self.query(
            f"{NOT_TO_BINLOG}CREATE DATABASE {QUOTED_SCRATCH} CHARACTER SET utf8mb4;\n"
            f"CREATE USER {account.quoted} IDENTIFIED BY {quote_text(account.password or '')};\n"
            f"GRANT {session} ON *.* TO {account.quoted};\n{account.grant(SCRATCH)}"
        )
        try:
            copy = Rehearsal(self, account)
            if database:
                copy.fill(database)
            yield copy
        finally:
            self.clear_rehearsal()

    def clear_rehearsal(self) -> None:
        """Drop what a rehearsal has made, even if it was killed."""
        self.query(f"{NOT_TO_BINLOG}DROP DATABASE IF EXISTS {QUOTED_SCRATCH}; DROP USER IF EXISTS {Account(TRIAL).quoted};")

    def _run_as_root(self, sql: bytes, *database: str) -> bytes:
        with self.root() as (first, descriptors):
            return self._run([*self._client(*first), *database], sql, *descriptors)

    @contextlib.contextmanager
    def root(self) -> Iterator[tuple[list[str], list[int]]]:
        """The first arguments of a client that logs in as root, and the descriptors that it needs for that."""
        if self._password is None:
            yield ["--no-defaults", "--user=root"], []
        else:
            with _options(user="root", password=self._password) as (option, descriptor):
                yield [option], [descriptor]

    def _take_password(self, error: ServerError) -> None:
        """Take root's password from its own option file, if the server wants one. Raises the ``error`` for another one."""
        if self._password is not None or not re.search(r"ERROR (1045|1698) ", str(error)):
            raise error
        with contextlib.suppress(OSError):
            self._password = password_in(ROOT_OPTIONS.read_text(encoding="utf-8", errors="surrogateescape"))
        if self._password is None:
            raise ServerError(f'{error}. Root has a password there; put it into {ROOT_OPTIONS}, under [client], as password = "…"') from error

    def _client(self, *first: str) -> list[str]:
        return [
            _find(self.flavor) or self.flavor, *first, "--protocol=socket", f"--socket={SOCKET}", "--batch", "--raw", "--skip-column-names",
            # binary-mode: no \! in a schema file is a command for a shell
            "--binary-mode", "--comments", "--default-character-set=utf8mb4",
        ]  # fmt: skip

    @staticmethod
    def _run(words: list[str], sql: bytes, *descriptors: int) -> bytes:
        done = subprocess.run(words, input=sql, capture_output=True, env=_ENVIRONMENT, pass_fds=descriptors, check=False)
        if done.returncode:
            shown = done.stderr.decode("utf-8", "replace").strip()
            # MariaDB's client shows the statement first, which may hold a password
            raise ServerError(shown[shown.find("ERROR ") :] if "ERROR " in shown else shown or f"{words[0]}: exit code {done.returncode}")
        return done.stdout


class Rehearsal:
    """The scratch database, while it exists."""

    def __init__(self, server: Server, account: Account) -> None:
        self._server = server
        self._account = account

    def run(self, sql: bytes) -> None:
        """Run a schema file on the copy. Raises ``ServerError``; the real database is never changed."""
        own = b"".join(map(without_definers, sql.splitlines(keepends=True)))
        with self._client() as (words, descriptor):
            self._server._run(words, own, descriptor)

    def fill(self, database: str) -> None:
        """Copy a database into it. Raises ``ServerError``."""
        with self._server.root() as (first, descriptors):
            self._copy(database, first, descriptors)
        self._stub_events(database)

    def _copy(self, database: str, first: list[str], descriptors: list[int]) -> None:
        dump = [
            _find(f"{self._server.flavor}-dump") or "mysqldump", *first, "--protocol=socket", f"--socket={SOCKET}",
            "--single-transaction", "--quick", "--routines", "--triggers", "--hex-blob", "--no-tablespaces",
            "--default-character-set=utf8mb4", *(["--set-gtid-purged=OFF"] if self._server.flavor == "mysql" else []), database,
        ]  # fmt: skip
        with self._client() as (words, descriptor):
            reader = subprocess.Popen(dump, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_ENVIRONMENT, pass_fds=descriptors)
            writer = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=_ENVIRONMENT, pass_fds=(descriptor,))
            with reader.stdout:  # type: ignore[union-attr]
                _pump(map(without_definers, reader.stdout or []), writer)
            _end(writer, "loading the copy")
            _end(reader, "copying the database")

    def _stub_events(self, database: str) -> None:
        # only the names, which a file can alter or drop, because a real copy of an event would run
        events = self._server.query(f"SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {quote_text(database)}")
        self.run("".join(f"CREATE EVENT {quote_name(name)} ON SCHEDULE EVERY 1 YEAR DISABLE DO DO 0;\n" for (name,) in events).encode())

    @contextlib.contextmanager
    def _client(self) -> Iterator[tuple[list[str], int]]:
        with _options(user=self._account.name, password=self._account.password or "") as (option, descriptor):
            words = self._server._client(option)
            yield [*words, "--init-command=SET SESSION sql_log_bin = 0", SCRATCH], descriptor


@contextlib.contextmanager
def _options(**options: str) -> Iterator[tuple[str, int]]:
    """The argument that gives a client its options, which must not be among its arguments, and the descriptor that they are read from."""
    reading, writing = os.pipe()
    try:
        with open(writing, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(option_file(**options))
        yield f"--defaults-file=/dev/fd/{reading}", reading
    finally:
        os.close(reading)


def new_password() -> str:
    """A password with 192 random bits."""
    return secrets.token_urlsafe(24) + "-aA1"  # the end pleases servers that ask for every kind of character


def _pump(lines: Iterable[bytes], writer: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):  # it has ended early, and its exit code says why
        for line in lines:
            writer.stdin.write(line)  # type: ignore[union-attr]


def _end(process: subprocess.Popen[bytes], doing: str) -> None:
    error = process.communicate()[1]
    if process.returncode:
        raise ServerError(f"{doing}: {error.decode('utf-8', 'replace').strip()}")


def _find(program: str) -> str | None:
    return shutil.which(program, path=_ENVIRONMENT["PATH"])


# No HOME: an option file in it might name another server, or a password.
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

_ACCOUNTS = "SELECT 'account', User, Host, SHA2(CONCAT(plugin, ':', authentication_string), 256), ssl_type FROM mysql.user"
MYSQL_STATE = f"{_ACCOUNTS};\nSELECT 'root', plugin = 'auth_socket' FROM mysql.user WHERE User = 'root' AND Host = 'localhost';\n"
MARIADB_STATE = (
    f"{_ACCOUNTS} WHERE is_role = 'N';\n"
    # auth_or lists all login methods, the one in Priv itself included
    "SELECT 'root', JSON_VALUE(Priv, '$.plugin') = 'unix_socket' AND COALESCE(JSON_LENGTH(Priv, '$.auth_or'), 1) = 1"
    " FROM mysql.global_priv WHERE User = 'root' AND Host = 'localhost';\n"
)
STATE = (
    "SELECT 'database', SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA;\n"
    "SELECT 'everybody', COUNT(*) FROM mysql.db WHERE User = '';\n"
    "SELECT 'test', COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'test';\n"
    f"SELECT 'ledger', TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_NAME = '{LEDGER}';\n"
)
