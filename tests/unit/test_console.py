"""The command ``flaskops`` of a host: its words, what it asks for, and whether all that it imports is there."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import activation, app_status, console, process_status, release_tree
from ansible_collections.flaskops.hosting.plugins.module_utils.console_words import COMPLETE
from ansible_collections.flaskops.hosting.plugins.module_utils.record import Record
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, Tree, environment_file
from ansible_collections.flaskops.hosting.plugins.plugin_utils import console_files
from ansible_collections.flaskops.hosting.tests.unit.releases import noted


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The program as a host has it, below another root."""
    for file in console_files.on_host().files:
        entry = file.entry()
        there = tmp_path / entry["dest"].lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        text = entry["content"] if "content" in entry else Path(entry["file"]).read_text()
        there.write_text(text.replace("/usr/local/lib", f"{tmp_path}/usr/local/lib"))
        there.chmod(int(entry.get("mode", "0644"), 8))
    return tmp_path / "usr/local/bin/flaskops"


def test_the_program_has_all_that_it_imports_and_needs_no_package(installed: Path) -> None:
    """Not even Ansible. It leaves no file behind."""
    shown = subprocess.run([sys.executable, "-IBS", installed, "--help"], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    for name in console_files.modules():
        words = f"import sys; sys.path.insert(0, {str(installed.parents[1] / 'lib/flaskops')!r}); import {console_files.PACKAGE}.{name}"
        assert subprocess.run([sys.executable, "-IBS", "-c", words], check=False).returncode == 0, name
        tree = ast.walk(ast.parse((console_files.SOURCES / f"{name}.py").read_text()))
        imported = {str(one.module) for one in tree if isinstance(one, ast.ImportFrom)}
        assert not [one for one in imported if one.split(".")[0] == "ansible"], name
    assert not [*installed.parents[1].rglob("__pycache__")]


def test_no_more_is_on_the_host_than_it_imports() -> None:
    assert "console" in console_files.modules() and "staging" not in console_files.modules()


def test_each_command_has_a_help_text(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], *([name] for name in console.COMMANDS)):
        with pytest.raises(SystemExit) as ended:
            console.main([*(["shop"] if words else []), *words, "--help"])
        shown = capsys.readouterr().out
        assert (ended.value.code, f"usage: flaskops {' '.join(['APP', *words])}" in shown) == (0, True), shown
        assert words or all(name in shown for name in console.COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        [], ["shop"], ["shop", "stop"], ["shop", "run"], ["shop", "run", "--"], ["shop", "run", "ls"], ["shop", "env", "--", "ls"],
        ["shop", "job"], ["shop", "job", "run"], ["shop", "job", "stop", "tidy"], ["shop", "logs", "web", "more"], ["shop", "logs", "-n", "x"],
    ],
)  # fmt: skip
def test_wrong_words_end_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        console.main(words)
    assert ended.value.code == 2 and "usage: flaskops" in capsys.readouterr().err


def test_who_is_not_root_learns_what_to_type(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert console.main(["shop", "run", "--", "echo", "a b"]) == 1
    assert capsys.readouterr().err == "flaskops: this needs root. Type: sudo flaskops shop run -- echo 'a b'\n"


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """A live release of an app that the host has noted, for root."""
    made = Tree("shop", tmp_path / "shop").release("one")
    made.path.mkdir(parents=True)
    (made.path / "environment").write_text(environment_file({"PASSWORD": "hunter2 it's", "GREETING": "hello"}))
    made.mark_complete(noted(user="shop", module="main:app", secrets=["PASSWORD"], jobs=["tidy"]))
    made.tree.point_current_to(made)
    monkeypatch.setattr(release_tree, "RECORDS", tmp_path / "records")
    made.tree.note(Record("shop", str(made.tree.root), topology="nginx_gunicorn", url="http://shop.example/"))
    monkeypatch.setattr(console, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(Record, "read", classmethod(lambda _cls, app: Record("shop", str(made.tree.root)) if app == "shop" else None))
    monkeypatch.setattr(Record, "read_all", classmethod(lambda _cls: {"shop": None}))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(console, "settle", lambda: None)
    return made


def test_what_is_not_there_is_reported_with_what_is(release: Release, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in {
        ("shpo", "status"): "got the app 'shpo', needs one of this host: shop",
        ("shop", "logs", "rq"): "got the process 'rq', needs one of: web, tidy",
        ("shop", "job", "run", "rq"): "got the job 'rq', needs one of: tidy",
    }.items():
        assert (console.main([*words]), capsys.readouterr().err) == (1, f"flaskops: {said}\n")
    release.tree.current.unlink()
    assert (console.main(["shop", "status"]), capsys.readouterr().err) == (1, "flaskops: shop has no live release\n")


def test_the_values_of_variables_are_shown_if_that_is_said(release: Release, capsys: pytest.CaptureFixture[str]) -> None:
    assert (console.main(["shop", "env"]), capsys.readouterr().out) == (0, "GREETING\nPASSWORD\n")
    assert console.main(["shop", "env", "--show"]) == 0
    shown = subprocess.run(["sh", "-c", f'{capsys.readouterr().out}echo "$GREETING $PASSWORD"'], capture_output=True, text=True, check=True)
    assert shown.stdout == "hello hunter2 it's\n", "a shell can read them"


def test_who_follows_a_log_sees_no_secret_of_a_release_that_came_later(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor before it is live, because its workers run a while before."""
    later = Tree("shop", tmp_path / "other").release("two")
    later.path.mkdir(parents=True)
    (later.path / "environment").write_text(environment_file({"PASSWORD": "rotated"}))
    later.mark_complete(noted(user="shop", secrets=["PASSWORD"]))
    comes = f"mv {later.path} {release.tree.releases}; echo worker has rotated"
    monkeypatch.setattr(app_status, "follow", lambda *_given: f"sh -c '{comes}'")
    assert (console.main(["shop", "logs", "-f"]), capsys.readouterr().out) == (0, "worker has <PASSWORD>\n")


def test_run_and_shell_give_back_the_code_of_what_they_run(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def attach(_release: Release, words: list[str]) -> int:
        ran.append(words)
        return 7

    monkeypatch.setattr(console, "attach", attach)
    (release.path / ".venv/bin").mkdir(parents=True)
    assert [console.main(["shop", "run", "--", "ls", "--", "-l"]), console.main(["shop", "shell"])] == [7, 7]
    (release.path / ".venv/bin/flask").touch()
    console.main(["shop", "shell"])
    (release.path / "flaskops_entry.py").touch()
    console.main(["shop", "shell"])
    entry = f"{release.path}/flaskops_entry.py:application"
    assert ran == [["ls", "--", "-l"], ["python"], ["flask", "--app", "main:app", "shell"], ["flask", "--app", entry, "shell"]]


@pytest.mark.parametrize(("changes", "code"), [({}, 0), ({"health": "502 Bad Gateway"}, 1), ({"workers": {"rq-1": {"state": "restarting"}}}, 1)])
def test_status_says_in_its_code_whether_all_is_well(
    release: Release, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], code: int
) -> None:
    monkeypatch.setattr(app_status, "ask", lambda *_given: changes.get("health", "200 OK"))
    monkeypatch.setattr(activation, "web_of", lambda _live: Web())
    monkeypatch.setattr(activation, "socket_of", lambda _web: "/run/app.sock")
    monkeypatch.setattr(app_status, "log_of", lambda *_given: ["a \x1b[31mred\x1b[0m line"])
    monkeypatch.setattr(process_status, "workers", lambda _running: {**WORKER, **changes.get("workers", {})} if changes else WORKER)
    monkeypatch.setattr(process_status, "jobs", lambda _live: {"tidy": {"state": "waits", "last": "", "result": "", "next": "tomorrow"}})
    for one in changes.get("workers", {}).values():
        one.update(since="Monday", restarts="3")
    assert console.main(["shop", "status"]) == code
    shown = capsys.readouterr().out
    for line in ("live: one since ", "process web: active", "worker rq-1: ", "job tidy: waits, never ran, next tomorrow", "log: a \\x1b[31mred"):
        assert f"\n{line}" in shown, shown


WORKER = {"rq-1": {"state": "active", "since": "Monday", "restarts": "0"}}


class Web:
    """A web server that runs."""

    follow = "true"

    def state(self) -> str:
        """As systemd has it."""
        return "active"


def test_what_may_come_next_is_known(release: Release, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {
        (): "shop", ("shop",): "logs run shell status env workers job", ("shop", "logs"): "-f web tidy", ("shop", "logs", "-f"): "-f web tidy",
        ("shop", "run"): "--", ("shop", "env"): "--show", ("shop", "job"): "run", ("shop", "job", "run"): "tidy", ("shpo", "logs"): "",
        ("shop", "status"): "",
    }  # fmt: skip
    for words, shown in expected.items():
        assert console.main([COMPLETE, *words]) == 0
        assert capsys.readouterr().out.split() == shown.split(), words
