# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The texts of config_files' entries, rendered or read on the controller."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_action import controller_file
from ansible_collections.flaskops.hosting.plugins.plugin_utils.printable import printable
from ansible_collections.flaskops.hosting.plugins.plugin_utils.rendering import render_entries


def with_texts(action: ActionBase, entries: list[dict[str, Any]], task_vars: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries with ``content`` instead of ``src`` or ``file``.

    Raises ``AnsibleError`` for a template that does not render, ``AnsibleActionFail`` for a file that is no text, or cannot be decrypted.
    """
    return [_with_file(action, entry) for entry in render_entries(action, entries, task_vars)]


def _with_file(action: ActionBase, entry: dict[str, Any]) -> dict[str, Any]:
    path = entry.get("file")
    if not path:
        return entry
    try:
        content = controller_file(action, path).read_text(encoding="utf-8")
    except (OSError, ValueError, AnsibleError) as error:
        raise AnsibleActionFail(printable(f"files: {path} cannot be read: {error}")) from error
    return {**{name: value for name, value in entry.items() if name != "file"}, "content": content}
