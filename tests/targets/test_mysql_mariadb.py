"""The promises of the role mysql_webapp, on MariaDB, which Debian favors; and those for which one server is enough."""

from __future__ import annotations

import pytest

from ansible_collections.flaskops.hosting.tests.targets.database_promises import Server, ServerPromises
from ansible_collections.flaskops.hosting.tests.targets.harness import Play, differences, eventually, missing

ADDRESS = "198.18.2.140"
VARIANT = "debian13"


class TestMariaDB(ServerPromises):
    """All of them, and what is the same code for both servers: dry runs, several databases, a removal in all its cases."""

    flavor = "mariadb"
    looks_first = True

    @pytest.fixture(scope="class")
    @classmethod
    def dry(cls, server: Server) -> Play:
        """The dry run on the bare target, which has changed nothing."""
        before = server.target.snapshot()
        play = server.converge("--check", "--diff")
        assert differences(before, server.target.snapshot()) == {}
        return play

    @pytest.fixture(scope="class")
    @classmethod
    def real(cls, server: Server, dry: Play) -> Play:
        """The run after the dry run."""
        return server.first_run()

    def test_dry_run_shows_what_the_run_does(self, dry: Play, real: Play) -> None:
        """On a bare host: packages, settings, the database, its accounts and its schema files."""
        words = [
            "+database web_app (utf8mb4)", "+account reader@localhost: SELECT", "+account writer@localhost: INSERT, SELECT",
            "+password of reader@localhost, generated on this host", "+password of writer@localhost, given",
            "+schema file 001-products.sql", "+schema file 002-programs.sql", f"{self.flavor}-server",
        ]  # fmt: skip
        assert missing(dry.output, words) == [] and missing(real.output, words[:-1]) == []
        assert dry.changed == real.changed != []
        assert dry.diffs == real.diffs != set()

    def test_test_database_with_tables_is_not_lost(self, host: Server) -> None:
        """Somebody's data is nobody's to drop: that is said, and nothing happens."""
        host.sql("CREATE DATABASE test; CREATE TABLE test.t (a INT)")
        host.reject("Nothing was changed", "database test with 1 tables")
        host.sql("DROP DATABASE test")

    def test_reboot(self, host: Server) -> None:
        """The server is back by itself, with all that it had."""
        before = host.dump()
        host.target.reboot()
        assert eventually(lambda: host.target.succeeds(f"systemctl is-active {host.unit}"), 30)
        assert host.listening() == ["127.0.0.1:3306"] and host.dump() == before
        assert host.login("reader", "SELECT name FROM product WHERE id = 1", "-S$DATABASE_SOCKET") == "ペン 🖊"

    def test_two_databases_on_one_server(self, host: Server) -> None:
        """One goes, with its data if requested; the other does not notice."""
        before, inside = host.dump(), host.inside()
        other = host.database(database="other", schema=[], accounts=[{"name": "other", "privileges": ["ALL"]}])
        both = [host.database(), other]
        play = host.converge(databases=[*both, *both])
        assert play.changed == ["Set up the database, its accounts and its schema"], "a second time there is something to do"
        assert host.login("other", "SELECT CURRENT_USER()", database="other") == "other@localhost"
        assert "denied" in host.login("other", "SELECT * FROM web_app.product", database="other")
        host.converge(databases=[{**other, "mysql_webapp_state": "absent", "mysql_webapp_remove_data": True}])
        assert (host.dump(), host.inside()) == (before, inside)
        assert host.target.run("find /etc/flaskops -name '*other*'") == ""

    def test_absent_keeps_the_data_by_default(self, host: Server) -> None:
        """Accounts and files go, the server stops and stays stopped; the name is enough; what comes back finds its data."""
        rows, old = host.sql("SELECT COUNT(*) FROM product", "web_app"), host.environment("reader")
        absent = {name: host.database(state="absent")[f"mysql_webapp_{name}"] for name in ("database", "state", "flavor")}
        absent = {f"mysql_webapp_{name}": value for name, value in absent.items()}
        before = host.target.snapshot()
        dry = host.converge("--check", "--diff", databases=[absent])
        assert differences(before, host.target.snapshot()) == {}
        play = host.converge("--diff", databases=[absent, absent])
        assert play.changed == dry.changed and play.diffs == dry.diffs, "a second time there is something to do"
        assert "was kept" in play.output and "mysql_webapp_remove_data" in play.output and "-account reader@localhost" in dry.output
        assert host.listening() == [] and not host.target.succeeds(f"systemctl is-active {host.unit} || systemctl is-enabled {host.unit}")
        assert host.target.run("find /etc/flaskops /etc/mysql -name '*.env' -o -name '*flaskops*.cnf'") == ""
        host.target.reboot()
        assert host.listening() == []

        dry = host.converge("--check", "--diff")
        assert "schema file" not in dry.output and "+database" not in dry.output and "+account reader@localhost: SELECT" in dry.output
        play = host.converge("--diff")
        assert play.changed == dry.changed
        assert host.login("reader", "SELECT COUNT(*) FROM product") == rows and host.environment("reader") != old

    def test_absent_with_the_data(self, host: Server) -> None:
        """Also of a server that was stopped when the data was kept: nothing is left but the packages; again, there is nothing to do."""
        kept, gone = host.database(state="absent"), host.database(**host.with_all_its_data)
        play = host.converge(databases=[kept, gone, gone])
        assert play.changed.count("Drop the accounts, and the database if requested") == 2
        host.assert_nothing_is_left()

    def test_absent_leaves_somebody_elses_database(self, host: Server) -> None:
        """A server that others use runs on, and what is not ours is not dropped, whatever its name."""
        host.sql("CREATE DATABASE somebodys; CREATE TABLE somebodys.t (a INT)")
        host.target.run(f"systemctl enable {host.unit}")
        ours = host.database(**host.with_all_its_data)
        play = host.converge(databases=[{**ours, "mysql_webapp_database": "somebodys"}, host.database(), ours])
        assert play.changed.count("Drop the accounts, and the database if requested") == 1
        assert host.target.run(f"systemctl is-active {host.unit}; systemctl is-enabled {host.unit}").split() == ["active", "enabled"]
        assert host.sql("SELECT COUNT(*) FROM somebodys.t") == "0" and "web_app" not in host.inside()
