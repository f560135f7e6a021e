#!/usr/bin/python
# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Manage one database of a MySQL or MariaDB server, with its accounts and its schema."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_database
short_description: Manage one database of a MySQL or MariaDB server, with its accounts and its schema
version_added: 0.1.0
description:
  - Manages a database in utf8mb4, accounts with exactly the given privileges on that database and nowhere else, and schema files,
    each applied once. All of it takes one round trip.
  - It works as root over the server's unix socket, with the distribution's own client. The SQL goes to the client's standard
    input, so that no password is ever among a process's arguments.
  - It removes anonymous accounts and an empty database C(test) from the server, and lets root log in over the socket only.
  - Schema files that the database has not seen are first tried together on a scratch copy of it, by an account that can touch nothing else.
    An error there is shown with the file and the server's message, and the database is not changed.
author: flaskops contributors (@flaskops)
options:
  database:
    description: Name of the database. 1 to 64 letters, digits, C(_) and C(-).
    type: str
    required: true
  accounts:
    description: The accounts that use the database. An account that was in the list before, and no longer is, is dropped.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the account.
        type: str
        required: true
      privileges:
        description: What it may do in the database, such as V(SELECT). V(ALL) stands for everything. It has no other privileges.
        type: list
        elements: str
        default: []
      host:
        description:
          - From where it may connect. V(localhost), an address, or a pattern such as C(10.0.0.%).
          - From anywhere but V(localhost) it must use TLS.
        type: str
        default: localhost
      password:
        description: Its password. If it is left out, the host generates one, and the password never leaves the host.
        type: str
  schema:
    description:
      - Files of SQL on the controller, in UTF-8, in the order in which they are applied. The database keeps their names and
        hashes in its table C(flaskops_schema).
      - A file that was applied and has changed since is rejected.
    type: list
    elements: path
    default: []
  state:
    description:
      - V(present) brings the database, its accounts and its schema to what is given here. The server must be installed.
      - V(absent) drops the accounts and, if no other database needs the server, stops and disables it. The database itself stays,
        unless O(remove_data=true).
    type: str
    choices: [present, absent]
    default: present
  remove_data:
    description: Whether O(state=absent) drops the database too.
    type: bool
    default: false
  leaving:
    description:
      - Apps of this collection that this run removes, so that they do not count as users of the database. O(state=absent) rejects a
        database that another live app of the host uses.
    type: list
    elements: str
    default: []
  payload:
    description: Internal. The controller moves O(accounts) and O(schema) here.
    type: str
notes:
  - It needs root on the host, and MySQL or MariaDB with its client from the distribution.
  - M(community.mysql.mysql_user) and similar modules take the password from the controller, need a round trip for each task, and set the
    password again in each run if the server keeps it by C(caching_sha2_password).
seealso:
  - module: community.mysql.mysql_db
  - module: community.mysql.mysql_user
attributes:
  check_mode:
    support: full
    description: Shows every change. If no server answers, it uses what the host has noted, or assumes an empty server.
  diff_mode:
    support: full
    description: Shows each database, account, password and file that changes, but never a password itself.
"""

EXAMPLES = r"""
- name: Make a database with an account that can only read it
  flaskops.hosting.mysql_database:
    database: webapp
    accounts:
      - {name: reader, privileges: [SELECT]}
      - {name: writer, privileges: [SELECT, INSERT], password: "{{ vaulted_password }}"}
    schema:
      - "{{ playbook_dir }}/schema/001-product.sql"
  register: database

- name: Show the file that tells an app how to reach it
  ansible.builtin.debug:
    msg: "{{ database.environment_files.reader }}"

- name: Remove the accounts, and keep the data
  flaskops.hosting.mysql_database:
    database: webapp
    state: absent
"""

RETURN = r"""
environment_files:
  description: For each account, the file, readable by root only, with C(DATABASE_HOST), C(DATABASE_PORT), C(DATABASE_SOCKET), C(DATABASE_NAME),
    C(DATABASE_USER), C(DATABASE_PASSWORD) and C(DATABASE_URL), which has all of them for SQLAlchemy with PyMySQL. In the syntax of systemd's
    C(EnvironmentFile=).
  returned: when O(state=present)
  type: dict
  sample: {reader: /etc/flaskops/databases/webapp/reader.env}
applied:
  description: The schema files that this run applied, or would.
  returned: when O(state=present)
  type: list
  elements: str
  sample: [001-product.sql]
kept:
  description: Whether the database itself was kept.
  returned: when O(state=absent)
  type: bool
  sample: true
others:
  description: The other databases on the host that this module manages.
  returned: always
  type: list
  elements: str
  sample: [shop]
"""

import base64
import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, settle, unit_properties
from ansible_collections.flaskops.hosting.plugins.module_utils.database_use import apps_that_use
from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_plan import (
    RECORDS,
    Plan,
    PlanError,
    Record,
    SchemaFile,
    secure,
    wanted,
)
from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_server import Server, ServerError, State
from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_sql import (
    SCRATCH,
    SYSTEM_DATABASES,
    Account,
    problems_of,
    quote_name,
)
from ansible_collections.flaskops.hosting.plugins.module_utils.record import Record as AppRecord
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import hide_secrets, open_lock, write_private

ARGUMENTS: dict[str, Any] = {
    "database": {"type": "str", "required": True},
    "accounts": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "privileges": {"type": "list", "elements": "str", "default": []},
            "host": {"type": "str", "default": "localhost"},
            "password": {"type": "str", "no_log": True},
        },
    },
    "schema": {"type": "list", "elements": "path", "default": []},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "remove_data": {"type": "bool", "default": False},
    "leaving": {"type": "list", "elements": "str", "default": []},
    "payload": {"type": "str", "no_log": True},
}


def present(options: dict[str, Any], server: Server, check_mode: bool) -> dict[str, Any]:
    """Set up the database and return the module's result. Raises ``PlanError`` and ``ServerError``."""
    payload = json.loads(base64.b64decode(options["payload"]))
    accounts = [Account.from_option(one) for one in payload["accounts"]]
    files = [SchemaFile.from_payload(one) for one in payload["schema"]]
    record, others = Record.read(options["database"]), Record.others(options["database"])
    reject_shared(accounts, others)
    plan = make_plan(record, accounts, files, server, check_mode)
    result = {
        "changed": plan.changes,
        "diff": plan.diff,
        "environment_files": {one.name: str(record.environment(one.name)) for one in accounts},
        "applied": [one.name for one in plan.pending],
        "others": [one.database for one in others if one.state == "present"],
    }
    if plan.changes and not check_mode:
        try:
            carry_out(plan, record, accounts, files, server)
        except ServerError as error:
            raise ServerError(hide_secrets(str(error), plan.passwords)) from error
    return result


def reject_shared(accounts: list[Account], others: list[Record]) -> None:
    """Reject an account that another database has: each must have exactly its own privileges. Raises ``PlanError``."""
    for other in others:
        for account in accounts:
            if other.accounts.get(account.name, {}).get("host") == account.host:
                raise PlanError(f"accounts: {account.label} is the database {other.database}'s; give this database an account of its own")


def reject_used(database: str, leaving: list[str]) -> None:
    """Reject to take a database away from an app that is live and stays. Raises ``PlanError``."""
    users = [app for app in apps_that_use(database, AppRecord.read_all().values()) if app not in leaving]
    if users:
        raise PlanError(f"database: got {database!r}, which {', '.join(users)} uses on this host; remove that app first, or keep the database")


def make_plan(record: Record, accounts: list[Account], files: list[SchemaFile], server: Server, check_mode: bool) -> Plan:
    """What there is to do. Raises ``PlanError``, and ``ServerError`` if no server answers and this is no dry run."""
    plan = Plan()
    if check_mode and not server.answers():
        wanted(plan, record, noted_state(record), accounts, {}, files, record.schema)
    else:
        state = server.read()
        there = [one for one in accounts if (one.name, one.host) in state.fingerprints]
        applied = server.applied(record.database) if record.database in state.ledgers else {}
        secure(plan, state, server.flavor)
        wanted(plan, record, state, accounts, server.grants(there), files, applied)
    if record.state != "present" and not plan.changes:
        plan.change("", f"record of the database {record.database}")
    return plan


def noted_state(record: Record) -> State:
    """The state of a stopped server, as far as the host has noted it."""
    found = {(name, noted["host"]): noted["fingerprint"] for name, noted in record.accounts.items()}
    return State(databases={record.database: "utf8mb4"} if record.state else {}, fingerprints=found)


def carry_out(plan: Plan, record: Record, accounts: list[Account], files: list[SchemaFile], server: Server) -> None:
    """Do what was planned: try the schema, write the files, run the statements. Raises ``ServerError``."""
    database = record.database
    if plan.pending:
        rehearse(plan, database, server)
    hosts = {one.name: one.host for one in accounts}
    leaving = [name for name in record.accounts if name not in hosts]
    # the password first: if this run is killed now, the next one finds the password here, and sets it
    record.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in plan.environments.items():
        write_private(record.environment(name), text)
    server.query("".join(plan.statements))
    for name in leaving:
        record.environment(name).unlink(missing_ok=True)
    fingerprints = server.read().fingerprints
    record.state = "present"
    record.accounts = {name: {"host": host, "fingerprint": fingerprints[name, host]} for name, host in hosts.items()}
    record.write()
    for one in plan.pending:
        try:
            server.load(database, one.text)
        except ServerError as error:
            raise ServerError(
                f"{one.name}: {error}. On a copy of the database it succeeded, so something has changed in between; what comes "
                "before that line is done, and cannot be undone"
            ) from error
        server.record(database, one.name, one.digest)
        record.schema[one.name] = one.digest
        record.write()


def rehearse(plan: Plan, database: str, server: Server) -> None:
    """Try the pending files on a copy of the database. Raises ``ServerError`` that names the file."""
    with server.rehearsal(database if database in server.read().databases else None) as copy:
        for one in plan.pending:
            try:
                copy.run(one.text)
            except ServerError as error:
                said = str(error).replace(SCRATCH, database)
                raise ServerError(f"{one.name}: {said}\nThis was a test on a copy; the database {database} was not touched") from error


def absent(options: dict[str, Any], server: Server, check_mode: bool) -> dict[str, Any]:
    """Drop the accounts and maybe the database, and return the module's result. Raises ``PlanError`` and ``ServerError``."""
    record, others = Record.read(options["database"]), Record.others(options["database"])
    reject_used(record.database, options["leaving"])
    drops = record.state != "" and options["remove_data"]
    result = {"kept": record.state != "" and not drops, "others": [one.database for one in others if one.state == "present"]}
    leaving = [Account(name, noted["host"]) for name, noted in sorted(record.accounts.items())]
    plan = Plan()
    for account in leaving:
        plan.change(f"account {account.label}", "", f"DROP USER IF EXISTS {account.quoted};\n")
        plan.change(f"file {record.environment(account.name)}", "")
    if drops:
        plan.change(f"database {record.database}", "", f"DROP DATABASE IF EXISTS {quote_name(record.database)};\n")
    elif record.state == "present":
        plan.change(f"record of the database {record.database}: present", f"record of the database {record.database}: kept")
    answers = server.answers()
    stops = bool(plan.changes and not result["others"] and not (answers and foreign_databases(server, record, others)))
    if stops and answers:
        plan.change(f"service {server.unit}: enabled and started", f"service {server.unit}: disabled and stopped")
    if plan.changes and not check_mode:
        take_away(plan, record, server, drops=drops, stops=stops)
    return {**result, "changed": plan.changes, "diff": plan.diff}


def foreign_databases(server: Server, record: Record, others: list[Record]) -> set[str]:
    """The databases that somebody else uses the server for."""
    return set(server.read().databases) - SYSTEM_DATABASES - {SCRATCH, "test", record.database, *(one.database for one in others)}


def take_away(plan: Plan, record: Record, server: Server, *, drops: bool, stops: bool) -> None:
    """Run the statements, for which the server may have to be started, and remove the files. Raises ``ServerError``."""
    if server.flavor:
        systemctl("start", server.unit)
        server.clear_rehearsal()
        server.query("".join(plan.statements))
    if server.flavor and stops:
        systemctl("stop", server.unit)
        systemctl("disable", server.unit)
    shutil.rmtree(record.directory, ignore_errors=True)
    if not drops:
        record.state, record.accounts = "kept", {}
        record.write()
        return
    (RECORDS / f"{record.database}.json").unlink(missing_ok=True)
    for directory in (RECORDS, RECORDS.parent):
        with contextlib.suppress(OSError):  # something else is in it
            directory.rmdir()


def systemctl(verb: str, unit: str) -> None:
    """Start, stop or disable the server. Raises ``ServerError`` if systemd cannot."""
    if verb == "disable" and unit_properties(unit, "UnitFileState").get("UnitFileState") != "enabled":
        return
    done = run("systemctl", "--quiet", verb, unit)
    if done.returncode:
        raise ServerError(f"systemctl {verb} {unit}: exit code {done.returncode}\n{done.stdout.strip()}")


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Make another run on this host wait, because there is only one scratch database."""
    with open_lock(".databases") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, required_if=[("state", "present", ("payload",))])
    settle()
    options: dict[str, Any] = module.params
    problems = list(problems_of(options["database"], []))
    if problems:
        module.fail_json(msg="\n".join([*problems, "Nothing was changed."]))
    act = {"present": present, "absent": absent}[options["state"]]
    try:
        with contextlib.nullcontext() if module.check_mode else lock():
            result = act(options, Server(), module.check_mode)
    except PlanError as error:
        module.fail_json(msg=f"{error}\nNothing was changed.")
    except ServerError as error:
        module.fail_json(msg=f"{options['database']}: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
