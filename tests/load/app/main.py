"""A WSGI app that reports which release answers, from its code and from its venv, so that a mix of two is detected."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import idna  # each release has another version of this package

NUMBER = 0
SHORT, LONG = 0.02, 8  # seconds
EVENTS, LINES, LINE = 16, 128, 1 << 16  # of a stream of events; of a download, and the bytes of each


def identity(*modules: ModuleType) -> dict[str, Any]:
    """The release's number, the version of its requirement, and the paths of both, read again each time."""
    files = [os.path.realpath(str(module.__file__)) for module in (sys.modules[__name__], idna, *modules)]
    return {"number": NUMBER, "version": idna.__version__, "prefix": os.path.realpath(sys.prefix), "files": files}


def read_anew(name: str) -> ModuleType:
    """Import a module from its file, even if it was imported before, so that a removed file is noticed."""
    spec = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def events() -> Iterator[bytes]:
    """Server-sent events, each with what answers at that time."""
    for _number in range(EVENTS):
        yield b"data: %s\n\n" % json.dumps(identity()).encode()
        time.sleep(LONG / EVENTS)


def lines() -> Iterator[bytes]:
    """The pieces of a long download."""
    for _number in range(LINES):
        yield json.dumps(identity()).encode().ljust(LINE - 1) + b"\n"


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`/long` takes its time and then imports more of the code and of the venv."""
    path = environ["PATH_INFO"]
    if path == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return events()
    if path == "/download":
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(LINES * LINE))])
        return lines()
    if path == "/long":
        time.sleep(LONG)
        answer = identity(read_anew("later"), read_anew("idna.compat"))
    else:
        time.sleep(SHORT)
        answer = identity()
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
