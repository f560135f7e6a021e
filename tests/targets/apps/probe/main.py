"""A WSGI app without Flask that shows what its process sees, and does what a broken-into app would try."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

VERSION = "one"


def environment(_argument: str) -> Any:
    """Each variable's bytes as hexadecimal digits."""
    return {os.fsdecode(name): value.hex() for name, value in os.environb.items()}


def who(_argument: str) -> Any:
    """The process: its accounts, and the server's kind of worker as the environment shows it."""
    return {"uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "pid": os.getpid(), "cwd": os.getcwd()}


def read(path: str) -> Any:
    """The first bytes of a file, or a directory's names."""
    return sorted(os.listdir(path)) if os.path.isdir(path) else open(path, "rb").read(100).hex()


def write(path: str) -> Any:
    """Add a line to a file."""
    with open(path, "a", encoding="utf-8") as handle:
        handle.write("written\n")
    return "written"


def connect(path: str) -> Any:
    """Connect to a unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    return "connected"


ACTIONS: dict[str, Callable[[str], Any]] = {
    "/environment": environment, "/who": who, "/read": read, "/write": write, "/connect": connect
}  # fmt: skip


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Do what the path says; an error of the system is an answer too."""
    action = ACTIONS.get(environ.get("PATH_INFO", ""))
    argument = parse_qs(environ.get("QUERY_STRING", "")).get("path", [""])[0]
    try:
        shown = action(argument) if action else {"version": VERSION, "mount": environ.get("SCRIPT_NAME", "")}
    except OSError as error:
        shown = {"refused": type(error).__name__, "errno": error.errno}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(shown).encode()]
