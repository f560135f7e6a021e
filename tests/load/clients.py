"""The clients of a host while its app is released: many short requests by wrk, some long ones, and their results."""

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

KEEP_ALIVE, ONE_SHOT, LONG = 20, 20, 3  # clients of each kind
GIVE_UP = 60  # seconds without an answer
PAUSE = 4  # seconds between two long requests of one client, so that nearly every release has some in progress
# Milliseconds between two short requests of one client. Without a pause, the releases would wait for a processor most of the time; tests that
# run at the same time cause that even with a pause.
SHORT_PAUSE = 40 if os.environ.get("LOAD") == "all" else 300
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


class Clients:
    """Keep-alive and one-shot clients, which send the next request at once, and some whose requests take 8 s, with a pause after each."""

    def __init__(self, address: str, log: Path, port: int = 80) -> None:
        self.address, self.port = address, port
        self.log = log
        self.short, self.long = Outcome(), Outcome()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask_for_long) for _client in range(LONG)]
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

    def _ask_for_long(self) -> None:
        while not self._over.is_set():
            found, began = Outcome(), time.monotonic()
            connection = http.client.HTTPConnection(self.address, self.port, timeout=GIVE_UP)
            try:
                connection.request("GET", "/long")
                answer = connection.getresponse()
                found.answers[f"{answer.status} {' '.join(answer.read().decode().split())}"] += 1
            except (OSError, http.client.HTTPException) as error:
                found.errors[type(error).__name__] += 1
            finally:
                connection.close()
            found.slowest = time.monotonic() - began
            with self.log.open("a") as log:
                log.write(f"long request: {time.strftime('%X')} {found}\n")
            self.long.add(found)
            self._over.wait(PAUSE)
