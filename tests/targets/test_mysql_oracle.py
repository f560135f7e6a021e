"""The promises of the role mysql_webapp, on Oracle MySQL, from Debian's unstable suite."""

from __future__ import annotations

from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.database_promises import Server, ServerPromises

pytestmark = thorough

ADDRESS = "198.18.2.141"
VARIANT = "debian13-mysql"


class TestOracleMySQL(ServerPromises):
    """All of them, but for those of which MariaDB shows enough."""

    flavor = "mysql"
    looks_first = False

    def test_absent_with_the_data(self, host: Server) -> None:
        """The server stops and stays stopped, and nothing is left but the packages."""
        host.converge(**host.with_all_its_data)
        host.assert_nothing_is_left()
