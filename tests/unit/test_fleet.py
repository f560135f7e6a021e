"""The local fleet says what is wrong with a container that ends at once."""

from __future__ import annotations

import json
import subprocess
from types import ModuleType

import pytest

from ansible_collections.flaskops.hosting.tests.fleet import load

FULL = (
    "Failed to create control group inotify object: Too many open files\nFailed to allocate manager object: Too many open files\nExiting PID 1...\n"
)


@pytest.fixture
def fleet() -> ModuleType:
    """The script dev/fleet as a module of this test's own, which changes it."""
    return load()


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (FULL, "sudo sysctl fs.inotify.max_user_instances=1024"),
        ("systemd 257 running\nFailed to mount tmpfs at /run: Operation not permitted\n", "Failed to mount tmpfs at /run: Operation not permitted"),
        ("", "its log is empty"),
    ],
)
@pytest.mark.parametrize("ends", ["before its key is there", "while it boots"])
def test_the_reason_is_in_the_error(monkeypatch: pytest.MonkeyPatch, fleet: ModuleType, log: str, reason: str, ends: str) -> None:
    def docker(*words: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        answers = {
            "container": (0, json.dumps([{"State": {"Running": False}, "Config": {"Labels": {fleet.LABEL: str(fleet.ROOT)}}}])),
            "logs": (0, log),
            "exec": (1, ""),
        }
        code, output = answers.get(words[0], (0, ""))
        return subprocess.CompletedProcess(words, code, output, "container is not running" if code else "")

    monkeypatch.setattr(fleet, "docker", docker)
    monkeypatch.setattr(fleet, "SSH", ["false"])
    host = fleet.Host("web1", "198.18.0.1", "debian13")
    with pytest.raises(fleet.FleetError, match="flaskops-web1 ended at once: ") as error:
        fleet.start(host, "key") if ends == "before its key is there" else fleet.wait_for_ssh(host)
    assert reason in str(error.value)
