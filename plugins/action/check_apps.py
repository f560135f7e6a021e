# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All of check_apps: it checks the variables of a host's apps on the controller, and never asks the host."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app_action import AppAction, rejection
from ansible_collections.flaskops.hosting.plugins.plugin_utils.apps_of_host import clashes
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TopologyError


class ActionModule(AppAction):
    """Reject a mistake in any app of a host before the first of them is touched."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the names of the apps; or a failure that lists every problem."""
        super().run(tmp, task_vars)
        apps, variables = self._task.args.get("apps") or [], task_vars or {}
        present, problems, names = [], [], []
        for own in apps:
            try:
                values, topology, found = self.check(own, "", variables)
            except TopologyError as error:
                topology, found = None, [str(error)]
            name = self.value("flask_app_name", own, variables)
            names.append(name)
            problems += [f"{name}: {problem}" if len(apps) > 1 else problem for problem in found]
            if topology and not found:
                present.append(App(values, topology))
        problems = problems or list(clashes(present))
        return rejection(problems) if problems else {"changed": False, "checked": names}
