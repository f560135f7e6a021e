"""Sources of apps, for tests."""

from __future__ import annotations

import io
import os
import pathlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import Source, build_name


def name_of(directory: Path) -> str:
    """The build name of a directory."""
    return build_name(Source(directory).manifest())


def pack(source: Source) -> bytes:
    """A source as it is sent."""
    packed = io.BytesIO()
    source.pack(packed)
    return packed.getvalue()


def git(directory: Path, *words: str) -> str:
    """Run git as somebody."""
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *words], cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


def readings(directory: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often each file of a source is opened from now on, counted as it happens."""
    opened: dict[str, int] = {}
    real = io.open

    def count(path: Any, *given: Any, **more: Any) -> Any:
        if isinstance(path, (str, os.PathLike)) and Path(path).is_relative_to(directory):
            name = str(Path(path).relative_to(directory))
            opened[name] = opened.get(name, 0) + 1
        return real(path, *given, **more)

    monkeypatch.setattr(io, "open", count)
    monkeypatch.setattr("builtins.open", count)
    if accessor := getattr(pathlib, "_NormalAccessor", None):  # Python 3.10's own reference to it
        monkeypatch.setattr(accessor, "open", staticmethod(count))
    return opened
