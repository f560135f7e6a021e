"""inventories/aws against an EC2 API: its instances, their groups and their connections."""

from __future__ import annotations

import json

import yaml

from ansible_collections.flaskops.hosting.tests.aws.conftest import INVENTORY, Ec2
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, TOPOLOGIES


def test_groups_are_topologies(ec2: Ec2) -> None:
    """It has the project's running instances, no matter how they were made, each in the group of its topology, and no other instance."""
    ours = {"flaskops_project": "flaskops"}
    named = [ec2.launch(Name="web", **ours, flaskops_topology=topology) for topology in TOPOLOGIES]
    second = ec2.launch(Name="web", **ours, flaskops_topology="nginx_gunicorn")
    nameless = ec2.launch(**ours, flaskops_topology="nginx_uwsgi")
    stopped = ec2.launch(Name="stopped", **ours, flaskops_topology="nginx_gunicorn")
    ec2.client.stop_instances(InstanceIds=[stopped])
    ec2.launch(Name="other", flaskops_project="other", flaskops_topology="nginx_gunicorn")
    ec2.launch(Name="nobody's")

    inventory = ec2.inventory()
    groups = {name: set(group["hosts"]) for name, group in inventory.items() if "hosts" in group}
    expected = {topology: {f"web-{instance}"} for topology, instance in zip(TOPOLOGIES, named, strict=True)}
    expected["nginx_gunicorn"].add(f"web-{second}")
    expected["nginx_uwsgi"].add(nameless)
    assert groups == {**expected, "aws_ec2": set().union(*expected.values())}

    for topology, hosts in expected.items():
        of_group = yaml.safe_load((INVENTORY / f"group_vars/{topology}.yml").read_text())
        for host in hosts:
            variables = inventory["_meta"]["hostvars"][host]
            assert variables["ansible_host"] == variables["aws_public_ip_address"]
            assert variables["ansible_user"] == "ubuntu"
            assert variables["flask_apps"] == of_group["flask_apps"]


def test_from_provision_to_removal(ec2: Ec2) -> None:
    """It has the playbook's instances with their names and groups. When they are removed, the inventory is empty, without an error."""
    ec2.provisioned("-e", json.dumps({"provision_topologies": {"nginx_gunicorn": {"count": 2}, "dev_server": {}}}))
    made: dict[str, list[str]] = {"nginx_gunicorn": [], "dev_server": []}
    for instance in ec2.instances():
        [group] = instance["SecurityGroups"]
        made[group["GroupName"].removeprefix("flaskops-")].append(f"{group['GroupName']}-{instance['InstanceId']}")
    graph = ec2.graph()
    for topology, hosts in made.items():
        at = graph.index(f"  |--@{topology}:") + 1
        assert sorted(graph[at : at + len(hosts)]) == [f"  |  |--{host}" for host in sorted(hosts)], graph
    assert [len(hosts) for hosts in made.values()] == [2, 1]

    ec2.provisioned("-e", "provision_state=absent")
    assert ec2.graph() == ["  |--@ungrouped:", "  |--@aws_ec2:"]


def test_how_hosts_are_reached(ec2: Ec2) -> None:
    """The address is the public one if there is one, else the private one; the host key is stored per instance."""
    [vpc] = ec2.client.describe_vpcs()["Vpcs"]
    private = ec2.client.create_subnet(VpcId=vpc["VpcId"], CidrBlock="172.31.200.0/24")["Subnet"]["SubnetId"]
    tags = [{"Key": key, "Value": value} for key, value in {"flaskops_project": "flaskops", "flaskops_topology": "nginx_gunicorn"}.items()]
    specifications = [{"ResourceType": "instance", "Tags": tags}]
    reserved = ec2.client.run_instances(ImageId="ami-00000000000000001", MinCount=1, MaxCount=1, SubnetId=private, TagSpecifications=specifications)
    made = reserved["Instances"][0]

    message = json.dumps({"msg": "{{ ansible_host }} {{ ansible_ssh_common_args }}"})
    shown = ec2.run("ansible", made["InstanceId"], "-i", INVENTORY, "-m", "debug", "-a", message)
    options = f"-o StrictHostKeyChecking=accept-new -o HostKeyAlias={made['InstanceId']} -o ForwardAgent=no"
    assert f"{made['PrivateIpAddress']} {options}" in " ".join(shown.output.split())  # long lines are folded


def test_no_secret_is_in_it() -> None:
    """Anything that looks like an AWS key or an app's secret is a lookup or a comment."""
    for path in (path for path in INVENTORY.rglob("*") if path.is_file()):
        for line in path.read_text().splitlines():
            code = line.partition("#")[0].lower()
            assert not any(word in code for word in ("akia", "secret", "password:", "token")), f"{path.relative_to(ROOT)}: {line}"
