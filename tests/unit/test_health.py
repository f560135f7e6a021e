"""How a server is asked for its health, over HTTP and over uWSGI's own protocol."""

from __future__ import annotations

import contextlib
import http.server
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils.health import APP_HEADER, ask


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The address of a server on a unix socket, and the paths and hosts that it was asked for."""
    asked: list[tuple[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        """Answers 204 to /ok and 500 to all else, and says whose answer it is."""

        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Host"]))
            self.send_response(204 if self.path == "/ok" else 500)
            self.send_header(APP_HEADER, "/srv/shop")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

        def address_string(self) -> str:
            return "unix"

    class Server(http.server.HTTPServer):
        """On a unix socket."""

        address_family = socket.AF_UNIX

        def server_bind(self) -> None:
            self.socket.bind(str(tmp_path / "app.sock"))

    server = Server(("", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"unix:{tmp_path / 'app.sock'}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("said", "seconds", "result"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n", 20, "more than 128 KiB before the end of the answer's head"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 60_000 + b"\r\n", 20, "more than"),
        (b"", 1, "timed out"),
    ],
    ids=["continue", "headers", "silence"],
)
def test_an_answer_without_an_end_is_given_up(tmp_path: Path, said: bytes, seconds: int, result: str) -> None:
    """In time, and after as much as a head may have."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "app.sock"))
        server.listen()

        def talk() -> None:
            connection = server.accept()[0]
            with contextlib.suppress(OSError):
                while True:
                    connection.sendall(said or b"H")
                    time.sleep(0 if said else 0.1)

        threading.Thread(target=talk, daemon=True).start()
        began = time.monotonic()
        assert result in ask(f"unix:{tmp_path / 'app.sock'}", "shop.example", "/", seconds)
        assert time.monotonic() - began < seconds + 2


def test_http_is_spoken_on_a_unix_socket(answering: tuple[str, list[tuple[str, str]]]) -> None:
    address, asked = answering
    assert ask(address, "shop.example", "/ok", 1) == "204 No Content"
    assert ask(address, "shop.example", "/", 1).startswith("500")
    assert asked[0] == ("/ok", "shop.example")


def test_only_an_answer_with_the_proof_counts(answering: tuple[str, list[tuple[str, str]]]) -> None:
    address, _asked = answering
    assert ask(address, "shop.example", "/ok", 1, proof="/srv/shop") == "204 No Content"
    found = ask(address, "shop.example", "/ok", 1, proof="/srv/blog")
    assert found == "another site's or release's answer: 204 No Content (it has no X-Flaskops-App: /srv/blog)"


def test_a_socket_without_a_server_is_reported(tmp_path: Path) -> None:
    assert ask(f"unix:{tmp_path}/none.sock", "x", "/", 1).startswith("FileNotFoundError")


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """So many bytes, however they come."""
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError(f"{size} bytes were promised, {len(data)} came")
        data += more
    return data


def read_uwsgi(connection: socket.socket) -> dict[str, str]:
    """The modifiers and the variables of one request, as the protocol's page describes it, not as the code under test writes it."""
    modifier1, size, modifier2 = struct.unpack("<BHB", read_exactly(connection, 4))
    body, words = read_exactly(connection, size), [f"{modifier1}.{modifier2}", ""]
    while body:
        length = int.from_bytes(body[:2], "little")
        words.append(body[2 : 2 + length].decode())
        body = body[2 + length :]
    return dict(zip(words[::2], words[1::2], strict=True))


@pytest.fixture
def uwsgi() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a server that speaks uWSGI's protocol and answers 200 to /ok only, and the requests that it got."""
    asked: list[dict[str, str]] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(ConnectionError):
                asked.append(read_uwsgi(connection))
                status = "200 OK" if asked[-1]["PATH_INFO"] == "/ok" else "503 Busy"
                connection.sendall(f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n\r\nok".encode())

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}", asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_uwsgis_protocol_is_spoken_where_it_is_chosen(uwsgi: tuple[str, list[dict[str, str]]]) -> None:
    address, asked = uwsgi
    assert ask(address, "shop.example", "/ok?deep=yes&name=\u30da", 1, "uwsgi") == "200 OK"
    assert ask(address, "shop.example", "/shop/healthz", 1, "uwsgi") == "503 Busy"
    first, second = asked
    wanted = {"REQUEST_METHOD": "GET", "PATH_INFO": "/ok", "QUERY_STRING": "deep=yes&name=\u30da", "HTTP_HOST": "shop.example"}
    assert {**wanted, "SCRIPT_NAME": "", "0.0": ""}.items() <= first.items()
    assert (second["PATH_INFO"], second["REQUEST_URI"], second["QUERY_STRING"]) == ("/shop/healthz", "/shop/healthz", "")


def test_a_server_of_the_other_protocol_is_not_healthy(answering: tuple[str, list[tuple[str, str]]]) -> None:
    assert not ask(answering[0], "shop.example", "/ok", 1, "uwsgi").startswith("2")


def test_a_server_that_never_answers_is_not_waited_for_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert "timed out" in ask(address, "x", "/", 0.1) and "timed out" in ask(address, "x", "/", 0.1, "uwsgi")
