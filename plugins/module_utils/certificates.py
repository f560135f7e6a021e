# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates from a CA that speaks ACME: obtained by certbot, renewed, and seen to be served.

A host has this file as a program of its own too, which a timer runs, so it needs nothing else of this collection.
"""

from __future__ import annotations

# pylint: disable=ansible-bad-function  # run_command is an AnsibleModule's, and none is at hand here
import _ssl
import contextlib
import email.utils
import fcntl
import hashlib
import http.client
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

NOTES = Path("/etc/flaskops/certificates")  # what is wanted, written with the front's own files
STATES = Path("/var/lib/flaskops/certificates")  # what was tried, and how it went
LIVE, RENEWALS = Path("/etc/letsencrypt/live"), Path("/etc/letsencrypt/renewal")
CERTBOT_LOG = Path("/var/log/letsencrypt/letsencrypt.log")
CHALLENGES = Path("/var/lib/letsencrypt/flaskops")
APACHE = Path("/etc/apache2")
TRANSACTION_LOCK = Path("/var/lib/flaskops/transaction.lock")  # of whoever changes what a front reads
HOUR, DAY = 3600, 86400  # seconds
TRIES_PER_HOUR = 3  # a CA blocks a name after five
# The distribution's certbot, which asks a CA once more that has thrown away the nonce it gave. A busy CA does that more often, and it costs nothing
# but another one. If a certbot cannot be taught that, it runs as it is.
CERTBOT = """
import sys

from certbot.main import main

try:
    from acme import client, messages

    post, refusal = client.ClientNetwork.post, messages.Error
except (ImportError, AttributeError):
    pass
else:

    def keep_posting(*words, **named):
        for _try in range(20):
            try:
                return post(*words, **named)
            except refusal as error:
                if error.code != "badNonce":
                    raise
        return post(*words, **named)

    client.ClientNetwork.post = keep_posting
sys.argv[0] = "certbot"
sys.exit(main())
"""
PYTHON = "/usr/bin/python3"  # certbot's, whichever this file runs with
LONGEST_WAIT = 12 * HOUR  # of the timer, after several tries
RENEWED_AT, ALARM_AT = 1 / 3, 1 / 6  # of a certificate's life left
NIGHT = range(2, 5)  # hours of the host's own time, for a reload that loses requests
ASK_SECONDS, CERTBOT_SECONDS, SERVED_SECONDS = 15, 180, 15
NOISE = re.compile(  # what certbot says of itself
    r"^(?:Saving debug log|Ask for help|See the logfile|Requesting a certificate|Renewing an existing|Account registered|Hint: |Some challenges).*$"
    r"|^[ -]*$"
)


class CertificateError(Exception):
    """What is wrong, in the words of the CA if it said something."""


@dataclass(frozen=True)
class Wanted:
    """What is noted of a certificate: its names, its CA, how its site is switched to HTTPS, and where the host itself reaches the site."""

    name: str = ""
    names: list[str] = field(default_factory=list)
    server: str = ""
    email: str = ""
    eab: str = ""
    ca_file: str = ""
    link: str = ""
    target: str = ""
    unit: str = ""
    test: str = ""
    http: str = ""
    https: str = ""

    @property
    def note(self) -> Path:
        """The file that says so."""
        return NOTES / f"{self.name}.json"

    @property
    def file(self) -> Path:
        """The certificate with those between it and the CA's own."""
        return LIVE / self.name / "fullchain.pem"

    def covered(self) -> list[str]:
        """Those of the names that the certificate has; none if there is no certificate that is valid now."""
        found = read_certificate(self.file)
        return [name for name in self.names if name in found.names] if found and found.is_valid() else []

    def given_by(self) -> str:
        """The CA that gave the certificate, by its URL; empty if certbot does not know."""
        try:
            noted = re.search(r"^server = (\S+)$", (RENEWALS / f"{self.name}.conf").read_text(encoding="utf-8"), re.MULTILINE)
        except (OSError, ValueError):
            return ""
        return noted[1] if noted else ""

    def is_complete(self) -> bool:
        """Whether the certificate is there, is valid now, has all names, and comes from the right CA."""
        return self.covered() == self.names and self.given_by() in ("", self.server)


@dataclass(frozen=True)
class Found:
    """A certificate: times are in seconds since 1970."""

    names: list[str]
    issuer: str
    begins: float
    ends: float
    fingerprint: str

    def is_valid(self) -> bool:
        """Whether it is valid now."""
        return self.begins - DAY < time.time() < self.ends  # the clocks of a CA and a host may differ

    def left(self) -> float:
        """The part of its life that is left, from 0 to 1."""
        return max(0.0, (self.ends - time.time()) / (self.ends - self.begins))


@dataclass
class State:
    """What was tried for a certificate: times are in seconds since 1970, and ``error`` is empty after a success."""

    tries: list[float] = field(default_factory=list)
    failures: int = 0
    failed: float = 0.0
    error: str = ""
    not_before: float = 0.0

    @classmethod
    def read(cls, name: str) -> State:
        """As it is noted. Never raises."""
        try:
            given = json.loads((STATES / f"{name}.json").read_text(encoding="utf-8"))
            tries = [float(one) for one in given["tries"]]
            return cls(tries, int(given["failures"]), float(given["failed"]), str(given["error"]), float(given["not_before"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def write(self, name: str) -> None:
        """Note it."""
        STATES.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(STATES / f"{name}.json", json.dumps(asdict(self)), 0o600)

    def earliest(self, patient: bool) -> float:
        """When the CA may be asked again. A ``patient`` one waits the longer the more tries have failed."""
        recent = sorted(one for one in self.tries if one > time.time() - HOUR)
        full = recent[-TRIES_PER_HOUR] + HOUR if len(recent) >= TRIES_PER_HOUR else 0.0
        waits = self.failed + min(HOUR * 2 ** (min(self.failures, 9) - 1), LONGEST_WAIT) if patient and self.failures else 0.0
        return max(full, waits, self.not_before)


def write_whole(path: Path, text: str, mode: int) -> None:
    """Replace a file in one step."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.touch(mode=0o600)
    scratch.write_text(text, encoding="utf-8")
    scratch.chmod(mode)
    os.replace(scratch, path)


def read_all() -> list[Wanted]:
    """What is noted of certificates on this host. Never raises."""
    found = []
    for path in sorted(NOTES.glob("*.json")):
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
            found.append(Wanted(**{**given, "name": path.stem}))
        except (OSError, ValueError, TypeError):
            continue
    return found


def read_certificate(path: Path) -> Found | None:
    """The first certificate of a file; ``None`` if there is none that can be read."""
    try:
        shown: dict[str, Any] = _ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]
        text = path.read_text(encoding="ascii")
        first = text[: text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)]
        der = ssl.PEM_cert_to_DER_cert(first[first.index(ssl.PEM_HEADER) :])
        issuer = {name: value for part in shown["issuer"] for name, value in part}
        return Found(
            names=[value for kind, value in shown.get("subjectAltName", ()) if kind == "DNS"],
            issuer=issuer.get("organizationName", "") or issuer.get("commonName", ""),
            begins=ssl.cert_time_to_seconds(shown["notBefore"]),
            ends=ssl.cert_time_to_seconds(shown["notAfter"]),
            fingerprint=hashlib.sha256(der).hexdigest(),
        )
    except (OSError, ValueError, KeyError):
        return None


def is_on(directory: Path, names: list[str]) -> bool:
    """Whether a site with the certificate of this directory is served by HTTPS: it is there, valid, and has one of the names."""
    found = read_certificate(directory / "fullchain.pem")
    return bool(found and found.is_valid() and (LIVE not in directory.parents or set(names) & set(found.names)))


def summary(wanted: Wanted) -> dict[str, Any]:
    """What people read of a certificate: ``days`` left, ``expires``, ``issuer``, ``next`` renewal or try, and the last ``error``."""
    found, state = read_certificate(wanted.file), State.read(wanted.name)
    due = state.earliest(patient=True)
    if found and wanted.is_complete():
        due = max(due, found.ends - (found.ends - found.begins) * RENEWED_AT)
    return {**summary_of_file(wanted.file), "error": state.error, "next": as_time(due) if due > time.time() else "within the hour"}


def summary_of_file(path: Path) -> dict[str, Any]:
    """What people read of a certificate that somebody else renews."""
    found = read_certificate(path)
    if found is None:
        return {"error": f"{path} is no certificate", "next": ""}
    days = int((found.ends - time.time()) // DAY)
    return {
        "days": days,
        "expires": as_time(found.ends),
        "issuer": found.issuer,
        "error": "" if found.is_valid() else "it is not valid now",
        "next": "",
    }


def as_time(seconds: float) -> str:
    """A time as people and programs read it, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def obtain(wanted: Wanted, patient: bool = False, loses_requests: bool = False) -> bool:
    """Have the site served with a good certificate, asking the CA for one if it is missing or due; returns whether anything changed.

    ``patient`` is for the timer. Raises ``CertificateError``.
    """
    with _alone():
        state = State.read(wanted.name)
        asks = is_due(wanted, loses_requests)
        try:
            if asks:
                _ask_ca(wanted, state, patient)
        except CertificateError as error:
            found = read_certificate(wanted.file)
            if not (patient and wanted.is_complete() and found and found.left() > ALARM_AT):
                raise
            print(f"{wanted.name}: {error}", file=sys.stderr)  # there is time, and `status` tells of the error
            asks = False
        try:
            switched = serve(wanted, renewed=asks)
        except CertificateError as error:
            State(state.tries, error=str(error)).write(wanted.name)
            raise
        if asks or (state.error and not state.failures):
            State(state.tries).write(wanted.name)
        return asks or switched


def is_due(wanted: Wanted, loses_requests: bool = False) -> bool:
    """Whether the CA must be asked: at once for a certificate that is missing, at night if a reload of the front loses requests."""
    found = read_certificate(wanted.file)
    if found is None or not wanted.is_complete():
        return True
    return found.left() < RENEWED_AT and (not loses_requests or found.left() < ALARM_AT or time.localtime().tm_hour in NIGHT)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait until nothing else on this host asks for certificates."""
    STATES.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(STATES / "lock", "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _ask_ca(wanted: Wanted, state: State, patient: bool) -> None:
    """Raises ``CertificateError``, and notes why."""
    earliest = state.earliest(patient)
    if earliest > time.time():
        raise CertificateError(f"the CA is asked again at {as_time(earliest)} at the earliest, because of what went wrong before: {state.error}")
    try:
        _ask_host(wanted)
        _ask_directory(wanted, state)
        state.tries = [*(one for one in state.tries if one > time.time() - HOUR), time.time()]
        state.write(wanted.name)
        _run_certbot(wanted, state)
    except CertificateError as error:
        state.error = str(error)
        state.failures += 1
        state.failed = time.time()
        state.write(wanted.name)
        raise
    if not wanted.is_complete():
        raise CertificateError(f"certbot says that it has a certificate, but {wanted.file} is none for {', '.join(wanted.names)}")


def _ask_host(wanted: Wanted) -> None:
    """Ask this host for what the CA will ask it for: that costs nothing. Raises ``CertificateError``."""
    CHALLENGES.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    directory = CHALLENGES / ".well-known" / "acme-challenge"
    for path in (CHALLENGES, directory.parent, directory):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    token = secrets.token_hex(16)
    file = directory / f"flaskops-{token}"
    write_whole(file, token, 0o644)
    try:
        for name in wanted.names:
            answer = _get(wanted.http, name, f"/.well-known/acme-challenge/{file.name}")
            if answer != token:
                raise CertificateError(f"http://{name}/.well-known/acme-challenge/ does not answer on this host itself (at {wanted.http}): {answer}")
    finally:
        file.unlink()


def _get(address: str, host: str, path: str) -> str:
    connection = http.client.HTTPConnection(address, timeout=ASK_SECONDS)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        body = answer.read(200).decode(errors="replace")
        return body if answer.status == 200 else f"{answer.status} {answer.reason}"
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def _ask_directory(wanted: Wanted, state: State) -> None:
    """Ask the CA for its directory: whether it answers at all counts as no try. Raises ``CertificateError``."""
    request = urllib.request.Request(wanted.server, headers={"User-Agent": "flaskops"})
    context = ssl.create_default_context(cafile=wanted.ca_file or None)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=ASK_SECONDS) as answer:
            said = answer.read(65536).decode(errors="replace")
        if "newOrder" not in json.loads(said):
            raise ValueError
    except urllib.error.HTTPError as error:
        state.not_before = _after(error.headers.get("Retry-After", ""))
        said = " ".join(error.read(300).decode(errors="replace").split())
        raise CertificateError(f"the CA at {wanted.server} answers {error.code} {error.reason}: {said}{_until(state)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise CertificateError(f"the CA at {wanted.server} does not answer: {getattr(error, 'reason', '') or error}") from None
    except (ValueError, TypeError):
        raise CertificateError(f"the CA at {wanted.server} answers with no ACME directory: {' '.join(said.split())[:200]}") from None


def _after(text: str) -> float:
    """The time that a header Retry-After names; 0 for none."""
    if text.strip().isdigit():
        return time.time() + min(int(text), 30 * DAY)
    with contextlib.suppress(ValueError, TypeError):
        return email.utils.parsedate_to_datetime(text).timestamp()
    return 0.0


def _until(state: State) -> str:
    return f". It wants to be asked again after {as_time(state.not_before)}" if state.not_before > time.time() else ""


def _run_certbot(wanted: Wanted, state: State) -> None:
    """Raises ``CertificateError``."""
    settings = {
        "non-interactive": "true", "agree-tos": "true", "server": wanted.server, "webroot": "true", "webroot-path": str(CHALLENGES),
        "key-type": "ecdsa", "domains": ",".join(wanted.names),
        # the unit of this file renews it, and sees that it is served
        "no-autorenew": "true",
        **({"email": wanted.email, "no-eff-email": "true"} if wanted.email else {"register-unsafely-without-email": "true"}),
    }  # fmt: skip
    text = "".join(f"{name} = {value}\n" for name, value in settings.items())
    text += Path(wanted.eab).read_text(encoding="utf-8") if wanted.eab else ""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **({"REQUESTS_CA_BUNDLE": wanted.ca_file} if wanted.ca_file else {})}
    scratch = Path(tempfile.mkdtemp(prefix="flaskops-"))
    try:
        write_whole(scratch / "certbot.ini", text, 0o600)  # no secret is an argument, which every account sees
        options = ["--config", str(scratch / "certbot.ini"), "--cert-name", wanted.name, "--force-renewal", "--renew-with-new-domains"]
        code, output = _run([PYTHON, "-I", "-c", CERTBOT, "certonly", *options], CERTBOT_SECONDS, environment)
    finally:
        shutil.rmtree(scratch)
    if code:
        log = CERTBOT_LOG.read_text(encoding="utf-8", errors="replace") if CERTBOT_LOG.is_file() else ""
        waits = re.findall(r"^Retry-After: (.+)$", log, re.MULTILINE | re.IGNORECASE)
        refused = re.search(r"^HTTP (?:429|503)$", log, re.MULTILINE)
        state.not_before = _after(waits[-1]) if waits and refused else 0.0
        said = "\n".join(line.rstrip() for line in output.splitlines() if not NOISE.match(line))
        raise CertificateError(f"{said or f'certbot ended with exit code {code}'}{_until(state)}")


def _run(words: list[str], timeout: float = 60, environment: dict[str, str] | None = None) -> tuple[int, str]:
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, env=environment,
            encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 1, f"{words[0]} has not ended within {timeout:g} seconds"
    except OSError as error:
        return 127, f"{words[0]}: {error.strerror}"
    return done.returncode, done.stdout


def serve(wanted: Wanted, renewed: bool) -> bool:
    """Have the front serve the certificate that is there, and switch the site to HTTPS if it has all names; returns whether anything was done.

    Raises ``CertificateError``; a site that was not switched before is as it was then.
    """
    found = read_certificate(wanted.file)
    if found is None or not found.is_valid():
        raise CertificateError(f"{wanted.file} is no valid certificate")
    with open(TRANSACTION_LOCK, "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        link = Path(wanted.link)
        before = os.readlink(link) if link.is_symlink() else ""
        switches = bool(before) and before != wanted.target and wanted.is_complete()
        if not (switches or renewed) and served(wanted, found, 0) == "":
            return False
        try:
            if switches:
                _point(link, wanted.target)
            _take(wanted)
            problem = served(wanted, found, SERVED_SECONDS)
            if problem:
                raise CertificateError(problem)
        except CertificateError:
            if switches:
                _point(link, before)
                _take(wanted)
            raise
        return True


def _point(link: Path, target: str) -> None:
    scratch = link.with_name(f".{link.name}.new")
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(target)
    os.replace(scratch, link)


def _take(wanted: Wanted) -> None:
    """Test what the front reads, and have it read that. Raises ``CertificateError``."""
    for words in (shlex.split(wanted.test), ["systemctl", "reload", wanted.unit]):
        code, output = _run(words)
        if code:
            raise CertificateError(f"{shlex.join(words)}: exit code {code}\n{output.strip()}")


def served(wanted: Wanted, found: Found, seconds: float) -> str:
    """What is wrong with what the front serves for each name, after at most so many seconds; empty if it is the certificate."""
    deadline = time.monotonic() + seconds
    while True:
        wrong = {
            name: answer for name in wanted.names if name in found.names for answer in [handshake(wanted.https, name)] if answer != found.fingerprint
        }
        if not wrong:
            return ""
        if time.monotonic() >= deadline:
            name, answer = next(iter(wrong.items()))
            other = "another certificate" if re.fullmatch("[0-9a-f]{64}", answer) else answer
            return f"{wanted.unit} does not serve the certificate in {wanted.file}: {name} at {wanted.https} answers with {other}"
        time.sleep(0.2)


def handshake(address: str, name: str) -> str:
    """The fingerprint of the certificate that a server shows for a name, or what went wrong."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, _colon, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), ASK_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            return hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def remove(name: str) -> bool:
    """Remove a certificate that this collection has asked for, and what was noted of it; returns whether there was anything."""
    there = (RENEWALS / f"{name}.conf").exists() or (STATES / f"{name}.json").exists()
    with _alone():
        _run(["certbot", "delete", "--non-interactive", "--cert-name", name], CERTBOT_SECONDS)
        (STATES / f"{name}.json").unlink(missing_ok=True)
        if not list(STATES.glob("*.json")):
            shutil.rmtree(CHALLENGES, ignore_errors=True)
    if not list(STATES.glob("*.json")):
        shutil.rmtree(STATES)
    return there


def loses_requests(unit: str) -> bool:
    """Whether a reload of a front loses requests: that of Apache does if mod_wsgi has processes for an app, ours or not."""
    if unit != "apache2.service":
        return False
    files = [path for place in ("conf-enabled", "sites-enabled", "flaskops") for path in (APACHE / place).glob("**/*.conf") if path.is_file()]
    return any("WSGIDaemonProcess" in path.read_text(encoding="utf-8", errors="replace") for path in files)


def main() -> int:
    """Look after all certificates of the host; returns 1 if one of them needs somebody."""
    failed = 0
    for wanted in read_all():
        try:
            obtain(wanted, patient=True, loses_requests=loses_requests(wanted.unit))
            found = read_certificate(wanted.file)
            if found and found.left() < ALARM_AT:
                raise CertificateError(f"it ends in {int((found.ends - time.time()) // DAY)} days: {State.read(wanted.name).error}")
        except (CertificateError, OSError) as error:
            print(f"{wanted.name}: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
