"""A CA for tests, and what a visitor who trusts it gets by HTTPS."""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.flaskops.hosting.tests.targets.harness import Answer, Target


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@dataclass
class Authority:
    """A root certificate, and the certificates that it gives."""

    work: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def root(self) -> Path:
        """The file with the root certificate."""
        path = self.work / "root.pem"
        if not path.exists():
            path.write_bytes(self._signed(_name("A CA for tests"), self.key, [], -1, 365).public_bytes(serialization.Encoding.PEM))
        return path

    def give(self, *names: str, begins: int = -1, ends: int = 90) -> tuple[Path, Path]:
        """The files of a certificate for these names, valid from and until so many days from now, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(_name(names[0]), key, list(names), begins, ends)
        stem = f"{names[0].replace('*', 'wildcard')}-{certificate.serial_number:x}"
        files = self.work / f"{stem}.pem", self.work / f"{stem}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + self.root.read_bytes())
        files[1].write_bytes(_pem(key))
        return files

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: list[str], begins: int, ends: int) -> x509.Certificate:
        now = datetime.now(timezone.utc)
        built = (
            x509.CertificateBuilder(subject_name=subject, issuer_name=_name("A CA for tests"), public_key=key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=begins))
            .not_valid_after(now + timedelta(days=ends))
            .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        )
        built = built.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        built = built.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        if names:
            built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        else:  # Python 3.13 wants a CA that says so, and the keys' identifiers
            usage = x509.KeyUsage(False, False, False, False, False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)
            built = built.add_extension(usage, critical=True)
        return built.sign(self.key, hashes.SHA256())


@dataclass(frozen=True)
class Visit:
    """What a visitor got, by which protocol and version of TLS, and the fingerprint of the certificate that was shown."""

    answer: Answer
    protocol: str
    version: str
    fingerprint: str


def visit(target: Target, name: str, path: str = "/", root: Path | None = None, port: int = 443, alpn: str = "http/1.1") -> Visit:
    """Ask for a page as a browser does that trusts one root certificate; without a ``root``, whatever certificate is shown.

    Raises ``ssl.SSLError``. Only the handshake is made if ``alpn`` is ``h2``.
    """
    context = ssl.create_default_context(cafile=root)
    if root is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    with socket.create_connection((target.address, port), 10) as plain, context.wrap_socket(plain, server_hostname=name) as secure:
        shown = hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()
        answer = Answer(0, {}, b"")
        if alpn != "h2":
            secure.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            response = http.client.HTTPResponse(secure)
            response.begin()
            answer = Answer(response.status, dict(response.getheaders()), response.read())
        return Visit(answer, secure.selected_alpn_protocol() or "", secure.version() or "", shown)


def fingerprint(certificate: Path) -> str:
    """The fingerprint of the first certificate of a file."""
    return x509.load_pem_x509_certificate(certificate.read_bytes()).fingerprint(hashes.SHA256()).hex()


class Visitors:
    """Visitors who ask all the time while the block runs: with a connection for each request, with one that they keep, and by HTTP/2.

    Like browsers, they ask once more if a kept connection turns out to be closed. ``by_http2`` counts those of curl, which the host has.
    """

    def __init__(self, target: Target, name: str, each: int = 1) -> None:
        self.target, self.name = target, name
        self.answered, self.failed = 0, list[str]()
        self._stop = threading.Event()
        self.by_http2 = 0
        ways = (self._ask_once, self._keep_asking, self._ask_by_http2)
        self._threads = [threading.Thread(target=ask) for ask in ways for _one in range(each)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _connect(self) -> http.client.HTTPSConnection:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(self.target.address, timeout=10, context=context)
        connection.sock = context.wrap_socket(socket.create_connection((self.target.address, 443), 10), server_hostname=self.name)
        return connection

    def _ask(self, connection: http.client.HTTPSConnection) -> None:
        connection.request("GET", "/", headers={"Host": self.name})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            self.failed.append(f"{answer.status} {answer.reason}")
        self.answered += 1

    def _ask_once(self) -> None:
        while not self._stop.is_set():
            try:
                connection = self._connect()
                self._ask(connection)
                connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))

    def _keep_asking(self) -> None:
        connection: http.client.HTTPSConnection | None = None
        while not self._stop.is_set():
            is_new = connection is None or connection.sock is None
            try:
                connection = self._connect() if connection is None or is_new else connection
                self._ask(connection)
            except (OSError, http.client.HTTPException) as error:
                if is_new:
                    self.failed.append(repr(error))
                connection = None

    def _ask_by_http2(self) -> None:
        """Some hundred requests in one connection, several at a time, over and over."""
        url = f"https://{self.name}/?[1-400]"
        # a reload ends a connection between its requests, and Apache does so without a word
        options = (
            "--retry 1 --retry-all-errors --retry-delay 1 --silent --insecure --http2 --parallel --parallel-max 4 --max-time 10"
            f" --resolve {self.name}:443:{self.target.address}"
        )
        while not self._stop.is_set():
            shown = self.target.run(
                f"curl {options} --output /dev/null --write-out '%{{http_code}} %{{http_version}} %{{errormsg}}\\n' '{url}'", check=False
            )
            answers = shown.splitlines()
            good = [one for one in answers if one.startswith("200 2")]
            self.by_http2 += len(good)
            self.failed += [f"by HTTP/2: {one}" for one in answers if one not in good]
