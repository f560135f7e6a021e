# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of config_files: render the templates, so that all files go over in one round trip."""

from __future__ import annotations

import base64
import json
from typing import Any

from ansible_collections.flaskops.hosting.plugins.plugin_utils.config_texts import with_texts
from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_action import HostAction


class ActionModule(HostAction):
    """Render each entry's template and hand the texts to the module."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result. Raises ``AnsibleError`` for a template that does not render."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        arguments = dict(self._task.args)
        entries = with_texts(self, arguments.get("files") or [], task_vars)
        # the host logs its options, except this one; base64, so that Ansible masks one long string, and not each text in it
        secrets = {entry["dest"]: entry.pop("content") for entry in entries if entry.get("secret") and entry.get("content")}
        payload = base64.b64encode(json.dumps(secrets).encode()).decode() if secrets else ""
        arguments = {**arguments, "files": entries, "payload": payload}
        return self.ask_host("config_files", arguments, task_vars)
