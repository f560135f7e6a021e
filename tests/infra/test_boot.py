"""What is true of every target after its reboot."""

from __future__ import annotations

from testinfra.host import Host


def test_no_unit_failed(host: Host) -> None:
    """systemd reports no failure: every enabled unit started by itself."""
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
    assert host.check_output("systemctl is-system-running") == "running"


def test_no_unit_still_starts(host: Host) -> None:
    """Every enabled unit runs, and none is restarted again and again."""
    assert host.check_output("systemctl list-units --state=activating --no-legend --plain") == ""
    assert set(host.check_output("systemctl show '*.service' --property=NRestarts --value").split()) == {"0"}
