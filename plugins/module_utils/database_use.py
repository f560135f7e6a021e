# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which databases of a host its apps use: seen in what the processes get, because an app may name a database in several ways.

And the certificate of the host's database server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.certificates import summary_of_file
from ansible_collections.flaskops.hosting.plugins.module_utils.ownership import read_owners
from ansible_collections.flaskops.hosting.plugins.module_utils.record import Record
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Tree, read_environment_file

LONG_ENOUGH = 8  # characters of a password that is found in other text by no accident
DATABASES = Path("/etc/flaskops/databases")  # a record for each database, and a directory with its accounts' environment files

SETTINGS = ("/etc/mysql/mariadb.conf.d/90-flaskops.cnf", "/etc/mysql/mysql.conf.d/zz-flaskops.cnf")  # vars/ of the role mysql_webapp
MYSQLS_OWN = Path("/var/lib/mysql/server-cert.pem")  # made by MySQL at its first start


def noted_databases() -> list[str]:
    """The databases that the host has noted as ours."""
    return sorted(path.stem for path in DATABASES.glob("*.json"))


def databases_of(record: Record) -> list[str]:
    """The databases that an app uses, by the environment of its live release and by its units, such as that of its PHP pages.

    The environment names a database, which may be on another host, or has a password of one of its accounts, maybe in a URL.
    """
    variables = _environment_of(record)
    units = "\n".join(map(_read, _units_of(record.app)))
    values = "\n".join(variables.values())
    found = [name for name in noted_databases() if any(password in values for password in _passwords(name)) or f"{DATABASES}/{name}/" in units]
    return sorted({*found, *filter(None, [variables.get("DATABASE_NAME", "")])})


def apps_that_use(database: str, records: Iterable[Record]) -> list[str]:
    """The names of the apps that use a database."""
    return [record.app for record in records if database in databases_of(record)]


def certificate_file() -> Path | None:
    """The certificate with which the host's database server takes connections from other hosts; ``None`` if it takes none."""
    text = "\n".join(_read(Path(path)) for path in SETTINGS)
    if not re.search(r"^require-secure-transport = ON$", text, re.MULTILINE):
        return None
    named = re.search(r"^ssl-cert = (\S+)$", text, re.MULTILINE)
    return Path(named[1]) if named else MYSQLS_OWN


def certificate_for(record: Record) -> dict[str, Any]:
    """What people read of that certificate, for an app that uses a database of this host; empty for another app, or without a certificate."""
    path = certificate_file()
    return summary_of_file(path) if path and set(databases_of(record)) & set(noted_databases()) else {}


def _environment_of(record: Record) -> dict[str, str]:
    live = Tree(record.app, Path(record.root)).live() if record.root else None
    return read_environment_file(_read(live.path / "environment")) if live else {}


def _units_of(app: str) -> list[Path]:
    owned = read_owners().get(app)
    return [path for path in map(Path, owned.paths if owned else []) if path.suffix == ".service"]


def _passwords(database: str) -> list[str]:
    found = [read_environment_file(_read(path)).get("DATABASE_PASSWORD", "") for path in (DATABASES / database).glob("*.env")]
    return [password for password in found if len(password) >= LONG_ENOUGH]


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""
