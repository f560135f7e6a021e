"""testinfra connects by itself and reads host variables as they are written: resolve the one template that ours hold."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

HERE = "{{ inventory_dir }}"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give testinfra the inventory with the inventory's own directory filled in."""
    source = config.getoption("ansible_inventory", None)
    if not source:
        return
    path = Path(source).resolve()
    command = ["ansible-inventory", "--inventory", str(path), "--list", "--yaml"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    resolved = Path(os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY", path.parent)) / "resolved_inventory.yml"
    resolved.write_text(listed.replace(HERE, str(path if path.is_dir() else path.parent)), encoding="utf-8")
    config.option.ansible_inventory = str(resolved)
