"""The same app with a WebSocket, for servers that can hold one open."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import main
from simple_websocket import ConnectionClosed, Server


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """On `/websocket`, each message is answered with what answers, until either side has enough."""
    if environ["PATH_INFO"] != "/websocket":
        return main.app(environ, start_response)
    opened = Server.accept(environ)
    try:
        while opened.receive():
            opened.send(json.dumps(main.identity()))
    except ConnectionClosed:
        raise StopIteration from None  # for Gunicorn: nothing is to be answered on this connection any more
    return []
