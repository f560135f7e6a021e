"""The promises of the role mysql_webapp, on Oracle MySQL, from Debian's unstable suite."""

from __future__ import annotations

from ansible_collections.flaskops.hosting.tests.targets.database_promises import DatabasePromises

ADDRESS = "198.18.2.141"
VARIANT = "debian13-mysql"


class TestOracleMySQL(DatabasePromises):
    """All of them."""

    flavor = "mysql"
