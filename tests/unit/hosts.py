"""Apps and hosts as the survey would find them, for tests of what follows from both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError

from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App
from ansible_collections.flaskops.hosting.plugins.plugin_utils.settings import Settings
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TOPOLOGIES

GOOD = {"flask_app_name": "shop", "flask_app_source": "/home/me/shop"}
OTHER_ROLES = ("nginx_", "uwsgi_app_", "apache_", "dev_server_")


def render(value: Any, variables: dict[str, Any]) -> Any:
    """Enough of a template engine for the defaults."""
    while isinstance(value, str) and "{{" in value:
        before, _open, rest = value.partition("{{")
        name, _bar, change = (word.strip() for word in rest.partition("}}")[0].partition("|"))
        if name not in variables:
            raise AnsibleError(f"'{name}' is undefined")
        found = str(variables[name])
        value = before + (found.lower() if change == "lower" else found) + rest.partition("}}")[2]
    return value


def load(path: Path) -> Any:
    """Read YAML."""
    return yaml.safe_load(path.read_text())


def settings_of(topology: str, own: dict[str, Any] | None = None, **variables: Any) -> Settings:
    """The settings of a good app in a topology with some variables changed, by their whole names."""
    return Settings(TOPOLOGIES[topology].roles, {**GOOD, **variables}, own or {}, load, render)


def app_of(topology: str, **values: Any) -> App:
    """A good app in a topology; a variable's name may lack its `flask_app_`."""
    variables = {name if name.startswith(OTHER_ROLES) else f"flask_app_{name}": value for name, value in values.items()}
    found = settings_of(topology, **variables)
    assert found.problems == []
    return App(found.values, TOPOLOGIES[topology])


def a_host(name: str = "Debian", version: str = "13", **facts: Any) -> dict[str, Any]:
    """A host with nothing on it but SSH, as the survey shows it."""
    return {
        "distribution": {"name": name, "major_version": version},
        "processors": 4,
        "packages_missing": [],
        "account": {"user": False, "group": False, "ours": False, "foreign": False},
        "root": {"exists": False, "foreign": []},
        "ipv6": True,
        "sockets": [{"address": "0.0.0.0", "port": 22, "user": "root", "process": "sshd", "unit": "ssh.service"}],
        "ssh_ports": [22],
        "firewall": {"installed": False, "enabled": False, "incoming": "", "ports": []},
        "apache": {"modules": ["deflate", "filter", "mpm_event"], "sites": ["000-default.conf"], "ports": [80], "tls_ports": [443]},
        "nginx": {"sites_enabled": True, "welcome": False},
        "python": {"given": "3.13", "distribution": "3.13"},
        "files_missing": [],
        "calendars": {},
        "owned_paths": [],
        "certificates": {},
        "apps": {},
        "check_mode": False,
        **facts,
    }
