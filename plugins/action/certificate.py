# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of certificate: what a CA says must not control a terminal."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_action import HostAction


class ActionModule(HostAction):
    """Hand everything to the module."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        return self.ask_host("certificate", dict(self._task.args), task_vars)
