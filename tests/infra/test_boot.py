"""What holds of every target after its reboot, whatever it serves."""

from __future__ import annotations

from testinfra.host import Host


def test_no_unit_failed(host: Host) -> None:
    """systemd is content: everything that is enabled came up by itself."""
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
    assert host.check_output("systemctl is-system-running") == "running"
