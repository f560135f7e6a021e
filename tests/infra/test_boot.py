"""What holds of every target after its reboot, whatever it serves."""

from __future__ import annotations

from testinfra.host import Host


def test_no_unit_failed(host: Host) -> None:
    """systemd is content: everything that is enabled came up by itself."""
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
    assert host.check_output("systemctl is-system-running") == "running"


def test_no_unit_still_starts(host: Host) -> None:
    """What is enabled is up, and nothing is started again and again."""
    assert host.check_output("systemctl list-units --state=activating --no-legend --plain") == ""
    assert set(host.check_output("systemctl show '*.service' --property=NRestarts --value").split()) == {"0"}
