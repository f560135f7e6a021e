"""HTTPS with a certificate from a CA: a first run, its second, renewals, and all that a CA may do instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.authority import Authority, Visitors, visit
from ansible_collections.flaskops.hosting.tests.targets.harness import Play, Target, app, missing
from ansible_collections.flaskops.hosting.tests.targets.pebble import DIRECTORY, REFUSING, Pebble

ADDRESS = "198.18.2.31"
NAME, SECOND, NOWHERE = "shop.example.com", "www.shop.example.com", "nowhere.example"
CERTIFICATE = f"flaskops-{NAME}"
LIVE = f"/etc/letsencrypt/live/{CERTIFICATE}/fullchain.pem"
PROGRAM = "/usr/local/lib/flaskops/certificates.py"
UNIT = "flaskops-certificates"


@pytest.fixture(scope="module")
def ca(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Pebble:
    """A CA on the target that the play trusts."""
    pebble = Pebble(target, Authority(tmp_path_factory.mktemp("authority")))
    pebble.install()
    pebble.name(NAME, SECOND)
    return pebble


def secured(ca: Pebble, name: str = "shop", **settings: Any) -> dict[str, Any]:
    """An app that asks the CA for its certificate."""
    common = {"tls": "acme", "acme_directory": DIRECTORY, "acme_ca_file": str(ca.ca_file), "server_names": [NAME]}
    return app(name, **{**common, **settings})


def shown(target: Target, name: str = NAME, port: int = 443) -> str:
    """The fingerprint of the certificate that visitors of a name get."""
    return visit(target, name, port=port, alpn="h2").fingerprint


def on_disk(target: Target) -> str:
    """The fingerprint of the certificate on the host."""
    line = target.run(f"openssl x509 -in {LIVE} -noout -fingerprint -sha256")
    return line.partition("=")[2].replace(":", "").lower()


def said(play: Play) -> str:
    """All that a run printed, with one space for each break of a line: long messages are wrapped, and some have marks for that."""
    return " ".join(play.output.replace("\\n", " ").replace("\\", " ").split())


def forget_tries(target: Target) -> None:
    """Have the host ask the CA again, however often it has."""
    target.run(f"rm -f /var/lib/flaskops/certificates/{CERTIFICATE}.json")


def assert_plain(target: Target, name: str = NAME) -> None:
    """The app is served by HTTP, and sends nobody elsewhere."""
    answer = target.get("/", host=name)
    assert (answer.status, answer.headers.get("Strict-Transport-Security")) == (200, None)


def test_a_dry_run_asks_nobody(target: Target, ca: Pebble) -> None:
    """It says which CA would be asked for which names."""
    play = target.converge([secured(ca)], "--check", "--diff")
    assert "shop would answer at https://shop.example.com/" in said(play)
    assert f"It would ask {DIRECTORY} for a certificate for {NAME}" in said(play)
    assert "Get the certificate, and switch the site to HTTPS" in play.changed
    assert not target.succeeds("ls /etc/flaskops /etc/letsencrypt")


def test_a_ca_that_does_not_answer_leaves_the_app_on_http(target: Target, ca: Pebble) -> None:
    """The app is live, the host's other app too, and the run fails at its end with what went wrong."""
    play = target.play([secured(ca, acme_directory="https://127.0.0.1:14999/dir"), app("other", listen="8080")])
    assert play.returncode != 0
    words = ["shop answers at http://shop.example.com/ ", "other answers at ", "does not answer: ", "Connection refused"]
    assert missing(said(play), words) == []
    assert said(play).index("other answers at ") < said(play).index("Fail without a certificate that is required")
    assert_plain(target)
    assert target.get("/", 8080).status == 200


def test_the_host_asks_again_no_earlier_than_the_ca_wants(target: Target, ca: Pebble) -> None:
    """Neither by a run nor by its timer; a run for which HTTPS is not required warns, and ends well."""
    ca.say(503, "try later", Retry_After="7200")
    forget_tries(target)
    play = target.play([secured(ca, acme_directory=REFUSING)])
    assert missing(said(play), ["503 Service Unavailable: try later", "It wants to be asked again after "]) == []
    ca.say(200, "must not be asked")
    play = target.converge([secured(ca, acme_directory=REFUSING, tls_required=False)])
    assert missing(said(play), ["is asked again at ", "503 Service Unavailable"]) == []
    assert not target.succeeds(f"systemctl start {UNIT}"), "a site without its certificate needs somebody"
    log = target.run(f"journalctl --unit={UNIT} --output=cat --no-pager")
    assert "is asked again at " in log and "must not be asked" not in log


def test_one_name_that_leads_elsewhere_keeps_all_of_them_on_http(target: Target, ca: Pebble) -> None:
    """The CA's own words tell which one."""
    forget_tries(target)
    play = target.play([secured(ca, server_names=[NAME, NOWHERE])])
    assert play.returncode != 0
    assert missing(said(play), [NOWHERE, "The Certificate Authority reported these problems", "Detail: "]) == []
    assert_plain(target)
    assert_plain(target, NOWHERE)


def test_the_host_switches_to_https_by_itself(target: Target, ca: Pebble) -> None:
    """Its timer goes on trying after a run that got no certificate."""
    ca.stop()
    forget_tries(target)
    play = target.play([secured(ca)])
    assert play.returncode != 0
    assert_plain(target)
    ca.start()
    ca.name(NAME, SECOND)
    target.run(f'sed -i \'s/"failed": [0-9.]*/"failed": 0.0/\' /var/lib/flaskops/certificates/{CERTIFICATE}.json')
    target.run(f"systemctl start {UNIT}")
    assert shown(target) == on_disk(target)
    answer = target.get("/x?y=1", host=NAME)
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{NAME}/x?y=1")
    assert target.run(f"systemctl is-enabled {UNIT}.timer") == "enabled"
    assert target.run(f"systemctl is-active {UNIT}.timer") == "active"


def test_a_second_run_changes_nothing_and_asks_nobody(target: Target, ca: Pebble) -> None:
    """It takes no round trip more than without HTTPS, and its health check goes by HTTPS."""
    serial = shown(target)
    play = target.converge([secured(ca)], "-vvv")
    assert (play.recap["changed"], play.output.count("SSH: EXEC")) == (0, 4), play.changed
    assert shown(target) == serial
    found = visit(target, NAME).answer
    assert (found.status, found.headers["Strict-Transport-Security"]) == (200, "max-age=31536000")
    assert "shop answers at https://shop.example.com/ " in said(play)


def test_a_first_run_gets_a_certificate_at_once(target: Target, ca: Pebble) -> None:
    """The first app's removal had left nothing of HTTPS. With the README's own words: tests/controllers/test_readme_examples.py."""
    target.converge([app("shop", state="absent"), app("other", state="absent")])
    left = "ls -d /etc/letsencrypt/*/flaskops* /etc/flaskops/certificates /var/lib/flaskops/certificates /usr/local/lib/flaskops 2>/dev/null || true"
    assert target.run(f"{left}; ls -d /etc/systemd/system/{UNIT}* /var/lib/letsencrypt/flaskops 2>/dev/null || true") == ""
    assert target.run("ss --listening --tcp --numeric --no-header '( sport = :443 )'") == ""
    ca.stop()
    ca.start()
    ca.name(NAME, SECOND)
    play = target.converge([secured(ca, acme_email="me@example.com")])
    assert "shop answers at https://shop.example.com/ " in said(play)
    assert shown(target) == on_disk(target)
    again = target.converge([secured(ca, acme_email="me@example.com")])
    assert again.recap["changed"] == 0, again.changed


def test_a_name_that_comes_is_in_the_next_certificate(target: Target, ca: Pebble) -> None:
    """One that the CA does not find keeps the others on HTTPS, and nobody of them is lost."""
    before = shown(target)
    play = target.play([secured(ca, acme_email="me@example.com", server_names=[NAME, NOWHERE])])
    assert play.returncode != 0
    assert shown(target) == before
    assert_plain(target, NOWHERE)
    forget_tries(target)
    target.converge([secured(ca, acme_email="me@example.com", server_names=[NAME, SECOND])])
    assert shown(target) == shown(target, SECOND) == on_disk(target) != before
    assert target.get("/", host=SECOND).status == 308


def test_apps_of_a_site_share_its_certificate(target: Target, ca: Pebble) -> None:
    """It goes with the last one."""
    names: dict[str, Any] = {"server_names": [NAME, SECOND], "acme_email": "me@example.com"}
    before = shown(target)
    target.converge([secured(ca, **names), secured(ca, "blog", mount="/blog", **names)])
    assert visit(target, SECOND, "/blog/").answer.json()["mount"] == "/blog"
    assert shown(target) == before
    target.converge([app("blog", state="absent")])
    assert shown(target) == before
    play = target.play([app("blog", server_names=[NAME, SECOND], mount="/blog")])
    assert "flask_app_tls: got '', but the app shop is on the same site with 'acme'" in said(play)


def test_what_is_renewed_is_served(target: Target, ca: Pebble) -> None:
    """By the timer's unit, which fails, as the status says, if the front does not show it."""
    before = on_disk(target)
    age(target)
    with Visitors(target, NAME) as visitors:
        for _renewal in range(3):
            target.run(f"systemctl start {UNIT}")
    assert shown(target) == on_disk(target) != before
    assert (visitors.failed, visitors.answered > 100) == ([], True)
    target.run("printf 'broken' >/etc/nginx/conf.d/broken.conf")
    before = shown(target)
    age(target)
    assert not target.succeeds(f"systemctl start {UNIT}")
    target.run("rm /etc/nginx/conf.d/broken.conf")
    assert shown(target) == before != on_disk(target)
    assert "nginx -t: exit code 1" in told(target)["error"]
    target.run(f"systemctl start {UNIT}")
    assert shown(target) == on_disk(target)
    assert told(target)["error"] == ""
    assert told(target)["days"] == 89


def age(target: Target) -> None:
    """Have the certificate seem to end soon, and no try in the last hour."""
    forget_tries(target)
    target.run(f"sed -i 's/^RENEWED_AT, ALARM_AT = .*/RENEWED_AT, ALARM_AT = 2, 0/' {PROGRAM}")


def told(target: Target) -> Any:
    """What the host tells of its certificate."""
    program = "import sys, json; sys.path.insert(0, '/usr/local/lib/flaskops'); import certificates as c; print(json.dumps(c.told(c.read_all()[0])))"
    return json.loads(target.run(f'python3 -B -c "{program}"'))


def test_an_app_that_moves_to_apache_keeps_its_certificate(target: Target, ca: Pebble) -> None:
    """Also where Apache itself runs it; the redirect and the CA's questions are Apache's then."""
    names: dict[str, Any] = {"server_names": [NAME, SECOND], "acme_email": "me@example.com"}
    before = on_disk(target)
    for topology in ("apache_mod_wsgi", "apache_uwsgi_mysql"):
        target.topology = topology
        target.converge([secured(ca, **names)])
        assert shown(target) == on_disk(target) == before
        assert target.get("/", host=NAME).status == 308
        again = target.converge([secured(ca, **names)])
        assert again.recap["changed"] == 0, again.changed
    age(target)
    with Visitors(target, NAME) as visitors:
        target.run(f"systemctl start {UNIT}")
    assert shown(target) == on_disk(target) != before
    assert (visitors.failed, visitors.answered > 100) == ([], True)
    target.converge([app("shop", state="absent")])
    assert target.run("ls -d /etc/letsencrypt/*/flaskops* /etc/flaskops/certificates 2>/dev/null || true") == ""
