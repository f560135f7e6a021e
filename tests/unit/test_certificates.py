"""What a host does with its certificates, with a CA that is a part of the test, and no certbot."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import certificates
from ansible_collections.flaskops.hosting.plugins.module_utils.certificates import CertificateError, State, Wanted
from ansible_collections.flaskops.hosting.tests.targets.authority import Authority, fingerprint

NAMES = ["a.example", "b.example"]
HOUR = 3600
DATE = "Wed, 01 Jan 2098 00:00:00 GMT"


class Says(http.server.BaseHTTPRequestHandler):
    """What the CA and the front of a test say."""

    given: dict[str, Any] = {}
    asked = 0

    def do_GET(self) -> None:
        """Give what is asked of the front, or what the CA says."""
        challenge = certificates.CHALLENGES / self.path.lstrip("/")
        if self.path.startswith("/.well-known") and challenge.is_file():
            self._answer(200, challenge.read_text(), {})
            return
        type(self).asked += 1
        time.sleep(self.given.get("seconds", 0))
        self._answer(self.given["status"], self.given["body"], self.given.get("headers", {}))

    def _answer(self, status: int, body: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_words: Any) -> None:
        """Nothing."""


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wanted]:
    """A certificate that a host of the test is to have; its CA and its front are one server."""
    for name in ("NOTES", "STATES", "LIVE", "RENEWALS", "CHALLENGES"):
        monkeypatch.setattr(certificates, name, tmp_path / name.lower())
    monkeypatch.setattr(certificates, "TRANSACTION_LOCK", tmp_path / "lock")
    monkeypatch.setattr(certificates, "CERTBOT_LOG", tmp_path / "log")
    monkeypatch.setattr(certificates, "ASK_SECONDS", 0.5)
    monkeypatch.setattr(certificates, "SERVED_SECONDS", 0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Says)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    Says.given, Says.asked = {"status": 200, "body": json.dumps({"newOrder": ""})}, 0
    link = tmp_path / "enabled.conf"
    link.symlink_to("plain.conf")
    yield Wanted(
        "one", NAMES, f"http://{address}/dir", link=str(link), target="https.conf", unit="nginx.service", test="true", http=address, https=address
    )
    server.shutdown()
    server.server_close()


def give(wanted: Wanted, tmp_path: Path, names: list[str] | None = None, **validity: int) -> None:
    """Put a certificate where certbot does."""
    pair = Authority(tmp_path).give(*(names or wanted.names), **validity)
    wanted.file.parent.mkdir(parents=True, exist_ok=True)
    wanted.file.write_bytes(pair[0].read_bytes())


@pytest.mark.parametrize(
    ("given", "words", "waits"),
    [
        ({"status": 503, "body": "try later", "headers": {"Retry-After": "7200"}}, "503 Service Unavailable: try later. It wants", 2 * HOUR),
        ({"status": 429, "body": "too many", "headers": {"Retry-After": DATE}}, "answers 429 Too Many Requests: too many", HOUR),
        ({"status": 500, "body": ""}, "answers 500 Internal Server Error", 0),
        ({"status": 200, "body": "<html>a  proxy's\npage</html>"}, "answers with no ACME directory: <html>a proxy's page</html>", 0),
        ({"status": 200, "body": "[]"}, "answers with no ACME directory", 0),
        ({"status": 200, "body": "", "seconds": 1}, "does not answer: ", 0),
    ],
)  # fmt: skip
def test_a_ca_that_gives_none_is_quoted_and_obeyed(wanted: Wanted, given: dict[str, Any], words: str, waits: float) -> None:
    """It is no try; and it is not asked again before it wants."""
    Says.given = given
    with pytest.raises(CertificateError) as raised:
        certificates.obtain(wanted)
    assert words in str(raised.value)
    state = State.read("one")
    assert (state.error, state.tries, state.failures) == (str(raised.value), [], 1)
    assert (state.not_before - time.time() > waits - 60) == bool(waits)
    asked = Says.asked
    with pytest.raises(CertificateError, match="is asked again at" if waits else "answer"):
        certificates.obtain(wanted)
    assert Says.asked == asked + (0 if waits else 1)


def test_a_ca_that_nobody_reaches(wanted: Wanted) -> None:
    with pytest.raises(CertificateError, match="does not answer: .*refused"):
        certificates.obtain(Wanted(**{**vars(wanted), "server": "http://127.0.0.1:1/dir"}))


def test_a_front_that_does_not_answer_costs_the_ca_nothing(wanted: Wanted) -> None:
    with pytest.raises(CertificateError, match="a.example/.well-known/acme-challenge/ does not answer on this host itself"):
        certificates.obtain(Wanted(**{**vars(wanted), "http": "127.0.0.1:1"}))
    assert Says.asked == 0


def refuse(words: list[str], *_more: Any) -> tuple[int, str]:
    """Be a certbot whose CA refuses."""
    return (1, "Saving debug log to /x\n\nDetail: no such name\nAsk for help at y") if "certonly" in words else (0, "")


def test_three_tries_an_hour(wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the CA's own words."""
    monkeypatch.setattr(certificates, "_run", refuse)
    for _try in range(3):
        with pytest.raises(CertificateError, match="^Detail: no such name$"):
            certificates.obtain(wanted)
    with pytest.raises(CertificateError, match="is asked again at .*Detail: no such name"):
        certificates.obtain(wanted)
    state = State.read("one")
    assert len(state.tries) == 3
    State([one - HOUR for one in state.tries], 3, state.failed - HOUR, state.error).write("one")
    with pytest.raises(CertificateError, match="is asked again at"):
        certificates.obtain(wanted, patient=True)
    with pytest.raises(CertificateError, match="^Detail: no such name$"):
        certificates.obtain(wanted)


def test_a_refusal_in_the_middle_names_its_time(wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_run", refuse)
    certificates.CERTBOT_LOG.write_text("HTTP 200\nHTTP 429\nRetry-After: 600\n\n{}\n")
    with pytest.raises(CertificateError, match="It wants to be asked again after"):
        certificates.obtain(wanted)
    assert 500 < State.read("one").not_before - time.time() <= 600


def pretend_certbot(directory: Path, post: str) -> None:
    """Put a certbot into a directory that asks its CA once, with this ``post``, and says what it was called with."""
    main = "import sys\nfrom acme import client\ndef main():\n    print(sys.argv, client.ClientNetwork().post('order', to='url'))\n"
    messages = "class Error(Exception):\n    code = property(lambda error: error.args[0])\n"
    said = "said = []\nclass ClientNetwork:\n" + textwrap.indent(post, "    ")
    for path, text in {"certbot/main.py": main, "acme/messages.py": messages, "acme/client.py": f"from acme import messages\n{said}"}.items():
        (directory / path).parent.mkdir(exist_ok=True)
        (directory / path).write_text(text)
        (directory / path).with_name("__init__.py").touch()


def run_certbot(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run it as a host does."""
    words = [
        sys.executable,
        "-I",
        "-c",
        f"import sys\nsys.path.insert(0, {str(directory)!r})\n{certificates.CERTBOT}",
        "certonly",
        "--cert-name",
        "one",
    ]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("code", "asked"), [("badNonce", 12), ("rateLimited", 1)])
def test_a_nonce_that_the_ca_does_not_take_is_replaced(tmp_path: Path, code: str, asked: int) -> None:
    """More often than certbot does it; any other refusal is reported at once."""
    refuse = f"said.append(1)\n    if len(said) < 12:\n        raise messages.Error({code!r})"
    pretend_certbot(tmp_path, f"def post(self, *words, **named):\n    print('asked')\n    {refuse}\n    return words, named\n")
    done = run_certbot(tmp_path)
    assert done.stdout.count("asked\n") == asked
    if asked == 1:
        assert (done.returncode, "rateLimited" in done.stderr) == (1, True)
    else:
        assert done.stdout.splitlines()[-1] == "['certbot', 'certonly', '--cert-name', 'one'] (('order',), {'to': 'url'})"


def test_a_certbot_of_another_kind_runs_as_it_is(tmp_path: Path) -> None:
    pretend_certbot(tmp_path, "def __getattr__(self, name):\n    return lambda *words, **named: name\n")
    assert run_certbot(tmp_path).stdout == "['certbot', 'certonly', '--cert-name', 'one'] post\n"


def test_no_secret_is_an_argument(wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """certbot reads it from a file that is root's, and that is gone afterwards."""
    binding = tmp_path / "eab"
    binding.write_text("eab-kid = one\neab-hmac-key = hush\n")
    seen: list[tuple[list[str], str]] = []

    def certbot(words: list[str], *_more: Any) -> tuple[int, str]:
        seen.append((words, Path(words[words.index("--config") + 1]).read_text()))
        return 1, ""

    monkeypatch.setattr(certificates, "_run", certbot)
    with pytest.raises(CertificateError, match="exit code 1"):
        certificates.obtain(Wanted(**{**vars(wanted), "eab": str(binding)}))
    assert "hush" not in " ".join(seen[0][0])
    assert "eab-hmac-key = hush" in seen[0][1]
    assert not Path(seen[0][0][seen[0][0].index("--config") + 1]).exists()


def test_a_front_that_does_not_take_it_stays_as_it_was(wanted: Wanted, tmp_path: Path) -> None:
    """The site is switched back, and the error is noted until it is served."""
    give(wanted, tmp_path)
    with pytest.raises(CertificateError, match="nginx.service|systemctl"):
        certificates.obtain(wanted)
    assert Path(wanted.link).readlink() == Path("plain.conf")
    assert State.read("one").error


def test_what_is_good_and_served_needs_nothing(wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(wanted, tmp_path)
    found = certificates.read_certificate(wanted.file)
    assert found is not None
    assert found.fingerprint == fingerprint(wanted.file)
    monkeypatch.setattr(certificates, "handshake", lambda *_words: found.fingerprint)
    monkeypatch.setattr(certificates, "_run", lambda *_words: (0, ""))
    State(error="it was not served").write("one")
    assert certificates.obtain(wanted)
    assert Path(wanted.link).readlink() == Path("https.conf")
    assert not certificates.obtain(wanted)
    assert (Says.asked, State.read("one").error) == (0, "")
    shown = certificates.summary(wanted)
    assert (shown["days"], shown["error"], shown["issuer"]) == (89, "", "A CA for tests")


@pytest.mark.parametrize(
    ("ends", "at_night", "due"), [(90, False, False), (30, False, True), (30, True, False), (14, True, True)]
)  # fmt: skip
def test_when_a_certificate_is_renewed(wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: int, at_night: bool, due: bool) -> None:
    """At a third of its life left, where a reload loses requests at night, and in time in any case."""
    give(wanted, tmp_path, begins=ends - 100, ends=ends)
    monkeypatch.setattr(certificates, "NIGHT", [(time.localtime().tm_hour + 1) % 24])
    assert certificates.is_due(wanted, at_night) == due
    if due:
        monkeypatch.setattr(certificates, "NIGHT", [time.localtime().tm_hour])
        assert certificates.is_due(wanted, at_night)


def test_a_reload_loses_requests_if_mod_wsgi_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module alone does not: a host may have it and no app of it."""
    monkeypatch.setattr(certificates, "APACHE", tmp_path)
    for place in ("mods-enabled/wsgi.load", "flaskops/shop/98-shop.conf"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("LoadModule wsgi_module mod_wsgi.so\n")
    assert not certificates.loses_requests("apache2.service")
    (tmp_path / "flaskops/shop/98-shop.conf").write_text("WSGIDaemonProcess shop-a user=shop\n")
    assert certificates.loses_requests("apache2.service")
    assert not certificates.loses_requests("nginx.service")


def test_a_certificate_that_ends_soon_alarms(wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Until then a CA that refuses does not."""
    certificates.NOTES.mkdir()
    wanted.note.write_text(json.dumps({name: value for name, value in vars(wanted).items() if name != "name"}))
    monkeypatch.setattr(certificates, "_run", refuse)
    monkeypatch.setattr(certificates, "served", lambda *_words: "")
    for ends, code in ((30, 0), (14, 1)):
        State().write("one")
        give(wanted, tmp_path, begins=ends - 100, ends=ends)
        assert certificates.main() == code
        assert "Detail: no such name" in capsys.readouterr().err


def test_a_certificate_of_another_ca_is_due(wanted: Wanted, tmp_path: Path) -> None:
    give(wanted, tmp_path)
    certificates.RENEWALS.mkdir()
    for server, due in (("https://staging.example/dir", True), (wanted.server, False)):
        (certificates.RENEWALS / "one.conf").write_text(f"[renewalparams]\naccount = x\nserver = {server}\n")
        assert certificates.is_due(wanted) == due


def test_what_is_no_certificate_is_none(tmp_path: Path, wanted: Wanted) -> None:
    file = tmp_path / "fullchain.pem"
    assert certificates.read_certificate(file) is None
    file.write_text("nothing\n")
    assert certificates.read_certificate(file) is None
    assert not certificates.is_on(tmp_path, NAMES)
    give(wanted, tmp_path, ["other.example"])
    assert wanted.covered() == []
    give(wanted, tmp_path, begins=-9, ends=-2)
    assert wanted.covered() == []
