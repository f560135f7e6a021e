"""The requests of docs/http.yml: sent as they are written, and what came back compared with what is promised."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT

TABLE: dict[str, Any] = yaml.safe_load((ROOT / "docs/http.yml").read_text(encoding="utf-8"))
MEBIBYTE = 1 << 20
CLOSED = 444  # nginx's number for a connection that is closed without an answer
APART = 0.15  # seconds between two pieces that were not sent together


@dataclass(frozen=True)
class Place:
    """Where an app is for its visitors, whom they trust if they come by HTTPS, and what of it a row may name as `${…}`."""

    address: str
    port: int
    host: str
    mount: str = ""
    topology: str = ""
    trust: ssl.SSLContext | None = None
    words: dict[str, str] = field(default_factory=dict)

    @property
    def scheme(self) -> str:
        """The URL's scheme."""
        return "https" if self.trust else "http"

    def connect(self) -> socket.socket:
        """A connection of its own, over TLS for HTTPS."""
        plain = socket.create_connection((self.address, self.port), timeout=20)
        return self.trust.wrap_socket(plain, server_hostname=self.host) if self.trust else plain

    def spelled(self, text: str) -> str:
        """A text of the table as it is sent to this app."""
        words = {"host": self.host, "mount": self.mount, "scheme": self.scheme, **self.words}
        return re.sub(r"\$\{(\w+)\}", lambda found: "a" * int(found[1]) if found[1].isdigit() else words[found[1]], text)


@dataclass
class Reply:
    """What came back: how many pieces the body had, and the status of the second request on the connection, if one was sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    pieces: int
    then: int | str = ""


def send(place: Place, row: dict[str, Any]) -> Reply:
    """Send a row's request on a connection of its own, and nothing else than what it says."""
    request = _request(place, row)
    with place.connect() as connection:
        with contextlib.suppress(OSError):  # it was answered before it was complete
            connection.sendall(request)
        reply = _reply(connection, row["send"].partition(" ")[0])
        if "then" in row:
            try:
                connection.sendall(f"GET {place.mount}/echo HTTP/1.1\r\nHost: {place.host}\r\n\r\n".encode())
                reply.then = _reply(connection, "GET").status
            except OSError as error:
                reply.then = repr(error)
        return reply


def _request(place: Place, row: dict[str, Any]) -> bytes:
    method, _blank, rest = row["send"].partition(" ")
    target, version = re.fullmatch(r"(.*?)(?: (HTTP/\d\.\d))?", rest).groups("HTTP/1.1")  # type: ignore[union-attr]
    mount = place.mount if target.startswith("/") else ""
    body, more = _body(row.get("body"))
    headers = {"Host": place.host, **more, **row.get("headers", {})}
    many = headers.pop("X-Many", 0)
    lines = [f"{method} {mount}{place.spelled(target)} {version}", *(f"X-Many-{number}: 1" for number in range(many))]
    for name, values in headers.items():
        lines += [f"{name}: {place.spelled(value)}" for value in (values if isinstance(values, list) else [values]) if value is not None]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _body(given: Any) -> tuple[bytes, dict[str, str]]:
    """A row's body as it is sent, and the headers that say its length."""

    def content(one: Any) -> bytes:
        return bytes(one * MEBIBYTE) if isinstance(one, int) else str(one).encode()

    if given is None:
        return b"", {}
    if isinstance(given, list):
        chunks = [content(one) for one in given]
        return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n", {"Transfer-Encoding": "chunked"}
    return content(given), {"Content-Length": str(len(content(given)))}


def _reply(connection: socket.socket, method: str) -> Reply:
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
    except http.client.RemoteDisconnected:
        return Reply(CLOSED, {}, b"", 0)
    body, times = bytearray(), []
    while piece := response.read1(MEBIBYTE):
        body += piece
        times.append(time.monotonic())
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    pieces = sum(1 for before, after in zip([0.0, *times], times) if after - before > APART)
    return Reply(response.status, headers, bytes(body), pieces)


def promised(row: dict[str, Any], place: Place) -> dict[str, Any]:
    """What a row says of a topology and a scheme."""
    for other in row.get("differs", []):
        if place.topology in other["in"] and place.scheme in other.get("by", ["http", "https"]):
            return dict(other)
    return row


def broken(place: Place, row: dict[str, Any]) -> Iterator[str]:
    """A sentence for each part of a row's promise that an app's answer does not keep."""
    expected, found = promised(row, place), send(place, row)
    status = expected["status"]
    if found.status not in (status if isinstance(status, list) else [status]):
        yield f"status {found.status}, not {status}; body {found.body[:200]!r}"
        return
    if "app" in expected:
        got = json.loads(found.body)
        for name, value in expected["app"].items():
            seen = got.get(name)
            if not _fits(place, value, _as_text(seen) if isinstance(seen, str) else seen):
                yield f"the app got {name} {seen!r}, not {value!r}"
    for name, value in expected.get("answer", {}).items():
        if not _fits(place, value, found.headers.get(name.lower())):
            yield f"the header {name} is {found.headers.get(name.lower())!r}, not {value!r}"
    if "text" in expected and expected["text"] not in (found.body.decode("latin-1"), len(found.body)):
        yield f"the body is {found.body[:200]!r} of {len(found.body)} bytes, not {expected['text']!r}"
    if "pieces" in expected:
        again = (send(place, row).pieces for _ in range(2))  # if this machine is busy, it may read two pieces at once
        if expected["pieces"] not in itertools.chain([found.pieces], again):
            yield f"the body came in {found.pieces} pieces, not {expected['pieces']}"
    if "then" in expected and found.then != expected["then"]:
        yield f"the second request on the connection got {found.then}, not {expected['then']}"


def _as_text(value: str) -> str:
    """A string of WSGI, which has a byte in each character, as the text that it stands for."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _fits(place: Place, expected: Any, seen: Any) -> bool:
    if not isinstance(expected, str) or not isinstance(seen, str):
        return bool(expected == seen)
    text = place.spelled(expected)
    return re.fullmatch(text[1:], seen) is not None if text.startswith("~") else text == seen
