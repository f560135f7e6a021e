"""The firewall allows SSH and the ports of the apps, and no others."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, SSH_OPTIONS, Target, app, missing

ADDRESS = "198.18.2.70"
SHOP, API = app("shop"), app("api", listen="8443", nginx_gunicorn_listen="127.0.0.1:8080")


# A neighbour at fd00::2, without any firewall; containers have IPv6 switched off. And a listener for IPv6.
IPV6 = """
mount -o remount,rw /proc/sys
for name in default lo; do echo 0 >/proc/sys/net/ipv6/conf/$name/disable_ipv6; done
ip netns add v6 && ip link add here type veth peer name there netns v6
ip address add fd00::1/64 dev here nodad && ip link set here up
ip -n v6 address add fd00::2/64 dev there nodad && ip -n v6 link set there up
systemctl restart ssh && ufw --force reset >/dev/null
systemd-run --quiet --unit=squatter6 python3 -m http.server 9998 --bind :: --directory /usr/share
"""
RELAY = """
import os, socket, threading

server = socket.create_connection(("fd00::1", 22))
copy = lambda: [os.write(1, data) for data in iter(lambda: server.recv(65536), b"")]
threading.Thread(target=copy, daemon=True).start()
for data in iter(lambda: os.read(0, 65536), b""):
    server.sendall(data)
"""


@pytest.fixture(scope="module")
def host(target: Target) -> Target:
    """Two apps on two ports; and somebody's listener on a third, on all addresses."""
    target.run("systemd-run --quiet --unit=squatter python3 -m http.server 9999 --directory /usr/share")
    target.converge([SHOP, API])
    return target


def answers(port: int) -> bool:
    """Return whether the port takes a connection from outside of the host."""
    try:
        with socket.create_connection((ADDRESS, port), timeout=1):
            return True
    except (TimeoutError, ConnectionError):
        return False


def test_rules_are_ssh_and_what_is_served(host: Target) -> None:
    """For IPv4 and IPv6, with all others denied, now and after a boot."""
    status = host.run("ufw status verbose")
    assert "Status: active" in status
    assert "Default: deny (incoming), allow (outgoing)" in status
    rules = sorted(line.split("  ")[0].strip() for line in status.partition("----")[2].splitlines() if "ALLOW" in line)
    assert rules == sorted(["22/tcp", "80/tcp", "8443/tcp", "22/tcp (v6)", "80/tcp (v6)", "8443/tcp (v6)"])
    assert "ALLOW" in status and "REJECT" not in status and "LIMIT" not in status
    assert host.run("systemctl is-enabled ufw") == "enabled"


def test_what_is_served_answers(host: Target) -> None:
    """Both apps and SSH."""
    assert host.get("/").status == host.get("/", port=8443).status == 200
    assert answers(22)


def test_closed_port_is_closed(host: Target) -> None:
    """A service that listens on all addresses is not reached; without the firewall it would be."""
    assert host.succeeds("ss --listening --tcp --numeric | grep -q 0.0.0.0:9999")
    assert not answers(9999)
    assert not answers(8080)
    host.run("ufw disable")
    try:
        assert answers(9999)
    finally:
        # what somebody has switched off is on again after a run
        assert host.converge([SHOP]).changed == ["Allow SSH and the ports of the apps, and reject all others"]
    assert not answers(9999)


def test_lost_rule_and_default_policy_come_back(host: Target) -> None:
    """After a run, what somebody has changed is as before, a rule that is not ours is not changed, and a second run has nothing to do."""
    host.run("ufw delete allow 8443/tcp")
    assert not answers(8443)
    host.run("ufw default allow incoming; ufw allow from 198.18.9.9 to any port 5432 proto tcp")
    assert answers(9999)
    assert host.converge([API]).changed == ["Allow SSH and the ports of the apps, and reject all others"]
    assert answers(8443) and not answers(9999)
    assert "5432/tcp" in host.run("ufw status") and "8443/tcp" in host.run("ufw status")
    assert host.converge([API]).recap["changed"] == 0


def test_port_that_is_served_no_more_is_closed(host: Target) -> None:
    """An app that moves to another port takes its rule with it."""
    host.converge([SHOP, {**API, "flask_app_listen": "8444"}])
    assert answers(8444)
    status = host.run("ufw status")
    assert "8444/tcp" in status and "8443/tcp" not in status
    assert not host.succeeds("ss --listening --tcp --numeric | grep -q :8443")


def test_who_comes_over_ipv6_is_not_locked_out(host: Target) -> None:
    """From a neighbour that has no IPv4: SSH is allowed, by the connection that the firewall is turned on over, and so are the apps.

    Their URLs have brackets. What is not named is closed.
    """
    host.run(IPV6)
    host.run("cat >/root/relay.py", stdin=RELAY)
    neighbour = f"{ROOT}/dev/docker exec --interactive flaskops-{host.name} ip netns exec v6 python3"
    arguments = f"{SSH_OPTIONS} -o ProxyCommand='{neighbour} /root/relay.py'"
    play = host.converge([SHOP, API], variables={"ansible_host": "fd00::1", "ansible_ssh_common_args": arguments})
    assert "Allow SSH and the ports of the apps, and reject all others" in play.changed
    assert host.succeeds("journalctl --boot | grep 'Accepted publickey for ubuntu from fd00::2'")
    reached = "ip netns exec v6 python3 -c 'import socket; socket.create_connection((\"fd00::1\", {}), timeout=2)'"
    assert host.succeeds(reached.format(22)) and host.succeeds(reached.format(80))
    assert missing(play.output, ["shop answers at http://[fd00::1]/ ", "api answers at http://[fd00::1]:8443/ "]) == []
    assert host.succeeds("ss --listening --tcp --numeric | grep -F '*:9998'")
    assert not host.succeeds(reached.format(9998))


@pytest.fixture(scope="module")
def moved(new_target: Callable[..., Target]) -> Target:
    """A host on which systemd listens for SSH, on two ports, as newer Ubuntu does; a proxy listens on a third one and hands its connections on."""
    host = new_target("198.18.2.71")
    host.run(
        "systemctl disable --quiet --now ssh.service; mkdir -p /etc/systemd/system/ssh.socket.d && "
        "printf '[Socket]\\nListenStream=\\nListenStream=22\\nListenStream=2222\\n' >/etc/systemd/system/ssh.socket.d/ports.conf && "
        "systemctl daemon-reload && systemctl enable --quiet --now ssh.socket && "
        "printf '[Socket]\\nListenStream=2200\\n[Install]\\nWantedBy=sockets.target\\n' >/etc/systemd/system/proxy.socket && "
        "printf '[Service]\\nExecStart=/lib/systemd/systemd-socket-proxyd 127.0.0.1:22\\n' >/etc/systemd/system/proxy.service && "
        "systemctl enable --quiet --now proxy.socket"
    )
    return host


def says_ssh(port: int) -> bool:
    """Return whether SSH answers on a port from outside of the host."""
    try:
        with socket.create_connection(("198.18.2.71", port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except (TimeoutError, ConnectionError):
        return False


def test_who_would_be_locked_out_is_not(moved: Target) -> None:
    """No new connection comes through by the proxy's port: the run says so, and the host takes its rules back."""
    play = moved.play([SHOP], variables={"ansible_port": 2200})
    assert play.recap["unreachable"] == 1 and "the firewall lets no new connection in" in " ".join(play.output.split()), play.output
    assert "will close ports that something listens on: 2200 (systemd)" in " ".join(play.output.split())
    until = time.monotonic() + 75
    while not says_ssh(2200):
        assert time.monotonic() < until, moved.run("ufw status verbose; systemctl list-timers --all")
        time.sleep(2)
    assert moved.run("ufw status") == "Status: inactive"


def test_every_port_of_ssh_is_allowed_and_those_that_are_named(moved: Target) -> None:
    moved.converge([{**SHOP, "flask_app_firewall_ports": [2200]}], variables={"ansible_port": 2200})
    assert says_ssh(22) and says_ssh(2222) and says_ssh(2200)
    assert not moved.succeeds("systemctl is-active flaskops-firewall.timer")
    assert moved.converge([SHOP]).changed[-1] == "Close the ports that nothing needs any more"
    assert says_ssh(2222) and not says_ssh(2200)
