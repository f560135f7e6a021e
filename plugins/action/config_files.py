# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of config_files: render the templates, so that all files go over in one round trip."""

from __future__ import annotations

import base64
import json
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError

from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_action import HostAction, controller_file
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
        entries = [self._with_text(entry) for entry in render_entries(self, arguments.get("files") or [], task_vars)]
        # the host logs its options, except this one; base64, so that Ansible masks one long string, and not each text in it
        secrets = {entry["dest"]: entry.pop("content") for entry in entries if entry.get("secret") and entry.get("content")}
        payload = base64.b64encode(json.dumps(secrets).encode()).decode() if secrets else ""
        arguments = {**arguments, "files": entries, "payload": payload}
        return self.ask_host("config_files", arguments, task_vars)

    def _with_text(self, entry: dict[str, Any]) -> dict[str, Any]:
        """An entry with the text of its ``file``. Raises ``AnsibleActionFail`` if that is none, or cannot be decrypted."""
        path = entry.get("file")
        if not path:
            return entry
        try:
            content = controller_file(self, path).read_text(encoding="utf-8")
        except (OSError, ValueError, AnsibleError) as error:
            raise AnsibleActionFail(printable(f"files: {path} cannot be read: {error}")) from error
        return {**{name: value for name, value in entry.items() if name != "file"}, "content": content}
