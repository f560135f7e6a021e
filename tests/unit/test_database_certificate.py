"""The certificate of a host's database server, as `status` tells of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.plugins.module_utils import database_use
from ansible_collections.flaskops.hosting.plugins.module_utils.record import Record
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import ROLES, fill
from ansible_collections.flaskops.hosting.tests.targets.authority import Authority

SERVERS = {
    flavor: yaml.safe_load((ROLES / f"mysql_webapp/vars/{flavor}.yml").read_text())["__mysql_webapp_server"] for flavor in ("mariadb", "mysql")
}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a host's database settings, on which the database shop is noted, and used by the app of that name."""
    monkeypatch.setattr(database_use, "SETTINGS", tuple(str(tmp_path / Path(path).name) for path in database_use.SETTINGS))
    monkeypatch.setattr(database_use, "databases_of", lambda record: [record.app])
    monkeypatch.setattr(database_use, "noted_databases", lambda: ["shop"])
    return tmp_path


def configure(host: Path, flavor: str, remote: bool, **certificate: str) -> None:
    """Write the settings as the role does."""
    server: dict[str, Any] = {**SERVERS[flavor], "certificate": certificate}
    text = fill("mysql_webapp", "server.cnf.j2", __mysql_webapp={"addresses": ["127.0.0.1"], "remote": remote}, __mysql_webapp_server=server)
    (host / Path(server["settings"]).name).write_text(text)


@pytest.mark.parametrize("flavor", SERVERS)
def test_its_days_are_reported_to_apps_that_use_its_databases(host: Path, flavor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, _key = Authority(host).give("web1", ends=100)
    monkeypatch.setattr(database_use, "MYSQLS_OWN", certificate)
    own = {"ssl-cert": str(certificate)} if SERVERS[flavor]["certificate"] else {}
    configure(host, flavor, remote=True, **own)
    told = database_use.certificate_for(Record("shop"))
    assert (told["days"], told["issuer"], told["error"]) == (99, "A CA for tests", "")
    assert database_use.certificate_for(Record("blog")) == {}


@pytest.mark.parametrize("flavor", SERVERS)
def test_a_server_for_its_own_host_needs_none(host: Path, flavor: str) -> None:
    assert database_use.certificate_file() is None
    configure(host, flavor, remote=False)
    assert database_use.certificate_file() is None


def test_the_servers_are_those_of_the_role() -> None:
    assert [server["settings"] for server in SERVERS.values()] == list(database_use.SETTINGS)


def test_one_that_is_gone_is_an_error(host: Path) -> None:
    configure(host, "mariadb", remote=True, **SERVERS["mariadb"]["certificate"])
    assert database_use.certificate_for(Record("shop"))["error"] == "/var/lib/mysql/flaskops-cert.pem is no certificate"
