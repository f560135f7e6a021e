"""The parts of database management that need no server: quoting, privileges, plans, schema files."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import mysql_plan
from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_plan import (
    Plan,
    PlanError,
    Record,
    SchemaFile,
    pending_files,
    secure,
    wanted,
)
from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_server import State, new_password
from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_sql import (
    PRIVILEGES,
    Account,
    is_granted,
    option_file,
    password_in,
    problems_of,
    quote_name,
    quote_pattern,
    quote_text,
    revoke,
    without_definers,
)
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import read_environment_file
from ansible_collections.flaskops.hosting.plugins.modules.mysql_database import reject_shared
from ansible_collections.flaskops.hosting.plugins.plugin_utils.schema import SchemaError, read_schema
from ansible_collections.flaskops.hosting.plugins.plugin_utils.settings import without_secrets

READER = Account("reader", privileges=frozenset({"SELECT"}))
USAGE = "GRANT USAGE ON *.* TO `reader`@`localhost`"
SELECT = r"GRANT SELECT ON `web\_app`.* TO `reader`@`localhost`"


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """The empty record of a database, with its files below a temporary directory."""
    monkeypatch.setattr(mysql_plan, "RECORDS", tmp_path)
    return Record("web_app")


# -- text


@pytest.mark.parametrize(
    ("given", "quoted"),
    [("plain", "`plain`"), ("a`b", "`a``b`"), ("`; DROP DATABASE x; --", "```; DROP DATABASE x; --`")],
)
def test_names_are_quoted(given: str, quoted: str) -> None:
    assert quote_name(given) == quoted


@pytest.mark.parametrize(("given", "quoted"), [("webapp", "`webapp`"), ("web_app", r"`web\_app`"), ("50%", r"`50\%`")])
def test_database_of_a_grant_is_no_pattern(given: str, quoted: str) -> None:
    assert quote_pattern(given) == quoted


@pytest.mark.parametrize(
    ("given", "quoted"),
    [("", "''"), ("it's", r"'it\'s'"), ("back\\", r"'back\\'"), ("a\nb\rc", r"'a\nb\rc'"), ("\0\x1a", r"'\0\Z'"), ('"ペン 🐙"', "'\"ペン 🐙\"'")],
)
def test_texts_are_quoted(given: str, quoted: str) -> None:
    assert quote_text(given) == quoted


def test_option_file_keeps_one_line_per_option() -> None:
    assert option_file(user="reader", password='a"b\\c\nd # e') == '[client]\nuser="reader"\npassword="a\\"b\\\\c\\nd # e"\n'


@pytest.mark.parametrize(
    ("line", "own"),
    [
        (b"CREATE DEFINER=`root`@`localhost` PROCEDURE `p`()\n", b"CREATE  PROCEDURE `p`()\n"),
        (b"/*!50013 DEFINER=`root`@`%` SQL SECURITY DEFINER */\n", b"/*!50013  SQL SECURITY DEFINER */\n"),
        (b"/*!50003 CREATE*/ /*!50017 DEFINER=`a``b`@`h`*/ /*!50003 TRIGGER t\n", b"/*!50003 CREATE*/ /*!50017 */ /*!50003 TRIGGER t\n"),
        (b"  create definer = 'me'@'localhost' view v as select 1\n", b"  create  view v as select 1\n"),
        (b"INSERT INTO t VALUES ('CREATE DEFINER=`root`@`localhost` VIEW');\n", None),
    ],
)
def test_definers_are_taken_out_of_definitions_alone(line: bytes, own: bytes | None) -> None:
    assert without_definers(line) == (line if own is None else own)


def test_generated_passwords_are_long_and_different() -> None:
    made = {new_password() for _one in range(100)}
    assert len(made) == 100 and all(len(one) >= 36 and one.isascii() and "'" not in one for one in made)


# -- what is rejected


@pytest.mark.parametrize("name", ["web`app", "", "a b", "a;b", "mysql", "sys", "test", "flaskops_rehearsal", "x" * 65, "-x", "ペン", "../x"])
def test_bad_database_names(name: str) -> None:
    assert [problem for problem in problems_of(name, []) if problem.startswith(f"database: got {name!r}")]


@pytest.mark.parametrize(
    ("account", "word"),
    [
        ({"name": "a`b"}, "name"),
        ({"name": "root"}, "name"),
        ({"name": "flaskops_trial"}, "name"),
        ({"name": "x" * 33}, "name"),
        ({"name": "a", "host": "b c"}, "host"),
        ({"name": "a", "host": "x'y"}, "host"),
        ({"name": "a", "privileges": ["SELEKT"]}, "SELEKT"),
        ({"name": "a", "privileges": ["SELECT ON *.* TO root"]}, "privileges"),
        ({"name": "a", "password": ""}, "password"),
        ({"name": "a", "password": 7}, "password"),
        ({"name": "a", "password": "x" * 256}, "password"),
        ({"name": "a", "password": "x\0"}, "password"),
    ],
)
def test_bad_accounts(account: dict[str, Any], word: str) -> None:
    problems = list(problems_of("webapp", [account]))
    assert len(problems) == 1 and problems[0].startswith("accounts: ") and word in problems[0]


def test_accounts_of_one_name() -> None:
    assert "2 times" in next(problems_of("webapp", [{"name": "a"}, {"name": "a", "host": "10.0.0.%"}]))


def test_account_of_another_database_is_not_shared(record: Record) -> None:
    as_it_is(record, READER)
    reject_shared([Account("reader", "10.0.0.%"), Account("writer")], [record])
    with pytest.raises(PlanError, match="reader@localhost is the database web_app's"):
        reject_shared([READER], [record])


def test_good_input_has_no_problems() -> None:
    accounts: list[dict[str, Any]] = [
        {"name": "a", "privileges": ["select", "create  view"], "host": None},
        {"name": "b-2", "host": "10.0.0.%", "password": "p"},
    ]
    accounts += [{"name": "c", "host": "10.0.0.0/255.255.255.0"}, {"name": "d", "host": "::1"}, {"name": "e", "host": "%"}]
    assert list(problems_of("web_app-2", accounts)) == []


def test_passwords_are_not_among_what_is_shown() -> None:
    spec = {"options": {"name": {"type": "str"}, "password": {"type": "str", "no_log": True}}}
    assert without_secrets([{"name": "a", "password": "secret", "pasword": "secret"}], spec) == [{"name": "a"}]
    assert without_secrets("secret", spec) == "a str" and without_secrets(["secret"], spec) == "a list"
    assert without_secrets(["shown"], {"elements": "str"}) == ["shown"]
    assert "secret" not in repr(Account("a", password="secret")) + repr(Plan(passwords={"a": "secret"}))


# -- privileges


@pytest.mark.parametrize(
    ("grants", "granted"),
    [
        ([USAGE, SELECT], True),
        ([USAGE + " IDENTIFIED BY PASSWORD '*94BD' REQUIRE SSL", SELECT], True),
        ([USAGE], False),
        ([SELECT.replace("SELECT", "SELECT, INSERT")], False),
        ([USAGE, SELECT + " WITH GRANT OPTION"], False),
        ([USAGE, SELECT.replace(r"\_", "_")], False),
        ([USAGE, SELECT.replace(r"web\_app", "other")], False),
        ([USAGE.replace("USAGE", "PROCESS"), SELECT], False),
        ([USAGE, SELECT, r"GRANT SELECT (a, b) ON `web_app`.`t` TO `reader`@`localhost`"], False),
        ([USAGE, SELECT, "GRANT `boss`@`%` TO `reader`@`localhost`"], False),
    ],
)
def test_privileges_are_compared_exactly(grants: list[str], granted: bool) -> None:
    assert is_granted(grants, READER, "web_app") is granted


def test_all_privileges_in_other_words() -> None:
    for words in (["ALL"], ["all privileges"], sorted(PRIVILEGES), ["SELECT", "ALL"]):
        account = Account.from_option({"name": "a", "privileges": words})
        assert is_granted(["GRANT ALL PRIVILEGES ON `web`.* TO `a`@`localhost`"], account, "web")


def test_roles_are_revoked_too() -> None:
    taken = revoke([USAGE, "GRANT `boss`@`%` TO `reader`@`localhost`"], READER)
    assert taken == "REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'reader'@'localhost';\nREVOKE `boss`@`%` FROM 'reader'@'localhost';\n"


# -- plans


def plan_of(record: Record, state: State, accounts: list[Account], grants: dict[str, list[str]] | None = None) -> Plan:
    """The plan for a database without schema files."""
    plan = Plan()
    wanted(plan, record, state, accounts, grants or {}, [], {})
    return plan


def as_it_is(record: Record, account: Account, password: str = "kept") -> State:
    """Files and a server that have the account as it is wanted."""
    record.accounts[account.name] = {"host": account.host, "fingerprint": "f"}
    record.directory.mkdir(exist_ok=True)
    record.environment(account.name).write_text(mysql_plan.environment_of(record.database, account.name, password), encoding="utf-8")
    tls = {(account.name, account.host)} if account.needs_tls else set()
    return State(databases={record.database: "utf8mb4"}, fingerprints={(account.name, account.host): "f"}, tls_accounts=tls)


def test_new_account_gets_a_password_of_its_own(record: Record) -> None:
    plan = plan_of(record, State(), [READER])
    written = read_environment_file(plan.environments["reader"])
    assert written["DATABASE_PASSWORD"] == plan.passwords["reader"] and written["DATABASE_NAME"] == "web_app"
    assert plan.passwords["reader"] in "".join(plan.statements) and plan.passwords["reader"] not in str(plan.diff)
    assert plan.after == [
        "database web_app (utf8mb4)", "account reader@localhost: SELECT", "password of reader@localhost, generated on this host",
    ]  # fmt: skip


def test_url_has_all_that_a_client_needs_percent_encoded() -> None:
    written = read_environment_file(mysql_plan.environment_of("web_app", "reader", "a@b/c?d&é'\n %2"))
    url = urlsplit(written["DATABASE_URL"])
    assert (url.scheme, url.username, url.hostname, url.path) == ("mysql+pymysql", "reader", "localhost", "/web_app")
    assert unquote(url.password or "") == written["DATABASE_PASSWORD"]
    assert parse_qs(url.query) == {"unix_socket": [written["DATABASE_SOCKET"]], "charset": ["utf8mb4"]}


def test_nothing_changes_if_all_is_as_wanted(record: Record) -> None:
    assert not plan_of(record, as_it_is(record, READER), [READER], {READER.label: [USAGE, SELECT]}).changes


@pytest.mark.parametrize("password", ["it's", 'a"b\\', "ペン\n🐙"])
def test_given_password_that_is_there_is_not_set_again(record: Record, password: str) -> None:
    account = Account("reader", privileges=READER.privileges, password=password)
    assert not plan_of(record, as_it_is(record, account, password), [account]).changes
    other = Account("reader", privileges=READER.privileges, password=password + "!")
    assert plan_of(record, as_it_is(record, account, password), [other]).after == ["password of reader@localhost, given"]


def test_password_that_somebody_changed_is_set_again(record: Record) -> None:
    state = as_it_is(record, READER)
    state.fingerprints[READER.name, READER.host] = "another"
    plan = plan_of(record, state, [READER])
    assert plan.after == ["password of reader@localhost, kept on this host"] and plan.passwords == {"reader": "kept"}


def test_account_from_elsewhere_needs_tls(record: Record) -> None:
    far = Account("far", "10.0.0.%", frozenset({"SELECT"}))
    assert "REQUIRE SSL" in "".join(plan_of(record, State(), [far]).statements)
    state = as_it_is(record, far)
    assert not plan_of(record, state, [far]).changes
    state.tls_accounts.clear()
    assert plan_of(record, state, [far]).statements == ["ALTER USER 'far'@'10.0.0.%' REQUIRE SSL;\n"]


def test_account_that_moved_or_left_is_dropped(record: Record) -> None:
    state = as_it_is(record, READER)
    moved = plan_of(record, state, [Account("reader", "10.0.0.%", READER.privileges)])
    assert moved.before == ["account reader@localhost"] and moved.passwords == {"reader": "kept"}
    assert plan_of(record, state, []).statements == ["DROP USER IF EXISTS 'reader'@'localhost';\n"]


def test_database_in_another_charset_is_altered(record: Record) -> None:
    assert plan_of(record, State(databases={"web_app": "latin1"}), []).statements == ["ALTER DATABASE `web_app` CHARACTER SET utf8mb4;\n"]


def test_server_is_secured_once() -> None:
    plan = Plan()
    secure(plan, State(), "mysql")
    assert not plan.changes
    state = State(anonymous=[Account("", "h")], remote_roots=[Account("root", "%")], root_by_socket=False, databases={"test": "utf8mb4"})
    secure(plan, state, "mariadb")
    assert len(plan.before) == 4 and "VIA unix_socket" in "".join(plan.statements)
    with pytest.raises(PlanError, match="2 tables"):
        secure(Plan(), State(databases={"test": "utf8mb4"}, tables_of_test=2), "mysql")


def test_record_is_read_as_it_was_written(record: Record) -> None:
    as_it_is(record, READER)
    record.state = "present"
    record.write()
    assert Record.read("web_app") == record and Record.others("web_app") == [] and Record.others("other") == [record]
    assert (mysql_plan.RECORDS / "web_app.json").stat().st_mode & 0o777 == 0o600
    assert record.password("reader") == "kept" and record.password("nobody") is None
    record.environment("reader").write_bytes(b'DATABASE_PASSWORD="two\r\nlines"\n')
    assert record.password("reader") == "two\r\nlines"


# -- schema files


def test_pending_files_keep_their_order() -> None:
    files = [SchemaFile(name, name.encode()) for name in ("b.sql", "a.sql", "c.sql")]
    assert [one.name for one in pending_files(files, {"a.sql": files[1].digest})] == ["b.sql", "c.sql"]
    assert pending_files(files[:1], {"b.sql": files[0].digest, "gone.sql": "0"}) == []


def test_changed_file_is_rejected() -> None:
    with pytest.raises(PlanError, match=r"b\.sql has changed since"):
        pending_files([SchemaFile("b.sql", b"new")], {"b.sql": SchemaFile("b.sql", b"old").digest})


def test_schema_files_are_read_in_order(tmp_path: Path) -> None:
    for name in ("2.sql", "1.sql"):
        (tmp_path / name).write_text(f"-- ペン {name}", encoding="utf-8")
    found = read_schema([str(tmp_path / "2.sql"), str(tmp_path / "1.sql")])
    assert list(found) == ["2.sql", "1.sql"] and found["1.sql"].decode() == "-- ペン 1.sql"


def test_schema_files_that_cannot_be_sent(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for path in (tmp_path / "a.sql", tmp_path / "sub/a.sql"):
        path.write_text("SELECT 1")
    (tmp_path / "latin.sql").write_bytes(b"\xe9")
    for paths, word in ((["nowhere.sql"], "no file"), (["a.sql", "sub/a.sql"], "two files"), (["latin.sql"], "UTF-8")):
        with pytest.raises(SchemaError, match=word):
            read_schema([str(tmp_path / path) for path in paths])


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("[client]\nuser=root\npassword=s3cret\n", "s3cret"),
        ("[client]\npassword = s3cret # of root\n", "s3cret"),
        ('[client]\npassword = "a #b"\n', "a #b"),
        ("[mysql]\npassword='it''s'\n", "it"),
        ("[ Client ]\n  password = 'a\\\\b\\'c\\s'  \n", "a\\b'c "),
        ("[client]\npassword=one\n[mysql]\npassword=two\n", "two"),
        ("[client]\npassword=\n", ""),
        ("[mysqldump]\npassword=s3cret\n", None),
        ("[client]\nuser=root\n#password=x\n", None),
    ],
)
def test_roots_own_option_file_has_its_password(text: str, password: str | None) -> None:
    assert password_in(text) == password


@pytest.mark.parametrize("password", ["plain", 'a"b', "c\\d", "e#f", "tab\t", "two\nlines", " spaces ", "ペン"])
def test_an_option_file_is_read_as_it_was_written(password: str) -> None:
    assert password_in(option_file(user="root", password=password)) == password
