# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of the module ``survey``: it checks variables, asks the host, and plans what the run will do."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.hosting.plugins.filter.hosts_with_app import hosts_with_app
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import hide_credentials
from ansible_collections.flaskops.hosting.plugins.plugin_utils import plan, processes, tls
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import FILES, App
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app_action import APP, AppAction, problems_of_source, rejection
from ansible_collections.flaskops.hosting.plugins.plugin_utils.conflicts import conflicts
from ansible_collections.flaskops.hosting.plugins.plugin_utils.database import plan_database
from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_action import controller_file
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import Topology, TopologyError

LOOKED_FOR = ("user", "group", "python", "root", "environment_files")  # of an app, on its host


class ActionModule(AppAction):
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
            return rejection([str(error)])

    def _survey_role(self, role: str, own: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Look at the host; and check the variables of a database, and plan the run for it, if its role is named."""
        found = self.settings([role] if role else [], own, variables)
        if role and found.problems:
            return rejection(found.problems)
        host = self._look(options, variables)
        if not role or host.get("failed"):
            return host
        return {**host, "settings": found.values, **plan_database(found.values, host)}

    def _survey_app(self, own: dict[str, Any], role_topology: str, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Raises ``TopologyError``."""
        values, topology, problems = self.check(own, role_topology, variables)
        if problems:
            return rejection(problems)
        if topology is None and "deploy_chosen" in variables:
            advice = "deploy ships a release of an app whose state is present; to remove one, run flaskops.hosting.site"
            return rejection([f"flask_app_state: got absent for {values['flask_app_name']}. {advice}"])
        if topology is None:
            return self._survey_absent(values, options, variables)
        return self._survey_present(App(values, topology), topology, options, variables)

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
        app = processes.on_this_host(app, lambda: _is_first(app.name, topology, variables))
        options = {**options, **_looked_for(app.values), "packages": [*options.get("packages", []), *plan.packages(app)]}
        if app.jobs:
            options["schedules"] = processes.schedules(app)
        host = self._look(options, variables)
        if host.get("failed"):
            return host
        before = host["apps"].get(app.name, {})
        deploys = "deploy_chosen" in variables
        if deploys and before.get("topology") != topology.name:
            advice = "deploy ships a release of an app that flaskops.hosting.site has put there. Run that first."
            return rejection([f"{app.name} is not on this host as {topology.name}: {advice}"])
        host["check_mode"] = self._task.check_mode
        app = tls.with_certificate(app, host)
        if app.tls == FILES and not deploys:  # a deploy leaves what the host has
            host["certificate_files"] = tls.brought(app, host, controller_file(self, app.tls_certificate))
        problems = list(conflicts(app, host))
        if problems:
            return rejection(problems)
        reached_at = str(variables.get("ansible_host") or variables.get("inventory_hostname"))
        planned = plan.plan_present(app, host, reached_at, str(variables.get("ansible_user") or "ubuntu"))
        if planned["prepares"]:  # else the release looks at all of it before it touches the host, and a repository is fetched once
            problems = problems_of_source(app.values, shipped=True)
            if problems:
                return rejection(problems)
        shown = {**app.values, "flask_app_source": hide_credentials(app.values["flask_app_source"])}  # with -v, Ansible prints all of this
        return {**host, "settings": shown, "topology": topology.name, "before": before, **planned}

    def _look(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        return self.ask_host("survey", options, variables)


def _is_first(name: str, topology: Topology, variables: dict[str, Any]) -> bool:
    """Whether this is the first host of the inventory with the app, whichever hosts this run is for."""
    host = variables["inventory_hostname"]
    group = variables.get("groups", {}).get(topology.name, [])
    listed = group if host in group else variables.get("ansible_play_hosts_all", [host])
    return hosts_with_app((one for one in listed), variables["hostvars"], name)[:1] in ([host], [])


def _looked_for(values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[f"flask_app_{name}"] for name in LOOKED_FOR}
