"""HTTPS with certificates from a CA: a first run, its second, renewals, and all that a CA may do instead.

The tests tell one host's story, in their order. Each play has several apps, because a play costs more than an app.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.e2e.browser import Browser, start_chromium
from ansible_collections.flaskops.hosting.tests.targets.authority import Authority, Visitors, visit
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Play, Target, app, missing, write_source
from ansible_collections.flaskops.hosting.tests.targets.pebble import DIRECTORY, REFUSING, Pebble

ADDRESS = "198.18.2.31"
VARIANT = os.environ.get("VARIANT", "ubuntu-like-ready")
PLAYBOOK = ROOT / "playbooks/hosting.yml"  # each app names its topology
NAME, BLOG, LATE, NOWHERE, WIKI = "shop.example.com", "blog.example.com", "late.example.com", "nowhere.example", "wiki.example.com"
TWENTY = [NAME, *(f"w{number}.shop.example.com" for number in range(2, 21))]
SECOND = TWENTY[1]
PROGRAM = "/usr/local/lib/flaskops/certificates.py"
UNIT = "flaskops-certificates"
ACCOUNT, KEY = "an-account", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
EMAIL = {"acme_email": "me@example.com"}
LEFT = (
    "/etc/letsencrypt/*/flaskops* /etc/flaskops/certificates /var/lib/flaskops/certificates /usr/local/lib/flaskops "
    f"/etc/systemd/system/{UNIT}* /var/lib/letsencrypt/flaskops"
)
SOURCE = """
import json, time


def app(environ, start_response):
    time.sleep(0.01)  # who asks all the time is to need few processors
    told = {"mount": environ.get("SCRIPT_NAME", ""), "scheme": environ["wsgi.url_scheme"], "cookie": environ.get("HTTP_COOKIE", "")}
    start_response("200 OK", [("Content-Type", "application/json"), ("Set-Cookie", "seen=yes; Secure; HttpOnly; Path=/")])
    return [json.dumps(told).encode()]
"""


@pytest.fixture(scope="module")
def ca(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Pebble:
    """A CA on the target that the play trusts, and that wants an account of its own."""
    pebble = Pebble(target, Authority(tmp_path_factory.mktemp("authority")), {ACCOUNT: KEY})
    pebble.install("curl")
    pebble.name(*TWENTY, BLOG, LATE, WIKI)
    return pebble


@pytest.fixture
def browser(target: Target, ca: Pebble, tmp_path: Path) -> Iterator[Browser]:
    """A browser of somebody who trusts the CA, and for whom the shop's name leads to the target."""
    store = tmp_path / ".pki/nssdb"
    store.mkdir(parents=True)
    add = ["certutil", "-A", "-d", f"sql:{store}", "-n", "pebble", "-t", "C,,", "-i", str(ca.root(tmp_path))]
    for words in (["certutil", "-N", "-d", f"sql:{store}", "--empty-password"], add):
        subprocess.run(words, check=True)
    driver = start_chromium(tmp_path, f"--host-resolver-rules=MAP {NAME} {target.address}")
    yield Browser(driver)
    driver.quit()


def secured(ca: Pebble, name: str = "shop", topology: str = "nginx_gunicorn", **settings: Any) -> dict[str, Any]:
    """An app that asks the CA for its certificate."""
    work = write_source(ca.authority.work, {"source/main.py": SOURCE, "eab.ini": f"eab-kid = {ACCOUNT}\neab-hmac-key = {KEY}\n"})
    common = {"tls": "acme", "acme_directory": DIRECTORY, "acme_ca_file": str(ca.ca_file), "acme_eab": str(work / "eab.ini")}
    return app(name, work / "source", **{**common, "server_names": [NAME], "topology": topology, **settings})


def host(target: Target, *apps: dict[str, Any]) -> Play:
    """A run that may fail."""
    return target.play([*apps], playbook=PLAYBOOK)


def hosted(target: Target, *apps: dict[str, Any]) -> Play:
    """A run that ends well."""
    return target.converge([*apps], playbook=PLAYBOOK)


def shown(target: Target, name: str = NAME) -> str:
    """The fingerprint of the certificate that visitors of a name get."""
    return visit(target, name, alpn="h2").fingerprint


def on_disk(target: Target, name: str = NAME) -> str:
    """The fingerprint of a site's certificate on the host."""
    line = target.run(f"openssl x509 -in /etc/letsencrypt/live/flaskops-{name}/fullchain.pem -noout -fingerprint -sha256")
    return line.partition("=")[2].replace(":", "").lower()


def said(play: Play) -> str:
    """All that a run printed, with one space for each break of a line: long messages are wrapped, and some have marks for that."""
    return " ".join(play.output.replace("\\n", " ").replace("\\", " ").split())


def forget_tries(target: Target, *names: str) -> None:
    """Have the host ask the CA again, however often it has."""
    target.run(f"rm -f {' '.join(f'/var/lib/flaskops/certificates/flaskops-{name}.json' for name in names)}")


def age(target: Target, *names: str) -> None:
    """Have these certificates seem due, and no try in the last hour."""
    forget_tries(target, *names)
    target.run(f"sed -i 's/^RENEWED_AT, ALARM_AT = .*/RENEWED_AT, ALARM_AT = 2, 0/' {PROGRAM}")


def assert_plain(target: Target, name: str = NAME) -> None:
    """The app is served by HTTP, and sends nobody elsewhere."""
    answer = target.get("/", host=name)
    assert (answer.status, answer.headers.get("Strict-Transport-Security")) == (200, None)


def test_a_dry_run_asks_nobody(target: Target, ca: Pebble) -> None:
    """It says which CA would be asked for which names."""
    play = target.converge([secured(ca)], "--check", "--diff", playbook=PLAYBOOK)
    assert "shop would answer at https://shop.example.com/" in said(play)
    assert f"It would ask {DIRECTORY} for a certificate for {NAME}" in said(play)
    assert "Get the certificate, and switch the site to HTTPS" in play.changed
    assert not target.succeeds("ls /etc/flaskops /etc/letsencrypt")


def test_a_ca_that_does_not_answer_leaves_its_app_on_http(target: Target, ca: Pebble) -> None:
    """The host's other apps get their certificates in this first run, one for twenty names. It fails at its end with what went wrong."""
    late = secured(ca, "late", server_names=[LATE], acme_directory="https://127.0.0.1:14999/dir")
    shop, blog = secured(ca, server_names=TWENTY, **EMAIL), secured(ca, "blog", "nginx_uwsgi", server_names=[BLOG])
    play = host(target, late, shop, blog)
    assert play.returncode != 0
    answers = [f"late answers at http://{LATE}/ ", f"shop answers at https://{NAME}/ ", f"blog answers at https://{BLOG}/ "]
    assert missing(said(play), [*answers, "does not answer: ", "Connection refused"]) == []
    assert KEY not in play.output
    assert said(play).index("blog answers at ") < said(play).index("Fail without a certificate that is required")
    assert_plain(target, LATE)
    assert {shown(target, name) for name in TWENTY} == {on_disk(target)}
    assert shown(target, BLOG) == on_disk(target, BLOG)
    answer = target.get("/x?y=1", host=NAME)
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{NAME}/x?y=1")
    assert target.run(f"systemctl is-enabled {UNIT}.timer") == "enabled"
    assert target.run(f"systemctl is-active {UNIT}.timer") == "active"


def test_a_browser_that_trusts_the_ca(browser: Browser) -> None:
    """It keeps the connection as secure, follows the redirect, learns to keep to HTTPS, and sends back what is for HTTPS alone."""
    browser.open(f"http://{NAME}/first?x=1")
    assert browser.url == f"https://{NAME}/first?x=1"
    assert browser.evaluate("isSecureContext") is True
    assert browser.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    assert browser.evaluate("fetch('/').then(answer => answer.headers.get('Strict-Transport-Security'))") == "max-age=31536000"
    assert [(one["name"], one["secure"]) for one in browser.driver.get_cookies()] == [("seen", True)]
    assert browser.evaluate("fetch('/').then(answer => answer.json())") == {"mount": "", "scheme": "https", "cookie": "seen=yes"}
    assert browser.complaints == []


def test_the_host_asks_again_no_earlier_than_the_ca_wants(target: Target, ca: Pebble) -> None:
    """Neither by a run nor by its timer; a run for which HTTPS is not required warns, and ends well."""
    ca.say(503, "try later", Retry_After="7200")
    forget_tries(target, LATE)
    play = host(target, secured(ca, "late", server_names=[LATE], acme_directory=REFUSING))
    assert missing(said(play), ["503 Service Unavailable: try later", "It wants to be asked again after "]) == []
    ca.say(200, "must not be asked")
    play = hosted(target, secured(ca, "late", server_names=[LATE], acme_directory=REFUSING, tls_required=False))
    assert missing(said(play), ["is asked again at ", "503 Service Unavailable"]) == []
    assert not target.succeeds(f"systemctl start {UNIT}"), "a site without its certificate needs somebody"
    log = target.run(f"journalctl --unit={UNIT} --output=cat --no-pager")
    assert missing(log, ["is asked again at "]) == []
    assert "must not be asked" not in log


def test_one_name_that_leads_elsewhere(target: Target, ca: Pebble) -> None:
    """It keeps all names of a new site on HTTP, and those of an older one on HTTPS. The CA's own words tell which name."""
    forget_tries(target, LATE)
    before = shown(target)
    late = secured(ca, "late", server_names=[LATE, NOWHERE])
    play = host(target, late, secured(ca, server_names=[*TWENTY, "nowhere-else.example"], **EMAIL))
    assert play.returncode != 0
    words = [NOWHERE, "nowhere-else.example", "The Certificate Authority reported these problems", "Detail: "]
    assert missing(said(play), words) == []
    for name in (LATE, NOWHERE, "nowhere-else.example"):
        assert_plain(target, name)
    assert shown(target) == before


def test_the_host_switches_to_https_by_itself(target: Target, ca: Pebble) -> None:
    """Its timer goes on trying after a run that got no certificate."""
    ca.name(NOWHERE)
    state = f"/var/lib/flaskops/certificates/flaskops-{LATE}.json"
    target.run(f'sed -i \'s/"failed": [0-9.]*/"failed": 0.0/\' {state}')
    target.run(f"systemctl start {UNIT}", check=False)  # the shop's new name still leads elsewhere
    assert shown(target, LATE) == shown(target, NOWHERE) == on_disk(target, LATE)
    answer = target.get("/x?y=1", host=LATE)
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{LATE}/x?y=1")


def test_apps_of_a_site_share_its_certificate(target: Target, ca: Pebble) -> None:
    """Also one that has other names than before."""
    before = shown(target)
    names: dict[str, Any] = {"server_names": [NAME, SECOND], **EMAIL}
    forget_tries(target, NAME)
    hosted(target, secured(ca, **names), secured(ca, "page", "nginx_uwsgi", mount="/page", **names))
    assert visit(target, SECOND, "/page/").answer.json()["mount"] == "/page"
    assert shown(target) == shown(target, SECOND) == on_disk(target) == before, "it has all of them already"


def test_a_second_run_changes_nothing_and_asks_nobody(target: Target, ca: Pebble) -> None:
    """It takes no round trip more than without HTTPS, and its health check goes by HTTPS."""
    serial = shown(target)
    play = target.converge([secured(ca, server_names=[NAME, SECOND], **EMAIL)], "-vvv", playbook=PLAYBOOK)
    assert (play.recap["changed"], play.round_trips) == (0, 2), play.changed
    assert shown(target) == serial
    found = visit(target, NAME).answer
    assert (found.status, found.headers["Strict-Transport-Security"]) == (200, "max-age=31536000")
    assert "shop answers at https://shop.example.com/ " in said(play)
    assert re.search(r"Its certificate from Pebble .* has 89 days left, and will be renewed: 20", said(play))


def test_no_secret_is_shown(target: Target) -> None:
    """Neither a key nor the account at the CA: both are root's alone."""
    secrets = "/etc/letsencrypt/archive/flaskops-*/privkey*.pem /etc/flaskops/certificates/*.eab"
    assert set(target.run(f"stat --format '%U %a' {secrets}").splitlines()) == {"root 600"}
    shown = target.run("journalctl --no-pager --output=cat; cat /var/log/letsencrypt/* /var/lib/flaskops/certificates/*.json")
    assert KEY not in shown
    assert "PRIVATE KEY" not in shown


def assert_renewed_under_load(target: Target, *names: str) -> None:
    """The timer's unit renews the certificates of these sites, which are served, and no request of their visitors fails."""
    before = {name: on_disk(target, name) for name in names}
    age(target, *names)
    with ExitStack() as load:
        visitors = [load.enter_context(Visitors(target, name)) for name in names]
        target.run(f"systemctl start {UNIT}")
    for name, of_name in zip(names, visitors, strict=True):
        assert shown(target, name) == on_disk(target, name) != before[name]
        assert of_name.failed == []
        assert (of_name.answered > 50, of_name.by_http2 > 400) == (True, True)


def test_what_is_renewed_is_served(target: Target) -> None:
    """By the timer's unit, which fails, as the status says, if the front does not show it. No request fails, neither with Gunicorn nor with uWSGI."""
    assert_renewed_under_load(target, NAME, BLOG)
    target.run("printf 'broken' >/etc/nginx/conf.d/broken.conf")
    before = shown(target)
    age(target, NAME)
    assert not target.succeeds(f"systemctl start {UNIT}")
    target.run("rm /etc/nginx/conf.d/broken.conf")
    assert shown(target) == before != on_disk(target)
    assert "nginx -t: exit code 1" in told(target)["error"]
    target.run(f"systemctl start {UNIT}")
    assert shown(target) == on_disk(target)
    assert told(target)["error"] == ""
    assert told(target)["days"] == 89


def told(target: Target) -> Any:
    """What the host tells of the shop's certificate."""
    program = "import sys, json; sys.path.insert(0, '/usr/local/lib/flaskops'); import certificates as c"
    show = "print(json.dumps({one.name: c.summary(one) for one in c.read_all()}))"
    return json.loads(target.run(f'python3 -B -c "{program}; {show}"'))[f"flaskops-{NAME}"]


def test_an_app_that_moves_to_apache_keeps_its_certificate(target: Target, ca: Pebble) -> None:
    """The redirect and the CA's questions are Apache's then. No request is lost there with Gunicorn or uWSGI."""
    before = on_disk(target)
    apps = [
        secured(ca, "shop", "apache_gunicorn", server_names=[NAME, SECOND], **EMAIL),
        secured(ca, "wiki", "apache_uwsgi_mysql", server_names=[WIKI]),
    ]
    hosted(target, *(app(name, state="absent", topology="nginx_uwsgi") for name in ("page", "late", "blog")), *apps)
    assert shown(target) == on_disk(target) == before, "it goes with the last app of its names"
    for name in (NAME, WIKI):
        assert target.get("/", host=name).status == 308
    assert target.run("ls /etc/letsencrypt/live | grep flaskops").split() == [f"flaskops-{NAME}", f"flaskops-{WIKI}"]
    again = hosted(target, *apps)
    assert again.recap["changed"] == 0, again.changed
    assert_renewed_under_load(target, NAME, WIKI)


def test_mod_wsgi_takes_a_renewed_certificate_at_night(target: Target, ca: Pebble) -> None:
    """A reload of Apache loses requests there, so no other hour has one."""
    before = on_disk(target)
    hosted(target, secured(ca, "shop", "apache_mod_wsgi", server_names=[NAME, SECOND], **EMAIL))
    assert shown(target) == on_disk(target) == before
    age(target, NAME, WIKI)
    target.run(f"sed -i 's/^NIGHT = range([0-9, ]*)/NIGHT = range(0)/' {PROGRAM}")
    target.run(f"systemctl start {UNIT}")
    assert shown(target) == on_disk(target) == before
    target.run(f"sed -i 's/^NIGHT = range(0)/NIGHT = range(24)/' {PROGRAM}")
    target.run(f"systemctl start {UNIT}")
    assert shown(target) == on_disk(target) != before


def test_a_removal_leaves_nothing(target: Target) -> None:
    """Of HTTPS: no certificate, key or timer, and port 443 is closed."""
    hosted(target, *(app(name, state="absent", topology="apache_mod_wsgi") for name in ("shop", "wiki")))
    assert target.run(f"ls -d {LEFT} 2>/dev/null || true") == ""
    assert target.run("ss --listening --tcp --numeric --no-header '( sport = :443 )'") == ""
