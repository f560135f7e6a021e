"""What is imported when: Ansible keeps no compiled files of a collection, so each import costs processor time in each process."""

from __future__ import annotations

import subprocess
import sys

PLUGINS = "ansible_collections.flaskops.hosting.plugins"


def imported_with(name: str) -> set[str]:
    """The modules that a new Python has once it has imported one of this collection's."""
    code = f"import sys; sys.path[:] = {sys.path!r}; import {PLUGINS}.{name}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_lookup_of_all_playbooks_imports_what_the_tasks_need() -> None:
    """Ansible asks it before it forks a process for each task of each host."""
    tasks = ["action.check_apps", "action.config_files", "action.release", "action.survey", "plugin_utils.plan"]
    assert {f"{PLUGINS}.{name}" for name in tasks} <= imported_with("lookup.topologies")


def test_no_run_imports_what_only_hosts_or_few_apps_need() -> None:
    """The command of hosts, with all that activates a release there, and what reads certificates."""
    assert not {f"{PLUGINS}.module_utils.activation", "cryptography.x509"} & imported_with("lookup.topologies")


def test_what_stages_a_release_on_its_host_imports_nothing_of_http() -> None:
    """It asks an app for its health only if there is a new release."""
    assert not {"http.client", "ssl"} & imported_with("module_utils.staging") | {"http.client", "ssl"} & imported_with("module_utils.activation")
