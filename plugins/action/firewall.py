# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of firewall: a new connection must come through the firewall that was turned on."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.flaskops.hosting.plugins.module_utils.host_firewall import GUARD_SECONDS, KEEP
from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_action import HostAction
from ansible_collections.flaskops.hosting.plugins.plugin_utils.printable import printable

OVER_THE_NETWORK = ("ssh", "paramiko", "paramiko_ssh", "libssh", "smart")


class ActionModule(HostAction):
    """Say what will be closed, apply the rules, and keep them by a new connection."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result. Raises ``AnsibleConnectionFailure`` if no connection gets in, ``AnsibleActionFail`` if one is too late."""
        super().run(tmp, task_vars)
        host = (task_vars or {}).get("inventory_hostname")
        arguments = dict(self._task.args)
        shut = [f"{one['port']} ({one['process'] or 'unknown'})" for one in arguments.get("shuts") or []]
        if shut:
            advice = "To allow a port for others, name it in flask_app_firewall_ports"
            self._display.warning(printable(f"{host}: the firewall will close ports that something listens on: {', '.join(shut)}. {advice}"))
        result = self.ask_host("firewall", arguments, task_vars)
        if result.get("guarded"):
            self._keep_by_a_new_connection(str(host), arguments)
        if shut and result.get("changed") and not self._task.check_mode:
            result["msg"] = f"closed for others, though something listens there: {', '.join(shut)}"
        return result

    def _keep_by_a_new_connection(self, host: str, arguments: dict[str, Any]) -> None:
        try:
            if self._connection.transport in OVER_THE_NETWORK:
                self._connection.reset()
            done = self._low_level_execute_command(KEEP)
        except AnsibleConnectionFailure as error:
            allowed = sorted(port for ports in (arguments.get("allow") or {}).values() for port in ports)
            raise AnsibleConnectionFailure(
                f"the firewall lets no new connection in to {host}, and takes back its rules by itself within {GUARD_SECONDS} s. It allows "
                f"{', '.join(map(str, allowed))}; name the port that SSH comes in by in flask_app_firewall_ports, or keep the firewall as it is with "
                f"flask_app_firewall: false. {error}"
            ) from error
        if done["rc"]:
            raise AnsibleActionFail(printable(f"{host} has taken back the firewall's rules, or will: {KEEP}: {done['stdout']}{done['stderr']}"))
