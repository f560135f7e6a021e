"""What the unit tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The source of a small app."""
    directory = tmp_path / "source"
    (directory / "static").mkdir(parents=True)
    (directory / "main.py").write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    (directory / "requirements.txt").write_text("flask==3.1.3\n")
    (directory / "static" / "style.css").write_text("h1 { color: blue; }\n")
    return directory
