"""What testssl.sh finds of HTTPS on both fronts: `make testssl`, which takes minutes and is no part of the suite."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.tests.targets.authority import Authority, visit
from ansible_collections.flaskops.hosting.tests.targets.harness import NewTarget, Target, app

ADDRESS = "198.18.2.32"
NAME = "shop.example.com"
WORST = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
ACCEPTED = {
    "cert_revocation": "a certificate of a CA for tests has no list of those that are revoked",
    "DNS_CAArecord": "the name is in no DNS",
    "security_headers": "they are the app's",
}


@pytest.fixture(scope="module")
def target(new_target: NewTarget) -> Target:
    """A target with testssl.sh, and what it needs."""
    found = new_target(ADDRESS, "debian13")
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends testssl.sh bsdextrautils"
    found.run(f"apt-get update -qq && {install} >/dev/null && echo 127.0.0.1 {NAME} >>/etc/hosts")
    return found


@pytest.mark.parametrize("topology", ["nginx_gunicorn", "apache_gunicorn"])
def test_the_best_grade(target: Target, tmp_path: Path, topology: str) -> None:
    """And no finding without its reason. A name that no site has gets no handshake."""
    target.topology = topology
    authority = Authority(tmp_path)
    certificate, key = authority.give(NAME)
    target.converge([app("shop", server_names=[NAME], tls="files", tls_certificate=str(certificate), tls_key=str(key))])
    with pytest.raises(ssl.SSLError):
        visit(target, "other.example")
    target.run("rm -f /run/found.json; cat >/run/root.pem", stdin=authority.root.read_text())
    scan = f"testssl --quiet --color 0 --add-ca /run/root.pem --ip 127.0.0.1 --jsonfile /run/found.json https://{NAME}/ 2>&1"
    print(target.run(scan, check=False))  # its exit code counts findings
    found = json.loads(target.run("cat /run/found.json"))
    assert {one["id"]: one["finding"] for one in found if one["severity"] in WORST and one["id"] not in ACCEPTED} == {}
    assert next(one["finding"] for one in found if one["id"] == "overall_grade") == "A+"
