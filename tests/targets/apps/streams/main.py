"""Flask apps that keep connections open, as their users write them: WebSockets by simple-websocket and by Flask-SocketIO, and large files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from flask import Flask, Response, request, send_file
from simple_websocket import ConnectionClosed, Server

VERSION = "one"
PIECE = 1 << 16


class Gone(Response):
    """What is answered when a WebSocket has ended: nothing, because its connection is gone."""

    def __call__(self, *_arguments: object) -> Iterator[bytes]:
        raise StopIteration


plain = Flask(__name__)


@plain.get("/")
def version():
    return VERSION


@plain.get("/who")
def who():
    return {"remote_addr": request.remote_addr, "is_secure": request.is_secure, "host": request.host, "url_root": request.url_root}


@plain.route("/websocket", websocket=True)
def chat():
    """Answer each message with the version before it."""
    opened = Server.accept(request.environ)
    try:
        while True:
            opened.send(f"{VERSION} {opened.receive()}")
    except ConnectionClosed:
        return Gone()


@plain.post("/upload")
def upload():
    """The body's length, in which directories this process kept some of it on a disk meanwhile, and its memory in bytes."""
    size, kept = 0, set()
    while piece := request.stream.read(PIECE):
        size += len(piece)
        if size % (PIECE * 64) < len(piece):
            kept |= on_disk()
    return {"size": size, "kept": sorted(kept), "memory": memory()}


def on_disk() -> set[str]:
    """The directories of all files that this process has open, and that have no name any more and some length."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            one = os.stat(f"/proc/self/fd/{name}")
            if stat.S_ISREG(one.st_mode) and one.st_nlink == 0 and one.st_size > PIECE:
                found.add(os.path.dirname(os.readlink(f"/proc/self/fd/{name}")))
        except OSError:
            pass
    return found


def memory() -> int:
    """The most memory that this process has had."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


@plain.get("/download")
def download():
    """A large file, which has only holes."""
    path = "/tmp/large"
    with open(path, "wb") as file:
        file.truncate(int(request.args["mebibytes"]) << 20)
    return send_file(path)


@plain.get("/memory")
def show_memory():
    return {"memory": memory()}
