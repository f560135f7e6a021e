# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask a server for a URL path, over HTTP, HTTPS or uWSGI's own protocol."""

from __future__ import annotations

import io
import socket
import struct
import time

APP_HEADER = "X-Flaskops-App"  # with which a front tells a deploy whose site has answered, and which release; visitors do not get it
HEAD_AT_MOST = 128 * 1024  # bytes of an answer's status line and headers


def ask(address: str, host: str, path: str, timeout: float, protocol: str = "http", proof: str = "") -> str:
    """Send one GET and return the status line's code and reason, or what went wrong.

    ``address`` is ``unix:/path`` or ``host:port``, ``timeout`` is in seconds, ``protocol`` is ``http``, ``https`` or ``uwsgi``. ``proof`` is what the
    answer must say in ``APP_HEADER``, empty for any answer. With ``https``, the server may have any certificate: it is the host itself.
    """
    # here, because it and ssl cost a host's processor as much as ten modules of ours, and most runs ask nothing
    import http.client  # noqa: PLC0415

    try:
        with _secured(_connect(address, timeout), host, protocol) as connection:
            if protocol == "uwsgi":
                connection.sendall(_uwsgi_request(host, path))
            else:
                request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: flaskops-health\r\n\r\n"
                connection.sendall(request.encode())
            answer = http.client.HTTPResponse(_Answer(connection, time.monotonic() + timeout), method="GET")  # type: ignore[arg-type]
            answer.begin()
            status = f"{answer.status} {answer.reason}"
            return (
                status
                if not proof or answer.getheader(APP_HEADER) == proof
                else f"another site's or release's answer: {status} (it has no {APP_HEADER}: {proof})"
            )
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"


class _Answer(io.RawIOBase):
    """What a server says, until the time is over or it has said more than any head of an answer has: it may go on for ever."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection, self.deadline, self.left = connection, deadline, HEAD_AT_MOST

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Be what ``HTTPResponse`` reads."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Raises ``OSError`` if the time is over, or too much was said."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("timed out")
        if self.left <= 0:
            raise OSError(f"more than {HEAD_AT_MOST // 1024} KiB before the end of the answer's head")
        self.connection.settimeout(seconds)
        count = self.connection.recv_into(buffer)
        self.left -= count
        return count


def _connect(address: str, timeout: float) -> socket.socket:
    if not address.startswith("unix:"):
        name, _colon, port = address.rpartition(":")
        return socket.create_connection((name.strip("[]"), int(port)), timeout)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(address[len("unix:") :])
    except OSError:
        connection.close()
        raise
    return connection


def _secured(connection: socket.socket, host: str, protocol: str) -> socket.socket:
    """The connection, with TLS for ``https``. Raises ``OSError``."""
    if protocol != "https":
        return connection
    import ssl  # noqa: PLC0415

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except OSError:
        connection.close()
        raise


def _uwsgi_request(host: str, path: str) -> bytes:
    """A request as https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html describes it."""
    path, _mark, query = path.partition("?")
    variables = {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": path,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": host,
        "SERVER_PORT": "80",
        "HTTP_HOST": host,
        "REMOTE_ADDR": "127.0.0.1",
    }
    body = io.BytesIO()
    for word in (word.encode() for pair in variables.items() for word in pair):
        body.write(struct.pack("<H", len(word)) + word)
    return struct.pack("<BHB", 0, body.tell(), 0) + body.getvalue()
