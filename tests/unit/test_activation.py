"""In which order a release goes live, and what happens when it must not."""

from __future__ import annotations

import http.server
import socket
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.flaskops.hosting.plugins.module_utils import activation
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, Tree


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in order; nothing of it reaches systemd."""
    done: list[str] = []
    flip = Tree.point_current_to

    def point(tree: Tree, release: Release) -> None:
        done.append(f"flip {release.name}")
        flip(tree, release)

    monkeypatch.setattr(Tree, "point_current_to", point)
    monkeypatch.setattr(activation, "start_instance", lambda release: done.append(f"start {release.name}"))
    monkeypatch.setattr(activation, "stop_unit", lambda unit: done.append(f"stop {unit.split('@')[1].split('.')[0]}"))
    monkeypatch.setattr(activation, "wait_for_health", lambda release, *_more: done.append(f"verify {release.name}"))
    monkeypatch.setattr(activation, "other_instances", lambda _release: [])
    monkeypatch.setattr(activation, "instance_log", lambda _release: "the app's last lines")
    monkeypatch.setattr(activation, "unit_properties", lambda *_names: {"ActiveState": "inactive"})
    return done


def app(tmp_path: Path, listen: str, live: str | None) -> Tree:
    """An app with two releases."""
    tree = Tree("shop", tmp_path)
    for name in ("old", "new"):
        tree.release(name).path.mkdir(parents=True)
        tree.release(name).mark_complete({"listen": listen, "health_timeout": 1, "mount": "/", "health_path": "/"})
    if live:
        tree.current.symlink_to(f"releases/{live}")
    return tree


FRONT = {"address": "127.0.0.1:80", "host": "localhost"}


def test_blue_green_starts_before_it_switches_and_stops_at_the_end(tmp_path: Path, steps: list[str]) -> None:
    tree = app(tmp_path, "unix:run/app.sock", live="old")
    activation.activate(tree.release("new"), FRONT)
    assert steps == ["start new", "flip new", "verify new", "stop old"]


def test_a_shared_port_is_let_go_before_it_is_taken(tmp_path: Path, steps: list[str]) -> None:
    tree = app(tmp_path, "127.0.0.1:8080", live="old")
    activation.activate(tree.release("new"), FRONT)
    assert steps == ["stop old", "flip new", "start new", "verify new"]


def test_a_release_that_does_not_start_never_gets_the_switch(tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tree = app(tmp_path, "unix:run/app.sock", live="old")
    monkeypatch.setattr(activation, "unit_properties", lambda *_names: {"ActiveState": "active"})
    (tmp_path / "wants").mkdir()
    (tmp_path / "wants" / tree.release("old").unit).touch()
    monkeypatch.setattr(activation, "WANTS", tmp_path / "wants")

    def fail(_release: Release) -> None:
        raise ReleaseError("does not start")

    monkeypatch.setattr(activation, "start_instance", fail)
    with pytest.raises(ReleaseError, match="does not start") as caught:
        activation.activate(tree.release("new"), FRONT)
    assert caught.value.log == "the app's last lines"
    assert steps == ["stop new"]
    assert tree.live() == tree.release("old")
    assert tree.release("new").has_failed()


@pytest.mark.parametrize("listen", ["unix:run/app.sock", "127.0.0.1:8080"])
def test_a_release_that_fails_at_the_front_is_switched_back(
    tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, listen: str
) -> None:
    tree = app(tmp_path, listen, live="old")

    def fail(*_arguments: Any) -> None:
        raise ReleaseError("502")

    monkeypatch.setattr(activation, "wait_for_health", fail)
    with pytest.raises(ReleaseError, match="502"):
        activation.activate(tree.release("new"), FRONT)
    assert steps[-3:] == ["stop new", "flip old", "start old"]
    assert tree.live() == tree.release("old")
    assert tree.release("new").has_failed() and not tree.release("old").has_failed()


def test_a_first_release_that_fails_leaves_nothing_live(tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tree = app(tmp_path, "unix:run/app.sock", live=None)
    monkeypatch.setattr(activation, "wait_for_health", lambda *_more: (_ for _ in ()).throw(ReleaseError("502")))
    with pytest.raises(ReleaseError):
        activation.activate(tree.release("new"), FRONT)
    assert tree.live() is None


def test_the_live_release_is_only_started_again(tmp_path: Path, steps: list[str]) -> None:
    tree = app(tmp_path, "unix:run/app.sock", live="new")
    activation.activate(tree.release("new"), None)
    assert steps == ["start new", "flip new"]


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The address of a server on a unix socket, and the paths and hosts that it was asked for."""
    asked: list[tuple[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        """Answers 204 to /ok and 500 to all else."""

        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Host"]))
            self.send_response(204 if self.path == "/ok" else 500)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

        def address_string(self) -> str:
            return "unix"

    class Server(http.server.HTTPServer):
        """On a unix socket."""

        address_family = socket.AF_UNIX

        def server_bind(self) -> None:
            self.socket.bind(self.server_address)

    server = Server(str(tmp_path / "app.sock"), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"unix:{tmp_path / 'app.sock'}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_health_is_asked_for_on_the_instances_own_socket(answering: tuple[str, list[tuple[str, str]]]) -> None:
    address, asked = answering
    assert activation.ask(address, "shop.example", "/ok", 1) == "204 No Content"
    assert activation.ask(address, "shop.example", "/", 1).startswith("500")
    assert asked[0] == ("/ok", "shop.example")


def test_a_socket_that_nobody_serves_is_told(tmp_path: Path) -> None:
    assert activation.ask(f"unix:{tmp_path}/none.sock", "x", "/", 1).startswith("FileNotFoundError")


def test_pruning_keeps_what_is_live_what_runs_and_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree("shop", tmp_path)
    for number, name in enumerate(["live", "running", "old", "newer", "newest", "failed"]):
        release = tree.release(name)
        (tree.venvs / f"venv-{name}").mkdir(parents=True)
        release.path.mkdir(parents=True)
        (release.path / ".venv").symlink_to(f"../../venvs/venv-{name}")
        monkeypatch.setattr(activation.time, "time", lambda number=number: float(number))
        release.mark_complete({})
    tree.release("failed").mark_failed("no", "")
    (tree.releases / "unfinished").mkdir()
    tree.current.symlink_to("releases/live")
    monkeypatch.setattr(activation, "running_instances", lambda _tree: {tree.release("running").unit})
    monkeypatch.setattr(activation, "remove_unit", lambda _unit: None)
    assert activation.prune(tree, keep=2) == ["old", "unfinished"]
    assert sorted(path.name for path in tree.venvs.iterdir()) == [
        "venv-failed", "venv-live", "venv-newer", "venv-newest", "venv-running",
    ]
