"""What the controller's half of release reads and sends."""

from __future__ import annotations

import base64
import io
import json
import posixpath
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.action.release import ActionModule
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import SMALL, Source
from ansible_collections.flaskops.hosting.tests.unit.sources import readings


class Host(ActionModule):
    """An action whose host has the code already, or not; with what it was sent."""

    def __init__(self, has_it: bool, **options: Any) -> None:
        self._task = SimpleNamespace(args={"state": "staged", "requirements": "", **options})
        self._connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/tmp/remote", join_path=posixpath.join))
        self.has_it = has_it
        self.calls: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self._display = SimpleNamespace(warning=self.warnings.append)

    def stage(self) -> dict[str, Any]:
        """What the action does once it has opened the source."""
        return self._stage(Source(Path(self._task.args["source"])), dict(self._task.args), {})

    def _call(self, options: dict[str, Any], _task_vars: dict[str, Any]) -> dict[str, Any]:
        payload = json.loads(base64.b64decode(options["payload"]))
        self.calls.append({**options, "payload": payload})
        return {"archive_needed": not (self.has_it or payload["archive"] or options.get("archive"))}

    def _transfer_file(self, local_path: str, remote_path: str) -> None:
        with tarfile.open(local_path) as archive:
            self.sent = [remote_path, *archive.getnames()]

    def _make_tmp_path(self) -> str:
        return "/tmp/remote"

    def _remove_tmp_path(self, path: str) -> None:
        assert path == "/tmp/remote"

    def _fixup_perms2(self, _paths: tuple[str, ...]) -> None:
        """The remote user's are right."""


FILES = {"main.py", "requirements.txt", "static/style.css"}


@pytest.mark.parametrize("has_it", [True, False])
def test_small_code_travels_with_the_task_and_is_read_once(source: Path, monkeypatch: pytest.MonkeyPatch, has_it: bool) -> None:
    host = Host(has_it, source=str(source))
    opened = readings(source, monkeypatch)
    assert host.stage() == {"archive_needed": False}
    assert opened == dict.fromkeys(FILES, 1)
    (call,) = host.calls
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(call["payload"]["archive"]))) as archive:
        assert set(archive.getnames()) == FILES


def test_large_code_that_the_host_has_is_read_once_and_not_packed(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "data.bin").write_bytes(b"x" * (SMALL + 1))
    host = Host(True, source=str(source))
    monkeypatch.setattr(Source, "pack", lambda *_given: pytest.fail("packed"))
    opened = readings(source, monkeypatch)
    assert host.stage() == {"archive_needed": False}
    assert opened == dict.fromkeys(FILES | {"data.bin"}, 1)
    assert len(host.calls) == 1 and host.calls[0]["payload"]["archive"] is None


@pytest.mark.parametrize("large", [True, False])
def test_large_code_goes_as_a_file_to_a_host_that_asks_for_it(source: Path, monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    """Also code that is small, and is large when it is packed."""
    monkeypatch.setattr("ansible_collections.flaskops.hosting.plugins.action.release.TRAVELS_WITH_TASK", 10)
    if large:
        (source / "data.bin").write_bytes(b"x" * (SMALL + 1))
    host = Host(False, source=str(source))
    assert host.stage() == {"archive_needed": False}
    assert len(host.calls) == 2 and host.calls[1]["archive"] == "/tmp/remote/source.tar.gz"
    assert set(host.sent) == FILES | {"/tmp/remote/source.tar.gz"} | ({"data.bin"} if large else set())


def test_notes_on_a_source_are_warnings(source: Path) -> None:
    host = Host(True, source=str(source))
    host._warn([f"{number} is a pipe\x1b, and is not shipped" for number in range(12)])
    assert host.warnings[0] == "flask_app_source: 0 is a pipe\\x1b, and is not shipped"
    assert host.warnings[10:] == ["flask_app_source: and 2 more such notes"]
