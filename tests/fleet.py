"""dev/fleet as a module: what starts a container for a test has no inventory that Ansible would have to read first."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

PROGRAM = Path(__file__).resolve().parent.parent / "dev/fleet"


def load() -> ModuleType:
    """A module of its own for each call."""
    spec = importlib.util.spec_from_loader("fleet", SourceFileLoader("fleet", str(PROGRAM)))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fleet"] = module  # where its dataclasses look for it
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # it would be in dev/
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    return module
