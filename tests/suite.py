"""How much of the suite runs: what two processors run in half an hour, or all of it with SUITE=all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

ALL_OF_IT = os.environ.get("SUITE") == "all"
# For a test whose promise has another test too, of another kind, size or version.
thorough = pytest.mark.thorough


def each(names: Iterable[str], *always: str) -> list[Any]:
    """These names as a test's parameters, of which ``always`` are in every run."""
    return [name if name in always else pytest.param(name, marks=thorough) for name in names]
