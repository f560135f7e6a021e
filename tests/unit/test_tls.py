"""HTTPS: which settings fit together, and what follows from them and from the certificates that a host has."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils.record import Record
from ansible_collections.flaskops.hosting.plugins.plugin_utils import certificate_files, plan, tls
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App
from ansible_collections.flaskops.hosting.plugins.plugin_utils.conflicts import conflicts
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TOPOLOGIES
from ansible_collections.flaskops.hosting.tests.targets.authority import Authority
from ansible_collections.flaskops.hosting.tests.unit.hosts import a_host, app_of, settings_of

NAMES = ["shop.example", "www.shop.example"]
ACME = {"tls": "acme", "server_names": NAMES}
GIVEN_BY = "https://acme-v02.api.letsencrypt.org/directory"
NOW = datetime.now(timezone.utc)


def problems(topology: str = "nginx_gunicorn", **values: Any) -> list[str]:
    """What is wrong with an app's settings for HTTPS."""
    found = settings_of(topology, **{f"flask_app_{name}": value for name, value in values.items()})
    assert found.problems == []
    return list(tls.problems_of_tls(found.values, TOPOLOGIES[topology].front is not None))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tls": "acme"}, "flask_app_tls: got 'acme', which needs the names"),
        ({"tls": "acme", "server_names": ["*.shop.example"]}, "flask_app_server_names: got *.shop.example, but with flask_app_tls: acme"),
        ({**ACME, "listen": ["8080"]}, "flask_app_listen: got 8080, but with flask_app_tls: acme the CA asks at port 80"),
        ({**ACME, "listen": ["127.0.0.1:80", "8080"]}, "flask_app_listen: got 127.0.0.1:80, 8080, but"),
        ({**ACME, "https_listen": ["80"]}, "flask_app_https_listen: got 80, which is in flask_app_listen too"),
        ({"tls": "files", "tls_key": "/k"}, "flask_app_tls_certificate: is not given"),
        ({"tls": "files", "tls_certificate": "/c"}, "flask_app_tls_key: is not given"),
        ({"tls_key": "/k"}, "flask_app_tls_key: got '/k', but flask_app_tls is ''"),
        ({"tls": "balancer"}, "flask_app_trusted_proxies: is empty, and flask_app_tls is balancer"),
    ],
)
def test_settings_that_do_not_fit_are_rejected(values: dict[str, Any], words: str) -> None:
    found = problems(**values)
    assert len(found) == 1
    assert found[0].startswith(words)


def test_the_development_server_has_no_https() -> None:
    assert problems("dev_server", **ACME) == ["flask_app_tls: got 'acme', but the development server has no HTTPS; leave it out"]


@pytest.mark.parametrize("values", [{}, ACME, {**ACME, "listen": ["192.0.2.1:80"]}, {"tls": "balancer", "trusted_proxies": ["10.0.0.0/16"]}])
def test_settings_that_fit(values: dict[str, Any]) -> None:
    assert problems(**values) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("tls", "letsencrypt"), ("tls_hsts", -1), ("acme_directory", "http://ca.example/dir"), ("acme_email", "me"), ("https_listen", [])],
)
def test_values_that_are_wrong_are_rejected(name: str, value: Any) -> None:
    assert settings_of("nginx_gunicorn", **{f"flask_app_{name}": value}).problems[0].startswith(f"flask_app_{name}: got ")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA for tests."""
    return Authority(tmp_path)


@pytest.mark.parametrize(
    ("given", "needed", "words"),
    [
        (NAMES, NAMES, ""),
        (["*.shop.example", "shop.example"], NAMES, ""),
        (["*.shop.example"], ["*.shop.example", "a.shop.example"], ""),
        (["*.shop.example"], ["a.b.shop.example"], "is for *.shop.example; needs a.b.shop.example"),
        (["SHOP.example"], NAMES, "needs www.shop.example"),
    ],
)
def test_a_certificate_has_all_names(authority: Authority, given: list[str], needed: list[str], words: str) -> None:
    found = list(certificate_files.problems_of_pair(*authority.give(*given), needed, NOW))
    assert [words in one for one in found] == ([True] if words else [])


def test_a_certificate_is_valid_now(authority: Authority) -> None:
    pair = authority.give(*NAMES)
    assert "which has expired on " in next(certificate_files.problems_of_pair(*pair, NAMES, NOW + timedelta(days=91)))
    assert "is not valid before " in next(certificate_files.problems_of_pair(*pair, NAMES, NOW - timedelta(days=2)))


def test_files_that_are_no_pair_are_rejected(authority: Authority, tmp_path: Path) -> None:
    """Nothing of a key is shown."""
    certificate, key = authority.give(*NAMES)
    other = authority.give(*NAMES)[1]
    assert "is not the key of flask_app_tls_certificate" in next(certificate_files.problems_of_pair(certificate, other, NAMES, NOW))
    assert "has no private key in PEM" in next(certificate_files.problems_of_pair(certificate, certificate, NAMES, NOW))
    assert "has no certificate in PEM" in next(certificate_files.problems_of_pair(key, key, NAMES, NOW))
    assert "cannot be read: No such file" in next(certificate_files.problems_of_pair(tmp_path / "none", key, NAMES, NOW))


def test_other_files_for_a_ca(authority: Authority, tmp_path: Path) -> None:
    binding = tmp_path / "eab"
    assert list(certificate_files.problems_of_ca_file(authority.root)) == []
    assert "it has none" in next(certificate_files.problems_of_ca_file(authority.give(*NAMES)[1]))
    binding.write_text("eab-kid = one\neab-hmac-key = hush\n")
    assert list(certificate_files.problems_of_eab(binding)) == []
    binding.write_text("eab-kid = one\nhush\n")
    assert "hush" not in next(certificate_files.problems_of_eab(binding))


def hosts_app(topology: str = "nginx_gunicorn", host: dict[str, Any] | None = None, **values: Any) -> App:
    """An app, with the certificate that its host has."""
    return tls.with_certificate(app_of(topology, **{**ACME, **values}), host or a_host())


def noted(name: str, names: list[str], covered: list[str], *owners: str) -> dict[str, Any]:
    """A certificate as a survey shows it."""
    return {name: {"names": names, "covered": covered, "owners": list(owners), "given_by": GIVEN_BY}}


@pytest.mark.parametrize(("covered", "site", "front"), [([], ".conf", "80"), (NAMES[:1], ".conf", "443"), (NAMES, ".https.conf", "443")])
def test_a_site_is_switched_by_what_its_certificate_has(covered: list[str], site: str, front: str) -> None:
    """Without one it is HTTP's alone; one that lacks a name is served, but redirects nobody."""
    host = a_host(certificates=noted("flaskops-shop.example", NAMES, covered, "shop"))
    app = hosts_app(host=host)
    found = plan.plan_present(app, host, "192.0.2.10", "ubuntu")
    link = next(file["to"] for file in found["files"] if "link" in file)
    assert link == f"../sites-available/80-shop.example-www.shop.example{site}"
    assert found["front"]["address"] == f"127.0.0.1:{front}"
    first = next(file["content"] for file in found["files"] if file.get("dest", "").endswith("www.shop.example.conf"))
    assert ("ssl_certificate " in first, "return 308" in first) == (covered == NAMES[:1], False)
    assert found["certificates"]["wanted"] == ("" if covered == NAMES else "flaskops-shop.example")
    assert found["url"] == ("https://shop.example/" if covered == NAMES else "http://shop.example/")
    assert found["record"]["url"] == "https://shop.example/"
    assert found["firewall_plan"]["allow"]["flaskops"] == [80, 443]


def test_the_end_of_a_run_tells_of_files(authority: Authority) -> None:
    """Those that it brings, or what the host has if it brings none; a host of an older version shows none."""
    directory = "/etc/flaskops/certificates/shop.example-www.shop.example"
    there = {"days": 9, "issuer": "A CA", "error": "", "next": ""}
    host = a_host(certificate_files={directory: there})
    app = hosts_app(host=host, tls="files", tls_certificate="/c", tls_key="/k")
    assert app.certificate is not None
    assert app.certificate.directory == directory
    assert tls.hint(app, host) == ". Its certificate from A CA has 9 days left; to renew it, run with new files"
    brought = {**host, "certificate_files": tls.brought(app, host, authority.give(*NAMES)[0])}
    assert tls.hint(app, brought) == ". Its certificate from A CA for tests has 89 days left; to renew it, run with new files"
    assert tls.hint(app, a_host()) == ""
    host["certificate_files"][directory] = {**there, "days": -1, "error": "it is not valid now"}
    assert tls.hint(app, host).endswith("has -1 days left; to renew it, run with new files, but: it is not valid now")


def test_a_certificate_keeps_its_name_when_names_come_and_go() -> None:
    certificates = noted("flaskops-shop.example", NAMES, NAMES, "shop")
    assert tls.lineage(["a.example", "www.shop.example"], certificates) == "flaskops-shop.example"
    assert tls.lineage(["b.example", "a.example"], certificates) == "flaskops-a.example"


def test_another_ca_gives_another_certificate() -> None:
    """Such as after staging; until then the one that is there is served, and nobody is redirected to it."""
    host = a_host(certificates=noted("flaskops-shop.example", NAMES, NAMES, "shop"))
    certificate = hosts_app(host=host, acme_directory="letsencrypt-staging").certificate
    assert certificate is not None
    assert (certificate.is_there, certificate.is_complete) == (True, False)


def test_a_certificate_goes_with_its_last_app() -> None:
    certificates = {**noted("one", NAMES, NAMES, "shop"), **noted("two", ["b.example"], [], "shop", "blog")}
    assert plan.plan_absent("shop", {**a_host(certificates=certificates), "account": {"ours": True}})["certificates"]["leaving"] == ["one"]
    host = a_host(certificates=certificates)
    assert plan.plan_present(app_of("nginx_gunicorn"), host, "192.0.2.10", "ubuntu")["certificates"]["leaving"] == ["one"]
    assert plan.plan_present(hosts_app(host=host), host, "192.0.2.10", "ubuntu")["certificates"]["leaving"] == []


def test_a_move_between_fronts_keeps_the_certificate() -> None:
    host = a_host(certificates=noted("flaskops-shop.example", NAMES, NAMES, "shop"))
    names = {hosts_app(topology, host).certificate for topology in TOPOLOGIES if topology != "dev_server"}
    assert len(names) == 1


def record_of(app: App, **changes: Any) -> dict[str, Any]:
    """What a host has noted of an app."""
    return replace(plan.record(app, ""), **changes).to_json()


def test_apps_of_a_site_have_the_same_settings() -> None:
    """An app may change them first, and the others follow; one that keeps its own is rejected."""
    blog = {"name": "blog", "server_names": NAMES, "mount": "/b"}
    both = {"shop": record_of(app_of("nginx_gunicorn", server_names=NAMES)), "blog": record_of(app_of("nginx_uwsgi", **blog))}
    assert list(conflicts(hosts_app(), a_host(apps=both))) == []
    both["shop"] = record_of(hosts_app())
    assert list(conflicts(hosts_app("nginx_uwsgi", name="blog", mount="/b"), a_host(apps=both))) == []
    found = list(conflicts(app_of("nginx_uwsgi", **blog), a_host(apps=both)))
    assert [one.partition(";")[0] for one in found] == ["flask_app_tls: got '', but the app shop is on the same site with 'acme'"]


def test_a_name_of_another_host_is_rejected() -> None:
    hostvars = {"one": {}, "two": {"flask_apps": [{"flask_app_name": "shop", "flask_app_tls": "acme", "flask_app_server_names": NAMES}]}}
    variables = {"inventory_hostname": "one", "ansible_play_hosts_all": ["one", "two"], "hostvars": hostvars}
    assert "flask_app_server_names: got shop.example, which two has too" in next(tls.problems_of_other_hosts(["shop.example"], variables))
    assert list(tls.problems_of_other_hosts(["other.example"], variables)) == []
    assert list(tls.problems_of_other_hosts(["shop.example"], {**variables, "inventory_hostname": "two"})) == []


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.18.0-6ubuntu14.4", ["listen 443 ssl http2;", "ssl_session_tickets off;", "ssl-cert-snakeoil.pem"]),
        ("1.24.0-2ubuntu7", ["listen 443 ssl http2;", "ssl_session_tickets on;", "ssl_reject_handshake on;"]),
        ("1.26.3-3+deb13u1", ["listen 443 ssl;", "http2 on;", "ssl_reject_handshake on;"]),
        ("1:1.28.0-1", ["http2 on;"]),
    ],
)
def test_nginx_gets_what_its_version_knows(version: str, expected: list[str]) -> None:
    host = a_host(versions={"nginx": version}, certificates=noted("flaskops-shop.example", NAMES, NAMES, "shop"))
    text = "".join(file.get("content", "") for file in plan.plan_present(hosts_app(host=host), host, "192.0.2.10", "ubuntu")["files"])
    assert [one for one in expected if one not in text] == []
    assert ("http2 on;" in text) != ("ssl http2;" in text)


def test_the_question_of_a_record_goes_by_https() -> None:
    record = Record.from_json(record_of(hosts_app()), "shop")
    common = {"host": "shop.example", "proof": "/srv/shop"}
    assert record.question(secure=True) == {"address": "127.0.0.1:443", "protocol": "https", **common}
    assert record.question() == {"address": "127.0.0.1:80", **common}
