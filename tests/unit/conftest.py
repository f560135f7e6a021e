"""What the unit tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.tests.unit.sources import git


@pytest.fixture(autouse=True)
def signals_stay_as_they_were() -> Iterator[None]:
    """Fail who changes what a signal does: with SIGPIPE's default, a later test would end the whole process without a word."""
    numbers = signal.valid_signals()
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    changed = {number: before[number] for number in numbers if signal.getsignal(number) != before[number]}
    for number, handler in changed.items():
        signal.signal(number, handler)
    assert not changed


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The source of a small app."""
    directory = tmp_path / "source"
    (directory / "static").mkdir(parents=True)
    (directory / "main.py").write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    (directory / "requirements.txt").write_text("flask==3.1.3\n")
    (directory / "static" / "style.css").write_text("h1 { color: blue; }\n")
    return directory


@pytest.fixture
def repository(source: Path) -> Path:
    """The source as a git repository with a tag and a later commit."""
    git(source, "init", "--quiet", "--initial-branch=main")
    git(source, "add", ".")
    git(source, "commit", "--quiet", "--message=one")
    git(source, "tag", "v1")
    (source / "main.py").write_text("app = None\n")
    git(source, "commit", "--quiet", "--all", "--message=two")
    return source
