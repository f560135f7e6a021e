"""The clients of a host while its app is released: many short requests by wrk, long ones, streams and WebSockets, and their results."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT
from ansible_collections.flaskops.hosting.tests.targets.websockets import GOING_AWAY, WebSocket

KEEP_ALIVE, ONE_SHOT = 20, 20  # clients of each kind
SECONDS, EVENTS, LINES, LINE = 8, 16, 128, 1 << 16  # as the app has them: its LONG, and the pieces of its streams
LASTING = ["/long", "/long", "/long", "/events", "/download"]  # what others ask for; each takes 8 s
GIVE_UP = 60  # seconds without an answer
PAUSE = 4  # seconds between two long requests of one client, so that nearly every release has some in progress
BETWEEN_MESSAGES = 0.5  # seconds
# Milliseconds between two short requests of one client. Without a pause, the releases would wait for a processor most of the time; beside other tests
# they would do so even with a short one, and some connections that were kept to Gunicorn's own port were cut.
ALONE = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1") == "1"
SHORT_PAUSE = 40 if ALONE else 300
COUNT = ROOT / "tests/load/count.lua"


@dataclass(frozen=True)
class Deployed:
    """A release as it is on the host, with everything that its answers must show."""

    number: int
    version: str
    path: str
    venv: str
    output: str  # of the run that deployed it

    def gave(self, answer: dict[str, Any]) -> bool:
        """Return whether an answer is entirely from this release, and not partly from another one."""
        files = all(file.startswith((f"{self.path}/code/", f"{self.venv}/lib/")) for file in answer["files"])
        return files and (answer["number"], answer["version"], answer["prefix"]) == (self.number, self.version, self.venv)


@dataclass
class Outcome:
    """The results of the requests of one kind of client."""

    answers: Counter[str] = field(default_factory=Counter)  # by status and body
    errors: Counter[str] = field(default_factory=Counter)  # by kind
    slowest: float = 0

    def add(self, other: Outcome) -> None:
        """Add another outcome."""
        self.answers += other.answers
        self.errors += other.errors
        self.slowest = max(self.slowest, other.slowest)

    @property
    def total(self) -> int:
        """How many requests there were."""
        return self.answers.total() + self.errors.total()

    def failures(self, releases: list[Deployed]) -> dict[str, int]:
        """How many requests got no answer, a status other than 200, or an answer that is not from one single release."""
        found = Counter({kind: count for kind, count in self.errors.items() if count})
        for answer, count in self.answers.items():
            status, _space, body = answer.partition(" ")
            if status != "200":
                found[f"status {status}"] += count
            elif not is_of_one(body, releases):
                found[f"a mix: {body}"] += count
        return dict(found)

    def numbers(self) -> set[int]:
        """The numbers of the releases that answered."""
        return {json.loads(answer.partition(" ")[2])["number"] for answer in self.answers if answer.startswith("200 ")}


def is_of_one(body: str, releases: list[Deployed]) -> bool:
    """Return whether all parts of a body come from one of the releases."""
    try:
        answer = json.loads(body)
        return any(release.gave(answer) for release in releases)
    except (ValueError, KeyError, TypeError):
        return False


def of_a_stream(path: str, body: str) -> str:
    """What each piece of a stream says, if all of them came and say the same."""
    pieces = [line.removeprefix("data: ").strip() for line in body.split("\n") if line]
    wanted = {"/events": EVENTS, "/download": LINES}[path]
    return pieces[0] if len(pieces) == wanted and len(set(pieces)) == 1 else f"{len(pieces)} pieces of {wanted}: {sorted(set(pieces))}"


class Clients:
    """Keep-alive and one-shot clients, which pause between two requests, some whose requests take 8 s, and one that keeps a WebSocket open.

    ``messages`` are the answers on the WebSocket; ``asked_to_go`` is how often it was closed because the server goes away.
    """

    def __init__(self, address: str, log: Path, port: int = 80, websocket: bool = False) -> None:
        self.address, self.port = address, port
        self.log = log
        self.short, self.long, self.messages, self.asked_to_go = Outcome(), Outcome(), Outcome(), 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask_for_long, args=[path]) for path in LASTING]
        self._threads += [threading.Thread(target=self._keep_open)] if websocket else []
        self._wrks: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Clients:
        self._wrks = [self._wrk(KEEP_ALIVE), self._wrk(ONE_SHOT, "--header", "Connection: close")]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for wrk in self._wrks:
            wrk.send_signal(signal.SIGINT)  # then it prints its counts
            self._read(wrk.communicate(timeout=GIVE_UP)[0])
        for thread in self._threads:
            thread.join()

    def outcomes(self) -> dict[str, Outcome]:
        """The outcomes of all kinds of clients."""
        return {"short": self.short, "long": self.long, "websocket": self.messages}

    def _wrk(self, connections: int, *options: str) -> subprocess.Popen[str]:
        words = ["wrk", "--threads=1", f"--connections={connections}", "--duration=30m", f"--timeout={GIVE_UP}s", f"--script={COUNT}"]
        environment = {**os.environ, "PAUSE": str(SHORT_PAUSE)}
        return subprocess.Popen([*words, *options, f"http://{self.address}:{self.port}/"], env=environment, stdout=subprocess.PIPE, text=True)

    def _read(self, output: str) -> None:
        with self.log.open("a") as log:
            log.write(output)
        found = Outcome()
        for line in output.splitlines():
            kind, *rest = line.split("\t")
            if kind == "ANSWER":
                found.answers[rest[1]] += int(rest[0])
            elif kind == "ERROR":
                found.errors[f"{rest[1]} error of wrk"] += int(rest[0])
            elif kind == "SLOWEST":
                found.slowest = float(rest[0]) / 1e6
        assert found.total, f"wrk did not report its requests: {output}"
        self.short.add(found)

    def _ask_for_long(self, path: str) -> None:
        while not self._over.is_set():
            found, began = Outcome(), time.monotonic()
            connection = http.client.HTTPConnection(self.address, self.port, timeout=GIVE_UP)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                body = self._body(answer, path)
                found.answers[f"{answer.status} {body if path == '/long' or answer.status != 200 else of_a_stream(path, body)}"] += 1
            except (OSError, http.client.HTTPException) as error:
                found.errors[type(error).__name__] += 1
            finally:
                connection.close()
            found.slowest = time.monotonic() - began
            with self.log.open("a") as log:
                log.write(f"{path}: {time.strftime('%X')} {found}\n")
            self.long.add(found)
            self._over.wait(PAUSE)

    def _body(self, answer: http.client.HTTPResponse, path: str) -> str:
        """The whole body; of a download, at a pace that takes as long as the other long requests."""
        pieces = []
        while piece := answer.read(LINE):
            pieces.append(piece)
            time.sleep(SECONDS / LINES if path == "/download" else 0)
        return b"".join(pieces).decode()

    def _keep_open(self) -> None:
        """Ask on a WebSocket who answers, and open another one as soon as it is closed."""
        while not self._over.is_set():
            try:
                with WebSocket(self.address, self.port, self.address, "/websocket") as opened:
                    closed = self._talk(opened)
            except OSError as error:
                self.messages.errors[f"{type(error).__name__}: {error}"] += 1
                self._over.wait(BETWEEN_MESSAGES)
                continue
            with self.log.open("a") as log:
                log.write(f"WebSocket: {time.strftime('%X')} {closed or 'closed by us'}\n")
            if closed == GOING_AWAY:
                self.asked_to_go += 1
            elif closed:
                self.messages.errors[f"closed with {closed}"] += 1

    def _talk(self, opened: WebSocket) -> int:
        """Ask as long as it is open; what it was closed with, 0 if it was not."""
        while not self._over.wait(BETWEEN_MESSAGES):
            opened.send("who")
            answer = opened.receive()
            if isinstance(answer, int):
                return answer
            self.messages.answers[f"200 {answer}"] += 1
        return 0
