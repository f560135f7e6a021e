"""An EC2 API on loopback, and helpers to use it. No request goes to AWS itself."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Play, eventually

HERE = Path(__file__).resolve().parent
INVENTORY = ROOT / "inventories/aws"
REGION = "eu-central-1"
OFFICE = "203.0.113.7/32"
RUN_SECONDS = 900  # for site.yml on three hosts, even if other tests keep the machine busy


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of one module in one worker, because they share a server."""
    item.add_marker(pytest.mark.xdist_group(f"aws-{item.path.stem}"))


@dataclass(frozen=True)
class Ec2:
    """moto's server, which answers as EC2 does."""

    url: str
    client: Any
    public_key: Path

    def environment(self) -> dict[str, str]:
        """The variables that point every AWS tool to this server, and away from the developer's own account."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **own,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "moto",
            "AWS_SECRET_ACCESS_KEY": "moto",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
        }

    def run(self, *command: Path | str, **environment: str) -> Play:
        """Run one of Ansible's programs; a variable with an empty value is removed from the environment."""
        given = {name: value for name, value in {**self.environment(), **environment}.items() if value}
        program, *arguments = command
        words = [ROOT / ".venv/bin" / program, *arguments]
        done = subprocess.run(words, env=given, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
        return Play(done.returncode, done.stdout + done.stderr)

    def provision(self, *arguments: str, ssh_cidrs: str = OFFICE) -> Play:
        """Run the playbook as its users do."""
        given = ["-e", f"provision_public_key_file={self.public_key}", *(["-e", f"provision_ssh_cidrs={ssh_cidrs}"] if ssh_cidrs else [])]
        return self.run("ansible-playbook", "playbooks/provision_ec2.yml", "-i", INVENTORY, *given, *arguments)

    def provisioned(self, *arguments: str) -> Play:
        """Run the playbook and check that it succeeds."""
        play = self.provision(*arguments)
        assert play.returncode == 0, play.output
        return play

    def inventory(self) -> dict[str, Any]:
        """The inventory as ansible-inventory lists it: groups by name, and `_meta` with the hosts' variables."""
        listed = self.run("ansible-inventory", "-i", INVENTORY, "--list").output
        text = listed[listed.index("{\n") : listed.rindex("}") + 1]
        # ansible-inventory marks values from AWS, because they must not be used as templates.
        return dict(json.loads(text, object_hook=lambda value: value.get("__ansible_unsafe", value)))

    def graph(self) -> list[str]:
        """The lines of `ansible-inventory --graph` for groups and hosts, without the line for all."""
        shown = self.run("ansible-inventory", "-i", INVENTORY, "--graph")
        assert shown.returncode == 0, shown.output
        return re.findall(r"^(?:  \|)+--.+", shown.output, re.MULTILINE)

    def instances(self, state: str = "running") -> list[dict[str, Any]]:
        """All instances in this state, no matter who made them."""
        found = self.client.describe_instances(Filters=[{"Name": "instance-state-name", "Values": [state]}])
        return [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]

    def groups(self) -> dict[str, dict[str, Any]]:
        """All security groups by name, except the VPC's own."""
        found = self.client.describe_security_groups()["SecurityGroups"]
        return {group["GroupName"]: group for group in found if group["GroupName"] != "default"}

    def keys(self) -> list[dict[str, Any]]:
        """All key pairs."""
        return list(self.client.describe_key_pairs()["KeyPairs"])

    def made(self) -> list[str]:
        """The names of everything in the account: instances, security groups, key pairs."""
        return [i["InstanceId"] for i in self.instances()] + list(self.groups()) + [k["KeyName"] for k in self.keys()]

    def launch(self, **tags: str) -> str:
        """Make an instance in another way than the playbook; returns its id."""
        named = [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]
        made = self.client.run_instances(ImageId="ami-00000000000000001", MinCount=1, MaxCount=1, TagSpecifications=named)
        return str(made["Instances"][0]["InstanceId"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of moto's server, for this machine only."""
    with moto(tmp_path_factory.mktemp("moto"), "127.0.0.1") as url:
        yield url


@contextlib.contextmanager
def moto(directory: Path, address: str) -> Iterator[str]:
    """Run moto's server at an address of this machine, on a free port; yields its URL. Its log is in the directory."""
    log = directory / "log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "moto.server", "--host", address, "--port", "0"]
        process = subprocess.Popen(command, env={**os.environ, "MOTO_AMIS_PATH": str(HERE / "images.json")}, stdout=out, stderr=out)
    try:
        assert eventually(lambda: "Running on" in log.read_text(), 60), log.read_text()
        yield re.findall(r"Running on (http://[\d.]+:\d+)", log.read_text())[0]
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def ec2(server: str, tmp_path: Path) -> Ec2:
    """An empty account, and a key of its user."""
    return new_account(server, tmp_path)


def new_account(server: str, directory: Path) -> Ec2:
    """Empty the server's account; returns it with a key of its user, which is made in the directory."""
    urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST"), timeout=10).close()
    given = {"aws_access_key_id": "moto", "aws_secret_access_key": "moto"}
    client = boto3.client("ec2", region_name=REGION, endpoint_url=server, **given)
    return Ec2(server, client, new_key(directory / "id_ed25519"))


def new_key(path: Path) -> Path:
    """Make a key pair for SSH, which replaces an existing one; returns the public key's file."""
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub")
