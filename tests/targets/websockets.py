"""A WebSocket's client, as small as a test needs it."""

from __future__ import annotations

import base64
import os
import socket
import struct
from types import TracebackType

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
GOING_AWAY = 1001


class WebSocket:
    """An open WebSocket of a page on the same site or another one. Raises ``ConnectionError`` if the server does not agree to one."""

    def __init__(self, address: str, port: int, host: str, path: str, site: str = "same-origin") -> None:
        self.connection = socket.create_connection((address, port), timeout=15)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: keep-alive, Upgrade", f"Origin: http://{host}",
                 f"Sec-Fetch-Site: {site}", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]  # fmt: skip
        self.connection.sendall("\r\n".join(lines).encode())
        self.stream = self.connection.makefile("rb")
        self.answer = [self.stream.readline()]
        while self.answer[-1].strip():
            self.answer.append(self.stream.readline())
        if not self.answer[0].startswith(b"HTTP/1.1 101 "):
            self.connection.close()
            raise ConnectionError(self.answer[0].decode())

    def send(self, text: str) -> None:
        """Send a text of at most 125 bytes."""
        mask, content = os.urandom(4), text.encode()
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(content))
        self.connection.sendall(bytes([0x80 | TEXT, 0x80 | len(content)]) + mask + masked)

    def receive(self) -> str | int:
        """The next text; or the number that the server closes with, 1006 for none."""
        while True:
            head = self.stream.read(2)
            if len(head) < 2:
                return 1006
            kind, length = head[0] & 15, head[1] & 127
            if length == 126:
                length = struct.unpack("!H", self.stream.read(2))[0]
            content = self.stream.read(length)
            if kind == CLOSE:
                return int(struct.unpack("!H", content[:2])[0])
            if kind == TEXT:
                return content.decode()

    def __enter__(self) -> WebSocket:
        """Close it at the end."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connection."""
        self.stream.close()
        self.connection.close()
