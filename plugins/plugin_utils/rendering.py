# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Templates rendered on the controller, the same way under every ansible-core from 2.17 on."""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.action import ActionBase

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19 every string is a template
    trust_as_template = None


def render_text(templar: Any, text: str, variables: dict[str, Any]) -> Any:
    """Render a text that the collection itself ships (so it is trusted) with these variables.

    Raises ``AnsibleError`` for a syntax error or an undefined variable.
    """
    engine = templar.copy_with_new_env(available_variables=variables)
    if trust_as_template:
        return engine.template(trust_as_template(text), escape_backslashes=False)
    return engine.do_template(text, escape_backslashes=False)


def render_file(action: ActionBase, source: str, task_vars: dict[str, Any], **extra: Any) -> str:
    """Render a template file, found as the task's role would find it, with the task's variables and ``extra``.

    Raises ``AnsibleError`` if the file is not found, is no valid template, or needs an undefined variable.
    """
    path = action._find_needle("templates", source)
    with open(path, encoding="utf-8") as handle:
        text = handle.read()
    variables = {**task_vars, "ansible_managed": f"Ansible managed: {os.path.basename(path)}", **extra}
    return str(render_text(action._templar, text, variables) or "")


def render_entries(action: ActionBase, entries: list[dict[str, Any]], task_vars: dict[str, Any], **extra: Any) -> list[dict[str, Any]]:
    """Replace each entry's ``src`` by the ``content`` that its template renders to."""
    rendered = []
    for given in entries:
        entry = dict(given)
        if entry.get("src"):
            entry["content"] = render_file(action, entry.pop("src"), task_vars, **extra)
        rendered.append(entry)
    return rendered
