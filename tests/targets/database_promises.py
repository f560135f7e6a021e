"""What the role mysql_webapp promises on either server, as tests that MariaDB and Oracle MySQL both run, each on a target of its own."""

from __future__ import annotations

import base64
import re
import shlex
from pathlib import Path
from typing import Any, ClassVar

import pymysql
import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils.database_use import MYSQLS_OWN
from ansible_collections.flaskops.hosting.tests.targets.harness import Play, Target, differences, missing

PLAYBOOK = Path(__file__).resolve().parent / "playbooks/mysql_webapp.yml"
ATTEMPTS = PLAYBOOK.with_name("mysql_attempts.yml")
MARK = "Zr9-Qx7vKw2m"  # in every given password, so that a trace of any of them is found
PASSWORD = f"{MARK} \"double\" 'single' \\ # $HOME %h ペン 🐙"
ENVIRONMENTS = "/etc/flaskops/databases/web_app"
PRODUCTS = """
-- 商品 (goods)
CREATE TABLE product (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL COMMENT '名前', price INT NOT NULL);
INSERT INTO product (name, price) VALUES ('ペン 🖊', 100), ('quote '' \\\\ ; -- end', 7);
"""
PROGRAMS = """
DELIMITER //
CREATE TRIGGER cheapest BEFORE INSERT ON product FOR EACH ROW BEGIN IF NEW.price < 1 THEN SET NEW.price = 1; END IF; END//
CREATE PROCEDURE count_products() BEGIN /* 数える; */ SELECT COUNT(*) FROM product; END//
CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN 2 * n//
DELIMITER ;
CREATE VIEW dear AS SELECT name FROM product WHERE twice(price) > 100;
CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY DO DELETE FROM product WHERE price = 0;
"""
# The last statement has no semicolon, which the client forgives.
FOLLOWS = "DROP EVENT tidy;\nINSERT INTO product (name, price) VALUES ('free', 0)"
# Stands before the server's own programs on root's PATH, and notes what each call could let others see.
WRAPPER = """#!/bin/sh
echo "$0 $*" | cat - /proc/self/environ >>/root/arguments
exec "/usr/bin/${0##*/}" "$@"
"""
# What a schema file may try, and what the server or its client says of it.
REACHES = {
    "use": ("USE mysql;\nSELECT 1;", "denied"),
    "drop": ("DROP TABLE web_app.product;", "denied"),
    "account": ("CREATE USER mine@localhost;", "CREATE USER"),
    "shell": ("\\! touch /root/reached", "was not touched"),
}
PROGRAMS_TO_WATCH = "/usr/sbin/mariadb /usr/sbin/mariadb-dump /usr/sbin/mysql /usr/sbin/mysqldump"


def leaks(text: str, secret: str) -> list[str]:
    """The forms in which a text shows a secret: plain, and in base64 at each of its three offsets."""
    encoded = [base64.b64encode(b" " * shift + secret.encode()).decode()[4 if shift else 0 : -4] for shift in range(3)]
    return [form for form in [secret, *encoded] if form in text]


def names_in(inside: str) -> list[str]:
    """What a server has inside, without the passwords, whose salt is another one each time that they are set."""
    return [re.sub(r"\t[0-9A-F]{16,}\t", "\t", line) for line in inside.splitlines()]


class Server:
    """A target, and how to ask its server."""

    def __init__(self, target: Target, flavor: str, schema: Path) -> None:
        self.target = target
        self.flavor = flavor
        self.schema = schema
        self.unit = f"{flavor}.service"

    def database(self, **settings: Any) -> dict[str, Any]:
        """The variables of the tests' database; a setting's name lacks its `mysql_webapp_`."""
        values = {
            "flavor": "auto" if self.flavor == "mariadb" else "mysql",
            "database": "web_app",
            "accounts": [
                {"name": "reader", "privileges": ["SELECT"]},
                {"name": "writer", "privileges": ["insert", "SELECT"], "password": PASSWORD},
            ],
            "schema": self.files(),
            **settings,
        }
        return {f"mysql_webapp_{name}": value for name, value in values.items()}

    def files(self) -> list[str]:
        """All schema files, in their order."""
        return sorted(map(str, self.schema.glob("0*.sql")))

    def play(self, *arguments: str, databases: list[dict[str, Any]] | None = None, **settings: Any) -> Play:
        """Run the role for the database with these settings, or for these databases."""
        databases = databases or [self.database(**settings)]
        return self.target.play(None, *arguments, playbook=PLAYBOOK, variables={"databases": databases})

    def converge(self, *arguments: str, **settings: Any) -> Play:
        """Run the role and insist that it ends well."""
        play = self.play(*arguments, **settings)
        assert play.returncode == 0, play.output
        return play

    def reject(self, *words: str, **settings: Any) -> None:
        """Run the role and insist that it fails with these words."""
        play = self.play(**settings)
        assert play.returncode == 2 and missing(play.output, words) == [], play.output

    def attempt(self, *arguments: str, **attempts: dict[str, Any]) -> dict[str, str]:
        """Run the role for databases that it must reject, each given by its settings; returns what it said of each, and in all as `all`."""
        tried = {name: self.database(**settings) for name, settings in attempts.items()}
        play = self.target.converge(None, *arguments, playbook=ATTEMPTS, variables={"attempts": tried})
        said = {}
        for name in attempts:
            _before, begun, rest = play.output.partition(f"[attempt: {name}]")
            said[name], rejected, _after = rest.partition(f"[rejected: {name}]")
            assert begun and rejected and "[attempt: " not in said[name], play.output
        return {**said, "all": play.output}

    def first_run(self) -> Play:
        """A verbose run with all that its programs are called with noted."""
        self.target.run(f"tee {PROGRAMS_TO_WATCH} >/dev/null && chmod 755 {PROGRAMS_TO_WATCH}", stdin=WRAPPER)
        play = self.converge("-vvv", "--diff")
        self.target.run(f"rm {PROGRAMS_TO_WATCH}")
        return play

    def sql(self, statements: str, database: str = "") -> str:
        """Run SQL as root; returns the rows."""
        words = f"{self.flavor} --no-defaults --user=root --default-character-set=utf8mb4 --batch --raw --skip-column-names {database}"
        return self.target.run(words, stdin=statements)

    def login(self, account: str, statement: str, *options: str, database: str = "web_app") -> str:
        """Run SQL as an account, with what its environment file says; returns rows or the error."""
        # systemd itself reads the file, as it will for an app
        tcp = "-h$DATABASE_HOST -P$DATABASE_PORT"
        script = (
            f"MYSQL_PWD=$DATABASE_PASSWORD exec {self.flavor} --no-defaults -u$DATABASE_USER {' '.join(options) or tcp} --batch --raw"
            f" --skip-column-names --default-character-set=utf8mb4 -e {shlex.quote(statement)} $DATABASE_NAME 2>&1"
        )
        file = f"{ENVIRONMENTS.replace('web_app', database)}/{account}.env"
        unit = f"systemd-run --quiet --pipe --wait --collect --property=EnvironmentFile={file} --property=User=nobody"
        lines = self.target.run(f"{unit} sh -c {shlex.quote(script)}", check=False).splitlines()
        return "\n".join(line for line in lines if not line.startswith("WARNING:"))  # of the client, about a password in its environment

    def environment(self, account: str) -> str:
        """An account's environment file."""
        return self.target.run(f"cat {ENVIRONMENTS}/{account}.env")

    def dump(self, database: str = "web_app") -> str:
        """All that a database holds."""
        tool = "mariadb-dump --no-defaults" if self.flavor == "mariadb" else "mysqldump --no-defaults --set-gtid-purged=OFF"
        return self.target.run(f"{tool} --skip-dump-date --routines --triggers --events {database}")

    def inside(self) -> str:
        """Databases, accounts with their passwords and privileges."""
        accounts = "SELECT User, Host, plugin, HEX(authentication_string), ssl_type FROM mysql.user"
        return self.sql(f"SHOW DATABASES; {accounts}; SELECT * FROM mysql.db")

    def listening(self) -> list[str]:
        """The addresses that the server listens on."""
        return sorted(re.findall(r"LISTEN +\S+ +\S+ +(\S+:(?:3306\d?|33060))\s", self.target.run("ss --listening --tcp --numeric")))

    @property
    def with_all_its_data(self) -> dict[str, Any]:
        """The settings for a database that is to go."""
        return {"state": "absent", "remove_data": True}

    def assert_nothing_is_left(self) -> None:
        """Of the tests' database, in a server that does not run and will not after a boot; it runs afterwards."""
        assert self.listening() == [] and not self.target.succeeds(f"systemctl is-active {self.unit} || systemctl is-enabled {self.unit}")
        assert not self.target.succeeds("ls -d /etc/flaskops || ls -d /var/lib/mysql/web*app")
        self.target.run(f"systemctl start {self.unit}")
        assert missing(self.inside(), ["web_app", "reader", "writer", "flaskops"]) == ["web_app", "reader", "writer", "flaskops"]

    def has_scratch(self) -> bool:
        """Whether a rehearsal has left anything behind."""
        return "flaskops_rehearsal" in self.inside() or "flaskops_trial" in self.inside()


class ServerPromises:
    """The promises, in the order in which a host meets them."""

    flavor: ClassVar[str]
    looks_first: ClassVar[bool]  # by dry runs, of which one server shows enough

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Server:
        """The module's target, and a directory with the first two schema files."""
        schema = tmp_path_factory.mktemp("schema")
        (schema / "001-products.sql").write_text(PRODUCTS, encoding="utf-8")
        (schema / "002-programs.sql").write_text(PROGRAMS, encoding="utf-8")
        return Server(target, cls.flavor, schema)

    @pytest.fixture(scope="class")
    @classmethod
    def real(cls, server: Server) -> Play:
        """The first run on the bare target."""
        return server.first_run()

    @pytest.fixture
    def host(self, server: Server, real: Play) -> Server:
        """The target with the database on it."""
        return server

    # -- what a run does

    def test_second_run_changes_nothing(self, host: Server) -> None:
        """Neither Ansible's count, nor a file, nor the server knows of a change; the server ran on."""
        state = "systemctl show --property=MainPID,ExecMainStartTimestamp " + host.unit
        before, inside, running = host.target.snapshot(), host.inside(), host.target.run(state)
        again = host.converge("--diff")
        assert (again.recap["changed"], again.changed, again.diffs) == (0, [], set())
        assert (differences(before, host.target.snapshot()), host.inside(), host.target.run(state)) == ({}, inside, running)

    # -- the server

    def test_server_is_the_one_that_was_asked_for(self, host: Server) -> None:
        """MariaDB or Oracle's MySQL, in utf8mb4, on loopback only, and it loads no files from clients."""
        assert ("MariaDB" in host.sql("SELECT VERSION()")) == (self.flavor == "mariadb")
        assert host.sql("SELECT @@character_set_server, @@local_infile, @@require_secure_transport") == "utf8mb4\t0\t0"
        assert host.sql("SELECT DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'web_app'") == "utf8mb4"
        assert host.listening() == ["127.0.0.1:3306"]
        assert host.target.run(f"systemctl is-enabled {host.unit}") == "enabled"
        assert not host.target.succeeds("ufw version"), "nobody else may connect, so there is nothing to open"

    def test_root_comes_by_the_socket_alone(self, host: Server) -> None:
        """As the system's root, without a password; nobody else, and not over TCP."""
        assert host.sql("SELECT CURRENT_USER()") == "root@localhost"
        nobody = f"setpriv --reuid=nobody --clear-groups {self.flavor} --user=root"
        assert "denied" in host.target.run(f"{nobody} -e 'SELECT 1' 2>&1", check=False)
        for password in ("", "-pinvalid"):
            assert "denied" in host.target.run(f"{self.flavor} --no-defaults -h127.0.0.1 -uroot {password} -e 'SELECT 1' 2>&1", check=False)

    def test_a_root_with_a_password_is_let_in_by_its_own_option_file(self, host: Server) -> None:
        """Without it, the error says where the password belongs; afterwards, root comes by the socket alone."""
        before = host.inside()
        password = 'to "the# root'
        login = (
            f"VIA mysql_native_password USING PASSWORD('{password}')" if self.flavor == "mariadb" else f"WITH caching_sha2_password BY '{password}'"
        )
        host.sql(f"ALTER USER root@localhost IDENTIFIED {login}")
        host.reject("Access denied for user 'root'@'localhost'", "Root has a password there; put it into /root/.my.cnf")
        host.target.run("umask 077 && cat >/root/.my.cnf", stdin=f"[client]\nuser = root\npassword = '{password}'\n")
        play = host.converge("--diff")
        assert play.changed == ["Set up the database, its accounts and its schema"]
        assert password not in play.output
        host.target.run("rm /root/.my.cnf")
        assert host.inside() == before

    def test_what_somebody_changed_by_hand_is_put_right(self, host: Server) -> None:
        """All in one run, and no password is set for nothing.

        What no server may have goes: an anonymous account, a root from elsewhere, privileges of everybody, a test database, root's password.
        Privileges are exact: what somebody granted goes, wherever it was; what somebody took comes back.
        """
        before = host.inside()
        host.sql(
            "CREATE USER ''@localhost; CREATE USER root@'%' IDENTIFIED BY 'Easy-1234'; GRANT ALL ON *.* TO root@'%'; CREATE DATABASE test;"
            "INSERT INTO mysql.db (Host, Db, User, Select_priv) VALUES ('%', 'test', '', 'Y'); FLUSH PRIVILEGES;"
        )
        if self.flavor == "mariadb":  # MySQL's root has one way in, and we would lock ourselves out
            host.sql("ALTER USER root@localhost IDENTIFIED VIA mysql_native_password USING PASSWORD('easy') OR unix_socket")
        host.sql(
            "GRANT DELETE ON `web\\_app`.* TO reader@localhost; GRANT SELECT ON mysql.* TO reader@localhost;"
            "GRANT PROCESS ON *.* TO reader@localhost; GRANT UPDATE ON web_app.product TO reader@localhost;"
            "REVOKE INSERT ON `web\\_app`.* FROM writer@localhost;"
        )
        play = host.converge("--diff")
        assert missing(play.output, ["-account @localhost", "-account root@%", "-privileges of all accounts", "-database test"]) == []
        assert missing(play.output, ["-account reader@localhost: other privileges", "+account reader@localhost: SELECT"]) == []
        assert host.sql("SHOW GRANTS FOR reader@localhost").count("GRANT") == 2
        assert "INSERT" in host.sql("SHOW GRANTS FOR writer@localhost")
        assert "+password of" not in play.output
        assert play.changed == ["Set up the database, its accounts and its schema"]
        assert host.inside() == before

    # -- accounts

    def test_environment_files_are_roots_alone(self, host: Server) -> None:
        """They hold what an app needs; systemd hands it over, and the server takes it, over TCP and over the socket."""
        names = ["DATABASE_HOST", "DATABASE_NAME", "DATABASE_PASSWORD", "DATABASE_PORT", "DATABASE_SOCKET", "DATABASE_URL", "DATABASE_USER"]
        assert re.findall(r"^(\w+)=", host.environment("reader"), re.MULTILINE) == names
        modes = host.target.run(f"stat --format='%a %U:%G %n' {ENVIRONMENTS}/* {ENVIRONMENTS}.json")
        assert [line.split()[:2] for line in modes.splitlines()] == [["600", "root:root"]] * 3
        for account in ("reader", "writer"):
            assert host.login(account, "SELECT CURRENT_USER()") == f"{account}@localhost"
            assert host.login(account, "SELECT CURRENT_USER()", "-S$DATABASE_SOCKET") == f"{account}@localhost"
        assert f'DATABASE_PASSWORD="{MARK} ' in host.environment("writer")
        generated = re.search(r'^DATABASE_PASSWORD="(.{30,})"$', host.environment("reader"), re.MULTILINE)
        assert generated and not host.target.succeeds(f"setpriv --reuid=nobody --clear-groups cat {ENVIRONMENTS}/reader.env")

    def test_account_may_do_what_it_is_for(self, host: Server) -> None:
        """The server rejects what was not granted, here and in every other database."""
        assert host.login("reader", "SELECT name FROM product WHERE id = 1") == "ペン 🖊"
        assert "INSERT command denied" in host.login("reader", "INSERT INTO product (name, price) VALUES ('x', 1)")
        insert = "INSERT INTO product (name, price) VALUES ('消しゴム 🧽', 0)"
        assert host.login("writer", f"{insert}; SELECT name, price FROM product WHERE id = 3") == "消しゴム 🧽\t1"
        assert "denied" in host.login("writer", "DELETE FROM product")
        host.sql("CREATE DATABASE webXapp; CREATE TABLE webXapp.t (a INT)")  # `_` in a grant stands for any character
        assert "denied" in host.login("reader", "SELECT * FROM webXapp.t")
        host.sql("DROP DATABASE webXapp")

    def test_accounts_come_and_go_and_change_their_passwords(self, host: Server) -> None:
        """As the list says. A given password, and one that somebody changed on the server, are set; no other. Who leaves loses the file too."""
        reader, before = host.environment("reader"), host.inside()
        reads, writes = host.database()["mysql_webapp_accounts"]
        temporary = {"name": "temporary", "privileges": ["ALL"]}
        output = host.converge("--diff", accounts=[reads, {**writes, "password": f"{MARK}-new"}, temporary]).output
        set_now = re.findall(r"^\+password of (.*)", output, re.MULTILINE)
        assert sorted(set_now) == ["temporary@localhost, generated on this host", "writer@localhost, given"]
        assert host.login("writer", "SELECT 1") == "1" and f'"{MARK}-new"' in host.environment("writer")
        assert "ALL PRIVILEGES" in host.sql("SHOW GRANTS FOR temporary@localhost")
        host.sql("ALTER USER reader@localhost IDENTIFIED BY 'Somebody-1234'")
        assert "denied" in host.login("reader", "SELECT 1")
        assert host.converge("--diff").output.count("-account temporary@localhost") == 1
        assert (host.login("reader", "SELECT 1"), host.login("writer", "SELECT 1"), host.environment("reader")) == ("1", "1", reader)
        assert not host.target.succeeds(f"ls {ENVIRONMENTS}/temporary.env")
        assert names_in(host.inside()) == names_in(before)

    # -- bad input, and secrets

    @pytest.fixture(scope="class")
    @classmethod
    def rejected(cls, server: Server, real: Play) -> dict[str, str]:
        """What verbose attempts say that must be rejected, by their names: none of them changes anything on the host or in the server."""

        def schema(name: str, text: str) -> list[str]:
            path = server.schema / "attempts" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return [str(path)]

        files = server.files()
        late = [*server.database()["mysql_webapp_accounts"], {"name": "late", "privileges": ["SELECT"]}]
        good = schema("003-good.sql", "CREATE TABLE extra (a INT);\nUPDATE product SET price = 999;\n")
        middle = "ALTER TABLE product ADD COLUMN colour INT;\nINSERT INTO nowhere VALUES (1);\nCREATE TABLE after_it (a INT);\n"
        reaching = {name: schema(f"003-{name}.sql", f"CREATE TABLE fine (a INT);\n{text}\n") for name, (text, _word) in REACHES.items()}
        attempts: dict[str, dict[str, Any]] = {
            "bad_input": {
                "database": "web`app", "accounts": [{"name": "w", "privileges": ["SELEKT"], "password": PASSWORD}], "schema": ["/nowhere.sql"],
                "listen": "everywhere", "flavor": "postgres", "acounts": [],
            },
            "other_flavor": {"flavor": "mysql" if cls.flavor == "mariadb" else "mariadb"},
            "error_in_the_middle": {"schema": [*files, *good, *schema("004-bad.sql", middle)], "accounts": late},
            "syntax": {"schema": [*files, *schema("003-syntax.sql", "SELEKT '鉛筆';\n")]},
            "data": {"schema": [*files, *schema("003-unique.sql", "DROP VIEW dear;\nALTER TABLE product ADD UNIQUE (price);\n")]},
            **{f"reaches_{name}": {"schema": [*files, *path]} for name, path in reaching.items()},
            "changed_file": {"schema": [*schema("001-products.sql", PRODUCTS + "-- one more line\n"), *files[1:]]},
        }  # fmt: skip
        server.sql("INSERT INTO product (name, price) VALUES ('twin', 8), ('twin', 8)", "web_app")
        before = server.target.snapshot(), server.inside(), server.dump()
        said = server.attempt("-vvv", "--diff", **attempts)
        after = server.target.snapshot(), server.inside(), server.dump()
        assert differences(before[0], after[0]) == {} and after[1:] == before[1:]
        assert not server.target.succeeds("ls /root/reached") and not server.has_scratch()
        return said

    def test_bad_input_is_rejected_before_anything_is_changed(self, rejected: dict[str, str]) -> None:
        """All of it together: with the variable's name, what was given, and what would be right."""
        words = [
            "mysql_webapp_database: got 'web`app'", "mysql_webapp_database: webapp", "mysql_webapp_accounts: got", "SELEKT", "reader",
            "mysql_webapp_schema: got ['/nowhere.sql']", "mysql_webapp_listen: got 'everywhere'", "mysql_webapp_flavor: got 'postgres'",
            "mysql_webapp_acounts: unknown variable; did you mean mysql_webapp_accounts?", "Nothing was changed",
        ]  # fmt: skip
        assert missing(rejected["bad_input"], words) == []

    def test_other_flavor_is_not_replaced(self, rejected: dict[str, str]) -> None:
        """A host with one server is not given the other in its place, data and all."""
        assert missing(rejected["other_flavor"], ["Nothing was changed", "mysql_webapp_flavor", f"{self.flavor}-server"]) == []

    def test_error_in_the_middle_leaves_nothing_half_done(self, rejected: dict[str, str]) -> None:
        """Nor is the file before it in the same run applied, nor an account made; the server's message is shown, with file and line."""
        message = "004-bad.sql: ERROR 1146 (42S02) at line 2: Table 'web_app.nowhere' doesn't exist"
        assert missing(rejected["error_in_the_middle"], [message, "was not touched"]) == []
        assert "003-syntax.sql: ERROR 1064 (42000) at line 1: You have an error in your SQL syntax" in rejected["syntax"]

    def test_error_on_data_that_only_the_host_has(self, rejected: dict[str, str]) -> None:
        """The rehearsal has the rows too: a file that they break does not get through."""
        assert "003-unique.sql: ERROR 1062 (23000) at line 2: Duplicate entry '8'" in rejected["data"]

    @pytest.mark.parametrize("way", REACHES)
    def test_schema_file_reaches_its_own_database_alone(self, rejected: dict[str, str], way: str) -> None:
        """Not by USE, not by a full name, not the accounts; nor is a client's command run by a shell."""
        assert missing(rejected[f"reaches_{way}"], [f"003-{way}.sql: ERROR", REACHES[way][1], "was not touched"]) == []

    def test_changed_file_is_rejected(self, rejected: dict[str, str]) -> None:
        """What was applied cannot be applied again, and that is said before anything happens."""
        words = ["Nothing was changed", "001-products.sql has changed since it was applied", "another file at the end"]
        assert missing(rejected["changed_file"], words) == []

    def test_passwords_are_not_shown(self, host: Server, real: Play, rejected: dict[str, str]) -> None:
        """Not at the highest verbosity that users are asked for, in no diff, no argument, no log, no open file."""
        generated = re.findall(r'^DATABASE_PASSWORD="(.*)"$', host.environment("reader"), re.MULTILINE)[0]
        journal = host.target.run("journalctl --no-pager --output=export")
        seen = host.target.run("cat /root/arguments")
        assert "mysql_database" in real.output and "module_args:" in real.output and self.flavor in journal
        assert f"{self.flavor} --no-defaults" in seen and "--defaults-file=/dev/fd/" in seen, "this would show nothing anyway"
        for secret in (MARK, generated):
            for text in (real.output, rejected["all"], seen, journal):
                assert leaks(text, secret) == []
        places = "/etc /home /root /srv /tmp /usr/local /var/log /var/lib/flaskops"
        found = host.target.run(f"grep -rlsF -e '{MARK}' -e '{generated}' {places} || true")
        assert sorted(found.split()) == [f"{ENVIRONMENTS}/reader.env", f"{ENVIRONMENTS}/writer.env"]

    # -- the schema

    def test_schema_was_applied_once_in_order(self, host: Server) -> None:
        """Recorded with names and hashes; programs, views and texts arrived as they were."""
        recorded = host.sql("SELECT file, LENGTH(sha256), applied > NOW() - INTERVAL 1 DAY FROM flaskops_schema ORDER BY number", "web_app")
        assert recorded.splitlines()[:2] == ["001-products.sql\t64\t1", "002-programs.sql\t64\t1"]
        assert host.sql("SELECT name FROM product WHERE id < 3 ORDER BY id", "web_app").splitlines() == ["ペン 🖊", "quote ' \\ ; -- end"]
        assert "COMMENT '名前'" in host.sql("SHOW CREATE TABLE product", "web_app")
        assert host.sql("SELECT twice(21); SELECT name FROM dear", "web_app").splitlines() == ["42", "ペン 🖊"]
        assert "数える" in host.sql("SELECT ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_NAME = 'count_products'")
        definers = host.sql("SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'web_app'")
        assert definers == "root@localhost", "an account that is gone would break it"

    @pytest.fixture(scope="class")
    @classmethod
    def followed(cls, server: Server, rejected: dict[str, str]) -> Play:
        """The run for a new file, after one that was killed while it rehearsed a file and made an account."""
        (server.schema / "003-follows.sql").write_text(FOLLOWS)
        server.sql("CREATE DATABASE flaskops_rehearsal; CREATE USER flaskops_trial@localhost")
        server.sql("CREATE TABLE product (a INT)", "flaskops_rehearsal")
        server.target.run(f'sed -i \'s/"fingerprint": ".*"/"fingerprint": ""/\' {ENVIRONMENTS}.json')
        return server.converge("--diff")

    def test_new_file_is_applied_alone(self, host: Server, followed: Play) -> None:
        """On top of what is there, which it may count on."""
        assert re.findall(r"^[-+](schema file \S+ \(sha256 )", followed.output, re.MULTILINE) == ["schema file 003-follows.sql (sha256 "]
        assert host.sql("SELECT COUNT(*), MIN(price) FROM product WHERE name = 'free'", "web_app") == "1\t1"
        recorded = host.sql("SELECT file FROM flaskops_schema ORDER BY number", "web_app").split()
        assert recorded == ["001-products.sql", "002-programs.sql", "003-follows.sql"]

    def test_killed_run_is_no_hindrance(self, host: Server, followed: Play) -> None:
        """A scratch database, a scratch account and an account without a record are put right by the next run."""
        assert followed.changed == ["Set up the database, its accounts and its schema"]
        assert not host.has_scratch() and host.login("reader", "SELECT COUNT(*) FROM product WHERE name = 'free'") == "1"

    # -- life

    def test_remote_connections_need_tls(self, host: Server) -> None:
        """With an address, the server requires TLS and the firewall allows its port; with loopback both are closed again."""
        address = host.target.address
        far = {"name": "far", "host": "198.18.%", "privileges": ["SELECT"], "password": PASSWORD}
        accounts = [*host.database()["mysql_webapp_accounts"], far]
        remote = {"listen": address, "accounts": accounts}
        dry = host.converge("--check", "--diff", **remote) if self.looks_first else None
        play = host.converge("--diff", **remote)
        if dry:
            assert play.changed == [task for task in dry.changed if " that would be " not in task]
            allowed = dry.shown_by("Allow SSH and the ports of the apps, and reject all others")
            assert "+allow 22/tcp" in allowed and "+allow 3306/tcp" in allowed
            assert host.converge(**remote).recap["changed"] == 0
        assert host.listening() == sorted(["127.0.0.1:3306", f"{address}:3306"])
        assert "3306/tcp" in host.target.run("ufw status") and "22/tcp" in host.target.run("ufw status")
        # where `status` looks for it
        certificate = {"mariadb": "/var/lib/mysql/flaskops-cert.pem", "mysql": MYSQLS_OWN}[self.flavor]
        assert host.target.succeeds(f"openssl x509 -noout -checkend 31536000 -in {certificate}"), "it ends within a year"

        # as bytes, because PyMySQL reads a text as Latin-1
        login: dict[str, Any] = {"host": address, "user": "far", "password": PASSWORD.encode(), "database": "web_app", "charset": "utf8mb4"}
        with pytest.raises(pymysql.err.OperationalError, match="insecure transport|denied"):  # whichever of the two says it first
            pymysql.connect(**login, ssl_disabled=True)
        plain = "--skip-ssl" if self.flavor == "mariadb" else "--ssl-mode=DISABLED --get-server-public-key"
        assert "insecure transport" in host.login("reader", "SELECT 1", "-h127.0.0.1", plain)
        with pymysql.connect(**login, ssl={"check_hostname": False, "verify_mode": False}) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT name FROM product WHERE id = 1")
            assert cursor.fetchall() == (("ペン 🖊",),)
            cursor.execute("SHOW STATUS LIKE 'Ssl_version'")
            assert cursor.fetchall()[0][1] in ("TLSv1.2", "TLSv1.3")
            with pytest.raises(pymysql.err.OperationalError, match="denied"):
                cursor.execute("INSERT INTO product (name, price) VALUES ('x', 1)")
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            pymysql.connect(**{**login, "user": "writer"}, ssl={"check_hostname": False, "verify_mode": False})
        assert host.sql("SELECT ssl_type FROM mysql.user WHERE User = 'far'") == "ANY", "it must use TLS whatever the server asks of others"
        assert host.login("reader", "SELECT 1", "-S$DATABASE_SOCKET") == "1"

        host.converge()
        assert host.listening() == ["127.0.0.1:3306"] and "3306" not in host.target.run("ufw status")
        assert "far" not in host.inside() and not host.target.succeeds("ls /var/lib/mysql/flaskops-*.pem")
