"""The promises of the role mysql_webapp, on MariaDB, which Debian favors."""

from __future__ import annotations

from ansible_collections.flaskops.hosting.tests.targets.database_promises import DatabasePromises

ADDRESS = "198.18.2.140"
VARIANT = "debian13"


class TestMariaDB(DatabasePromises):
    """All of them."""

    flavor = "mariadb"
