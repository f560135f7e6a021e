"""A host on which Ansible cannot log in, become root or run Python: docs/troubleshooting.md shows what the run says."""

from __future__ import annotations

import re
import subprocess

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Target, app

ADDRESS, NOBODY = "198.18.2.174", "198.18.2.175"
PAGE = (ROOT / "docs/troubleshooting.md").read_text()
SECTION = PAGE.partition("\n## The host does not let Ansible in\n")[2].partition("\n## ")[0]
MESSAGES = re.findall(r"^> (.*?)(?:<br>)?$", SECTION, re.MULTILINE)
FAULTS: list[dict[str, object]] = [
    {"ansible_ssh_private_key_file": "another"},
    {"ansible_host": NOBODY, "ansible_ssh_timeout": 2},
    {"ansible_ssh_common_args": "-o StrictHostKeyChecking=yes -o UserKnownHostsFile=/dev/null"},
    {"ansible_user": "asked"},
    {"ansible_user": "asked", "ansible_become_password": "wrong"},
    {"ansible_become_method": "community.general.run0"},
    {"ansible_become_method": "pkexec"},
    {"ansible_python_interpreter": "/usr/bin/python3.99"},
]


@pytest.fixture(scope="module")
def said(target: Target) -> str:
    """What a run prints with each of these faults, its lines joined."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", target.work / "another"], check=True)
    target.run("useradd --create-home asked && cp -r /home/ubuntu/.ssh /home/asked && chown -R asked: /home/asked/.ssh")
    target.run("echo 'asked ALL=(ALL) ALL' >/etc/sudoers.d/asked")
    plays = [target.play([app("shop")], variables=fault) for fault in FAULTS]
    assert [play.returncode == 0 for play in plays] == [False] * len(FAULTS)
    return re.sub(r"\s+", " ", " ".join(play.output for play in plays))


@pytest.mark.parametrize("message", MESSAGES)
def test_the_page_shows_what_is_said(said: str, message: str) -> None:
    assert message in said


def test_each_fault_is_on_the_page() -> None:
    assert len(MESSAGES) == len(FAULTS)
