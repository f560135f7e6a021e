"""From an account that has nothing to served apps, as a user does it: provision, `site.yml -i inventories/aws`, deploy.

Each instance is a container of the local fleet, at the private address that the EC2 API gave it: the inventory is exactly the committed one.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.tests.aws.conftest import Ec2, new_account
from ansible_collections.flaskops.hosting.tests.infra.facts import ASK, FACTS, open_ports
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Answer, Play, Target, missing

# AWS reserves the first addresses, so instances get those from 198.18.2.244 on.
SUBNET = "198.18.2.240/28"
# The others' apps have the settings that molecule's scenarios converge: tests/unit/test_topologies.py compares them.
URLS = {
    "nginx_gunicorn": ("blueoctopus", "http://{}/"),
    "apache_mod_wsgi": ("flaskapp", "http://{}/app/"),
    "dev_server": ("blueoctopus", "http://127.0.0.1:5000/"),
}
TOPOLOGIES = list(URLS)


@dataclass(frozen=True)
class Site:
    """The account with one instance of each of these topologies, and the instances by topology."""

    ec2: Ec2
    instances: dict[str, Target]
    names: dict[str, str]  # in the inventory
    known_hosts: Path

    def play(self, playbook: str, *arguments: str) -> Play:
        """Run a playbook on the inventory with the user's key, without the developer's own known hosts and connections."""
        environment = {
            "ANSIBLE_SSH_EXTRA_ARGS": f"-o UserKnownHostsFile={self.known_hosts}",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.instances[TOPOLOGIES[0]].control),
        }
        key = str(self.ec2.public_key.with_suffix(""))
        play = self.ec2.run("ansible-playbook", playbook, "-i", "inventories/aws", "--private-key", key, *arguments, **environment)
        assert play.returncode == 0, play.output
        return play

    def live(self) -> dict[str, str]:
        """The live release of each topology's app."""
        return {topology: one.live(URLS[topology][0]) for topology, one in self.instances.items()}


@pytest.fixture(scope="module")
def site(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Instances that the playbook made. Each is a container that accepts the key of its key pair."""
    ec2 = new_account(server, tmp_path_factory.mktemp("user"))
    [vpc] = ec2.client.describe_vpcs()["Vpcs"]
    for subnet in ec2.client.describe_subnets()["Subnets"]:
        ec2.client.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.client.associate_vpc_cidr_block(VpcId=vpc["VpcId"], CidrBlock="198.18.0.0/16")
    private = ec2.client.create_subnet(VpcId=vpc["VpcId"], CidrBlock=SUBNET, AvailabilityZone="eu-central-1a")["Subnet"]["SubnetId"]
    ec2.client.modify_subnet_attribute(SubnetId=private, MapPublicIpOnLaunch={"Value": False})
    ec2.provisioned("-e", json.dumps({"provision_topologies": {topology: {} for topology in TOPOLOGIES}}))

    inventory = ec2.inventory()
    names = {topology: inventory[topology]["hosts"][0] for topology in TOPOLOGIES}
    instances = {}
    for topology, name in names.items():
        address = inventory["_meta"]["hostvars"][name]["ansible_host"]
        instances[topology] = Target(f"aws-{topology}".replace("_", "-"), address, "ubuntu-like-ready", tmp_path_factory.mktemp(topology))
    with ThreadPoolExecutor() as pool:
        try:
            list(pool.map(Target.up, instances.values()))
            for one in instances.values():
                one.run("cat >>/home/ubuntu/.ssh/authorized_keys", stdin=ec2.public_key.read_text())
            yield Site(ec2, instances, names, tmp_path_factory.mktemp("ssh") / "known_hosts")
        finally:
            list(pool.map(Target.down, instances.values()))


@pytest.fixture(scope="module")
def converged(site: Site) -> Play:
    """The first run on all hosts."""
    return site.play("site.yml")


def changes(play: Play) -> dict[str, int]:
    """The number of changed tasks for each host of the recap, after a check that no host was unreachable or failed."""
    lines = re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", play.output, re.MULTILINE)
    assert {(unreachable, failed) for _name, _changed, unreachable, failed in lines} == {("0", "0")}
    return {name: int(changed) for name, changed, _unreachable, _failed in lines}


def own_port(topology: str) -> int:
    """The port at which a topology's first app answers."""
    return 5000 if topology == "dev_server" else 80


def ask(site: Site, topology: str, port: int, path: str, method: str = "GET") -> Answer:
    """Send a request from outside of the host, or on the host, if only the host reaches the port."""
    if port in open_ports(topology):
        return site.instances[topology].get(path, port, method=method)
    status, headers, body = json.loads(site.instances[topology].run(f"python3 - {port} {method} {path}", stdin=ASK))
    return Answer(status, headers, body.encode())


def test_every_instance_gets_its_app(site: Site, converged: Play) -> None:
    """The run ends with the URL and the release of each app."""
    assert changes(converged).keys() == set(site.names.values())
    expected = []
    for topology, release in site.live().items():
        app, url = URLS[topology]
        expected.append(f"{app} answers at {url.format(site.instances[topology].address)} (release {release})")
    assert missing(" ".join(converged.output.split()), expected) == []  # long lines are folded


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_apps_answer(site: Site, converged: Play, topology: str) -> None:
    """As docs/facts.yml says, except what only the local fleet has: a second app on a host, and a second mount."""
    port = own_port(topology)
    answers = [line for line in FACTS[topology]["answers"] if line["port"] == port and not line["path"].startswith("/your/path")]
    assert answers
    for wanted in answers:
        answer = ask(site, topology, port, wanted["path"], wanted.get("method", "GET"))
        assert (answer.status, answer.headers["Content-Type"]) == (wanted.get("status", 200), wanted["type"])
        assert wanted.get("body", wanted.get("has", "")) in answer.text
        assert "json" not in wanted or answer.json() == wanted["json"]


def test_the_development_server_is_for_its_host_alone(site: Site, converged: Play) -> None:
    """It answers on the host, and not to other machines."""
    with pytest.raises(OSError):
        socket.create_connection((site.instances["dev_server"].address, 5000), timeout=1).close()


def test_host_keys_are_kept_by_instance(site: Site, converged: Play) -> None:
    """The first login stored each host key under the instance's id, and none under an address."""
    ids = [instance["InstanceId"] for instance in site.ec2.instances()]
    for name, expected in [*((one, True) for one in ids), *((one.address, False) for one in site.instances.values())]:
        found = subprocess.run(["ssh-keygen", "-F", name, "-f", site.known_hosts], capture_output=True, check=False)
        assert (found.returncode == 0) is expected, name


def test_deploy_ships_one_app_to_all_its_hosts(site: Site, converged: Play, tmp_path: Path) -> None:
    """It deploys one app by its name, from another source than the group's; the other apps keep their releases."""
    changed = Path(shutil.copytree(ROOT / "playbooks/apps/blueoctopus", tmp_path / "blueoctopus"))
    main = changed / "main.py"
    main.write_text(main.read_text().replace("Hello from python", "Hello from a release"))
    before = site.live()
    site.play("playbooks/deploy.yml", "-e", "flask_app_name=blueoctopus", "-e", f"flask_app_source={changed}")
    after = site.live()
    of_the_app = {topology for topology, (app, _url) in URLS.items() if app == "blueoctopus"}
    assert {topology for topology in TOPOLOGIES if after[topology] != before[topology]} == of_the_app
    for topology in of_the_app:
        assert ask(site, topology, own_port(topology), "/api2").json()["description"] == "Hello from a release"
