"""How a new connection keeps what the firewall was changed to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.flaskops.hosting.plugins.action.firewall import ActionModule


class Host(ActionModule):
    """An action whose host ends the command of the new connection with an exit code, or lets no connection in."""

    def __init__(self, exit_code: int | None) -> None:
        self._connection = SimpleNamespace(transport="ssh", reset=lambda: None)
        self.exit_code = exit_code

    def _low_level_execute_command(self, cmd: str, **_options: Any) -> dict[str, Any]:
        if self.exit_code is None:
            raise AnsibleConnectionFailure("timed out")
        return {"rc": self.exit_code, "stdout": "", "stderr": f"{cmd} is not loaded."}

    def keep(self) -> None:
        """Do it."""
        self._keep_by_a_new_connection("web1", {"allow": {"SSH": [22], "flaskops": [80]}})


def test_nothing_is_said_if_it_comes_through() -> None:
    Host(0).keep()


def test_a_connection_that_comes_too_late_is_an_error() -> None:
    with pytest.raises(AnsibleActionFail, match=r"web1 has taken back the firewall's rules.*flaskops-firewall.timer is not loaded"):
        Host(5).keep()


def test_no_connection_is_an_error_with_the_ports_that_are_open() -> None:
    with pytest.raises(AnsibleConnectionFailure, match=r"no new connection in to web1, .* It allows 22, 80; .* timed out"):
        Host(None).keep()
