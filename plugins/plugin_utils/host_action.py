# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the actions of this collection have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.flaskops.hosting.plugins.plugin_utils.printable import printable, printable_output


class HostAction(ActionBase):
    """An action that lets no host control a terminal, also by warnings, which newer versions of ansible-core take from its answer at once."""

    def ask_host(self, module: str, options: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """What the host's part of a module answers. Of its options, the ``payload`` is shown to nobody."""
        payload = {"payload": options["payload"]} if options.get("payload") else {}
        arguments = {"module": module, "options": {name: value for name, value in options.items() if name != "payload"}, **payload}
        result: dict[str, Any] = printable(self._execute_module("flaskops.hosting.host_part", module_args=arguments, task_vars=task_vars or {}))
        return result

    def _parse_returned_data(self, res: dict[str, Any], *profile: Any) -> Any:
        return super()._parse_returned_data({**res, "stdout": printable_output(res.get("stdout", ""))}, *profile)


def controller_file(action: ActionBase, path: str) -> Path:
    """A file of the controller's, or a decrypted copy of it if Ansible Vault has encrypted it. Raises ``AnsibleError``, also if there is none."""
    return Path(action._loader.get_real_file(str(Path(path).expanduser())))
