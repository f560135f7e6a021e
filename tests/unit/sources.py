"""Sources of apps, for tests."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

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
