# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of survey: complete and check the variables, then judge them by what the host has."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.flaskops.hosting.plugins.plugin_utils import placement, settings
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import GIT_URL, SourceError, open_source


class ActionModule(ActionBase):
    """Check variables without the host first, so that a mistake costs no round trip."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result with the settings, or a failure that lists every problem."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        options = dict(self._task.args)
        roles = options.get("roles") or []
        if not roles:
            return self._execute_module("flaskops.hosting.survey", module_args=options, task_vars=task_vars)
        own = options.pop("variables", None) or {}
        topology = placement.Topology(**options.pop("topology", None) or {"name": ""})
        found = settings.Settings(roles, task_vars, own, self._load, self._render)
        of_an_app = "flask_app" in roles
        problems = found.problems or (list(_problems_of_source(found.values)) if of_an_app else [])
        if problems:
            return _refusal(problems)
        for name, packages in (options.pop("packages_by_setting", None) or {}).items():
            value = found.values.get(name)
            options["packages"] = [*options.get("packages", []), *packages.get(str(value), packages.get("*", []) if value else [])]
        host = self._look(options, found.values, task_vars)
        if host.get("failed"):
            return host
        if not of_an_app:
            return {**host, "settings": found.values}
        recorded = placement.recorded(found.values, host)
        if found.values["flask_app_state"] == "absent" and not recorded.items() <= found.values.items():
            found.values.update(recorded)  # who removes an app need not remember where it was
            host = self._look(options, found.values, task_vars)
        if found.values["flask_app_state"] == "present":
            problems = list(placement.conflicts(found.values, host, topology))
        if problems:
            return _refusal(problems)
        reached_at = str(task_vars.get("ansible_host") or task_vars.get("inventory_hostname"))
        return {**host, "settings": found.values, **placement.derive(found.values, host, topology, reached_at)}

    def _look(self, options: dict[str, Any], values: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        looked_for = {name: values[f"flask_app_{name}"] for name in ("user", "group", "python") if f"flask_app_{name}" in values}
        arguments = {**options, **looked_for}
        return self._execute_module("flaskops.hosting.survey", module_args=arguments, task_vars=task_vars)

    def _load(self, path: Path) -> Any:
        # the roles' own files, so their templates may be trusted; before ansible-core 2.19 all are
        trusts = "trusted_as_template" in inspect.signature(self._loader.load_from_file).parameters
        return self._loader.load_from_file(str(path), **({"trusted_as_template": True} if trusts else {}))

    def _render(self, value: Any, variables: dict[str, Any]) -> Any:
        return self._templar.copy_with_new_env(available_variables=variables).template(value)


def _problems_of_source(values: dict[str, Any]) -> list[str]:
    if values["flask_app_state"] == "absent" or GIT_URL.search(values["flask_app_source"]):
        return []  # what git holds is seen when it is fetched, by the pre-flight
    try:
        with open_source(values["flask_app_source"], "") as source:
            return list(settings.problems_of_module(source.directory, values["flask_app_module"]))
    except SourceError as error:
        return [str(error)]


def _refusal(problems: list[str]) -> dict[str, Any]:
    return {"failed": True, "changed": False, "msg": "\n".join([*problems, "Nothing was changed."])}
