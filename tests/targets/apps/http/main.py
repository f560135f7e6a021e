"""A WSGI app without Flask that shows what of a request has reached it, and answers what its path says: the other side of docs/http.yml."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

PIECE = bytes(1 << 16)
TEXT = b"all work and no play\n" * 500  # as text that is worth compressing


def body_of(environ: dict[str, Any]) -> bytes:
    """The request's body, read as Flask reads it: without a length only if the server says that it ends."""
    length = environ.get("CONTENT_LENGTH") or ""
    if length:
        return environ["wsgi.input"].read(int(length))
    return environ["wsgi.input"].read() if environ.get("wsgi.input_terminated") else b""


def echo(environ: dict[str, Any], argument: str) -> Any:
    """All that reached the app."""
    body = body_of(environ)
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    return "200 OK", {"Content-Type": "application/json"}, [json.dumps({**told, "body": body[:99].decode("latin-1"), "size": len(body)}).encode()]


def status(environ: dict[str, Any], argument: str) -> Any:
    """A status, with a body only if it may have one."""
    plain = argument in ("204", "304")
    return f"{argument} Said so", {"ETag": '"one"'} if plain else {"Content-Type": "text/plain", "Content-Length": "7"}, [] if plain else [b"said so"]


def header(environ: dict[str, Any], argument: str) -> Any:
    """Headers of so many KiB together; or the one that the query spells."""
    if environ["QUERY_STRING"]:
        name, _sign, value = environ["QUERY_STRING"].partition("=")
        return "302 Found" if name == "Location" else "200 OK", {name: value, "Content-Length": "2"}, [b"ok"]
    return "200 OK", {f"X-Large-{number}": "a" * 1000 for number in range(int(argument))}, [b"ok"]


def one_header(environ: dict[str, Any], argument: str) -> Any:
    """One header of so many bytes."""
    return "200 OK", {"X-Large": "a" * int(argument)}, [b"ok"]


def text(environ: dict[str, Any], argument: str) -> Any:
    """A text of 10 KiB, of any type."""
    return "200 OK", {"Content-Type": argument, "Content-Length": str(len(TEXT)), "ETag": '"one"'}, [TEXT]


def ranged(environ: dict[str, Any], argument: str) -> Any:
    """Bytes 2 to 4 of ten, as an app that answers ranges by itself."""
    return "206 Partial Content", {"Content-Range": "bytes 2-4/10", "Content-Type": "text/plain"}, [b"234"]


def zeros(environ: dict[str, Any], argument: str) -> Any:
    """So many MiB, with their length."""
    size = int(argument) << 20
    return "200 OK", {"Content-Type": "application/octet-stream", "Content-Length": str(size)}, itertools.repeat(PIECE, size // len(PIECE))


def pieces(environ: dict[str, Any], argument: str) -> Any:
    """Five events, of a type that the argument says, with the time between them."""

    def events() -> Iterator[bytes]:
        for number in range(5):
            time.sleep(0.3 if number else 0)
            yield f"data: {number}\n\n".encode()

    return "200 OK", {"Content-Type": argument}, events()


def sleep(environ: dict[str, Any], argument: str) -> Any:
    """An answer that takes so many seconds."""
    time.sleep(float(argument))
    return "200 OK", {"Content-Type": "text/plain"}, [b"awake"]


def unread(environ: dict[str, Any], argument: str) -> Any:
    """An answer of an app that does not look at the body."""
    return "200 OK", {"Content-Type": "text/plain"}, [b"not read"]


def count(environ: dict[str, Any], argument: str) -> Any:
    """The length of the body, which is read piece by piece."""
    size, left = 0, int(environ.get("CONTENT_LENGTH") or 0)
    while left:
        piece = environ["wsgi.input"].read(min(left, len(PIECE)))
        if not piece:
            break
        size, left = size + len(piece), left - len(piece)
    return "200 OK", {"Content-Type": "text/plain"}, [str(size).encode()]


ACTIONS: dict[str, Callable[[dict[str, Any], str], Any]] = {
    "status": status, "header": header, "one-header": one_header, "text": text, "range": ranged, "zeros": zeros, "pieces": pieces, "sleep": sleep,
    "unread": unread, "count": count,
}  # fmt: skip


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Do what the first part of the path says; everything else is shown."""
    name, _slash, argument = environ["PATH_INFO"].lstrip("/").partition("/")
    state, headers, body = ACTIONS.get(name, echo)(environ, argument)
    start_response(state, list(headers.items()))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else body
