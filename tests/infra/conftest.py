"""testinfra connects by itself and does not render host variables, so this renders the one template in ours."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

HERE = "{{ inventory_dir }}"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give testinfra one inventory, merged from a comma-separated list, with the first one's directory filled in."""
    given = config.getoption("ansible_inventory", None)
    if not given:
        return
    sources = [str(Path(source).resolve()) for source in given.split(",")]
    command = ["ansible-inventory", "--list", "--yaml", *(f"--inventory={source}" for source in sources)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    first = Path(sources[0])
    directory = tempfile.TemporaryDirectory(prefix="flaskops-")
    config.add_cleanup(directory.cleanup)
    resolved = Path(directory.name) / "inventory.yml"
    resolved.write_text(listed.replace(HERE, str(first if first.is_dir() else first.parent)), encoding="utf-8")
    config.option.ansible_inventory = str(resolved)
    # One connection to a host for all commands, instead of one for each.
    os.environ["ANSIBLE_SSH_EXTRA_ARGS"] = f"-o ControlPath={directory.name}/%C"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check each host only for its own topology, which is one of its groups: that of a fact, or the GROUP of a module of browser tests."""

    def belongs(item: pytest.Item) -> bool:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        topology = parameters["fact"].topology if "fact" in parameters else getattr(getattr(item, "module", None), "GROUP", None)
        return topology is None or topology in parameters["_testinfra_host"].ansible.get_variables()["group_names"]

    if not config.getoption("ansible_inventory", None):
        return
    others = [item for item in items if not belongs(item)]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]
