"""An app with a worker: it takes messages, which are files, and notes what it does with each."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

VERSION = "one"
SHARED = Path(__file__).parent / "shared"


def app(environ, start_response):
    """Say which version answers."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode()]


def note(*words):
    """Write a line of what was done, at once."""
    with (SHARED / "notes").open("a") as notes:
        notes.write(" ".join([os.environ["FLASKOPS_PHASE"], VERSION, *words]) + "\n")


def wait_while_there(name):
    """Take as long as this file is there."""
    while (SHARED / name).exists():
        time.sleep(0.05)


def work():
    """Take messages until asked to end; each takes as long as there is a file `hold-` and its name."""
    if (SHARED / "away").exists():
        sys.exit("the queue is away")
    ends = []
    signal.signal(signal.SIGTERM, lambda *_: ends.append(1))
    note("starts", os.environ["FLASKOPS_PROCESS"])
    while not ends:
        for message in sorted((SHARED / "queue").glob("*")):
            try:
                message.rename(SHARED / f"taken-{message.name}")
            except FileNotFoundError:  # another worker has taken it
                continue
            wait_while_there(f"hold-{message.name}")
            note("did", message.name)
            if ends:
                break
        time.sleep(0.05)
    note("ends")


def job(*words):
    """Take as long as there is a file `hold-job`."""
    note("begins", *words)
    wait_while_there("hold-job")
    note("is-done")


if __name__ == "__main__":
    {"work": work, "job": job, "words": lambda: job(repr(sys.argv[2:]))}[sys.argv[1]]()
