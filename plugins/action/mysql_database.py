# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of mysql_database: read the schema files, and hide the given passwords."""

from __future__ import annotations

import base64
import json
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_sql import problems_of
from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_action import HostAction
from ansible_collections.flaskops.hosting.plugins.plugin_utils.printable import printable
from ansible_collections.flaskops.hosting.plugins.plugin_utils.schema import SchemaError, read_schema

PRIVATE_OPTIONS = ("accounts", "schema")


class ActionModule(HostAction):
    """Check what can be checked without the host, then send everything in one round trip."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result. Raises ``AnsibleActionFail`` if an option is wrong."""
        super().run(tmp, task_vars)
        options = {name: value for name, value in self._task.args.items() if name not in PRIVATE_OPTIONS}
        accounts = [dict(one) for one in self._task.args.get("accounts") or []]
        problems = list(problems_of(str(options.get("database")), accounts))
        try:
            files = read_schema(self._task.args.get("schema") or [])
        except SchemaError as error:
            problems.append(f"schema: {error}")
        if problems:
            raise AnsibleActionFail("\n".join([*problems, "Nothing was changed."]))
        packed = [{"name": name, "text": base64.b64encode(text).decode()} for name, text in files.items()]
        # base64, so that Ansible masks one long string, and not each short secret in it
        payload = base64.b64encode(json.dumps({"accounts": accounts, "schema": packed}).encode()).decode()
        module_args = {**options, "payload": payload}
        return printable(self._execute_module("flaskops.hosting.mysql_database", module_args=module_args, task_vars=task_vars or {}))
