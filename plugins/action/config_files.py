# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of config_files: render the templates, so that all files go over in one round trip."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_action import HostAction
from ansible_collections.flaskops.hosting.plugins.plugin_utils.printable import printable
from ansible_collections.flaskops.hosting.plugins.plugin_utils.rendering import render_entries


class ActionModule(HostAction):
    """Render each entry's template and hand the texts to the module."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result. Raises ``AnsibleError`` for a template that does not render."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        arguments = dict(self._task.args)
        arguments["files"] = render_entries(self, arguments.get("files") or [], task_vars)
        return printable(self._execute_module("flaskops.hosting.config_files", module_args=arguments, task_vars=task_vars))
