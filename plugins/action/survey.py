# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of the module ``survey``: it checks variables, asks the host, and plans what the run will do."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import hide_credentials
from ansible_collections.flaskops.hosting.plugins.plugin_utils import plan, settings
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App
from ansible_collections.flaskops.hosting.plugins.plugin_utils.conflicts import conflicts
from ansible_collections.flaskops.hosting.plugins.plugin_utils.database import plan_database
from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_action import HostAction
from ansible_collections.flaskops.hosting.plugins.plugin_utils.printable import printable
from ansible_collections.flaskops.hosting.plugins.plugin_utils.requirements import read_requirements
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import open_source
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_git import is_repository
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits import SourceError
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import Topology, TopologyError, topology_of

APP = "flask_app"
LOOKED_FOR = ("user", "group", "python", "root")  # of an app, on its host


class ActionModule(HostAction):
    """Check variables without the host first, so that a mistake costs no round trip."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the host has, with the settings and the plan; or a failure that lists every problem."""
        super().run(tmp, task_vars)
        options, variables = dict(self._task.args), task_vars or {}
        role, own = options.pop("role", ""), options.pop("variables", None) or {}
        given_topology = options.pop("topology", "")
        if role != APP:
            return self._survey_role(role, own, options, variables)
        try:
            return self._survey_app(own, given_topology, options, variables)
        except TopologyError as error:
            return _rejection([str(error)])

    def _survey_role(self, role: str, own: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Look at the host; and check the variables of a database, and plan the run for it, if its role is named."""
        found = settings.Settings([role] if role else [], variables, own, self._load, self._render)
        if role and found.problems:
            return _rejection(found.problems)
        host = self._look(options, variables)
        if not role or host.get("failed"):
            return host
        return {**host, "settings": found.values, **plan_database(found.values, host)}

    def _survey_app(self, own: dict[str, Any], role_topology: str, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Raises ``TopologyError``."""
        name, state = (self._value(key, own, variables) for key in ("flask_app_name", "flask_app_state"))
        topology = None
        if state != "absent":  # removing goes by what the host has noted
            given = self._value("flask_app_topology", own, variables)
            topology = topology_of(f"the app {name}" if name else "an app", given, role_topology, variables.get("group_names", []))
        found = settings.Settings(topology.roles if topology else [APP], variables, own, self._load, self._render)
        problems = found.problems or list(_problems_of_source(found.values))
        if problems:
            return _rejection(problems)
        if topology is None:
            return self._survey_absent(found.values, options, variables)
        return self._survey_present(App(found.values, topology), topology, options, variables)

    def _survey_absent(self, values: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        name = values["flask_app_name"]
        host = self._look({**options, **_looked_for(values)}, variables)
        if host.get("failed"):
            return host
        record = host["apps"].get(name, {})
        recorded = {f"flask_app_{key}": record[key] for key in ("root", "user", "group") if record.get(key)}
        if not recorded.items() <= values.items():  # to remove an app, a user need not know its paths
            values = {**values, **recorded}
            host = self._look({**options, **_looked_for(values)}, variables)
        return {**host, "settings": values, "before": record, **plan.plan_absent(name, host)}

    def _survey_present(self, app: App, topology: Topology, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        options = {**options, **_looked_for(app.values), "packages": [*options.get("packages", []), *plan.packages(app)]}
        host = self._look(options, variables)
        if host.get("failed"):
            return host
        host["check_mode"] = self._task.check_mode
        problems = list(conflicts(app, host))
        if problems:
            return _rejection(problems)
        reached_at = str(variables.get("ansible_host") or variables.get("inventory_hostname"))
        planned = plan.plan_present(app, host, reached_at, str(variables.get("ansible_user") or "ubuntu"))
        before = host["apps"].get(app.name, {})
        shown = {**app.values, "flask_app_source": hide_credentials(app.values["flask_app_source"])}  # with -v, Ansible prints all of this
        return {**host, "settings": shown, "topology": topology.name, "before": before, **planned}

    def _value(self, name: str, own: dict[str, Any], variables: dict[str, Any]) -> str:
        """A variable that must be known before the others can be checked; empty if it is not given."""
        value = own.get(name, variables.get(name, ""))
        return str(self._render(value, {**variables, **own}) or "")

    def _look(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        return printable(self._execute_module("flaskops.hosting.survey", module_args=options, task_vars=variables))

    def _load(self, path: Path) -> Any:
        # the roles' own files, so their templates may be trusted; before ansible-core 2.19 all are
        trusts = "trusted_as_template" in inspect.signature(self._loader.load_from_file).parameters
        return self._loader.load_from_file(str(path), **({"trusted_as_template": True} if trusts else {}))

    def _render(self, value: Any, variables: dict[str, Any]) -> Any:
        return self._templar.copy_with_new_env(available_variables=variables).template(value)


def _looked_for(values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[f"flask_app_{name}"] for name in LOOKED_FOR}


def _problems_of_source(values: dict[str, Any]) -> list[str]:
    if values["flask_app_state"] == "absent" or is_repository(values["flask_app_source"]):
        return []  # a git repository is fetched later, and the pre-flight check finds such a mistake
    try:
        with open_source(values["flask_app_source"], "") as source:
            required = read_requirements(source.directory, values["flask_app_requirements"], build="")
            if values["flask_app_build"]:  # what is not there may be made
                return []
            return [
                *settings.problems_of_module(source.directory, values["flask_app_module"], requires=bool(required.file)),
                *settings.problems_of_static(source.directory, values["flask_app_static"]),
            ]
    except SourceError as error:
        return [str(error)]


def _rejection(problems: list[str]) -> dict[str, Any]:
    return printable({"failed": True, "changed": False, "msg": "\n".join([*problems, "Nothing was changed."])})
