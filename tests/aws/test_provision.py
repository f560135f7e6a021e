"""playbooks/provision_ec2.yml against an EC2 API: what it makes, shows in a dry run, rejects and removes."""

from __future__ import annotations

import json
from typing import Any

import yaml

from ansible_collections.flaskops.hosting.tests.aws.conftest import INVENTORY, OFFICE, Ec2, new_key
from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, missing

KEY_PAIR, GROUPS, INSTANCES = "Make the key pair", "Make a security group for each topology", "Make the instances, and wait until SSH answers"
REMOVED = ["Remove the instances, and wait until they are gone", "Remove the security groups", "Remove the key pairs"]


def topologies(**given: object) -> tuple[str, str]:
    """The arguments that give the playbook these topologies."""
    return "-e", json.dumps({"provision_topologies": given})


def rules(group: dict[str, Any]) -> set[tuple[int, int, str]]:
    """The rules of a security group: first port, last port, source network."""
    found = set()
    for rule in group["IpPermissions"]:
        assert rule["IpProtocol"] == "tcp" and not rule.get("UserIdGroupPairs") and not rule.get("PrefixListIds")
        sources = [source["CidrIp"] for source in rule["IpRanges"]] + [source["CidrIpv6"] for source in rule["Ipv6Ranges"]]
        found |= {(rule["FromPort"], rule["ToPort"], source) for source in sources}
    return found


def test_one_host_as_the_inventory_has_it(ec2: Ec2) -> None:
    """A dry run shows what the real run then makes; a second run makes nothing."""
    dry = ec2.provisioned("--check")
    assert ec2.made() == []

    made = ec2.provisioned()
    assert dry.changed == made.changed == [KEY_PAIR, GROUPS, INSTANCES]
    [instance] = ec2.instances()
    assert instance["ImageId"] == "ami-00000000000000002", "Canonical's newest for x86"
    assert (instance["InstanceType"], instance["MetadataOptions"]["HttpTokens"]) == ("t3.micro", "required")
    assert {tag["Key"]: tag["Value"] for tag in instance["Tags"]} == {
        "Name": "flaskops-nginx_gunicorn",
        "flaskops_project": "flaskops",
        "flaskops_topology": "nginx_gunicorn",
        "flaskops_made_by": "provision_ec2",
    }
    [volume] = ec2.client.describe_volumes()["Volumes"]
    assert (volume["Encrypted"], volume["VolumeType"], volume["Size"]) == (True, "gp3", 16)
    assert [(disk["DeviceName"], disk["Ebs"]["DeleteOnTermination"]) for disk in instance["BlockDeviceMappings"]] == [("/dev/sda1", True)]
    [key] = ec2.keys()
    assert key["KeyName"] == instance["KeyName"]
    groups = ec2.groups()
    assert [group["GroupName"] for group in instance["SecurityGroups"]] == list(groups) == ["flaskops-nginx_gunicorn"]
    everyone = {(port, port, source) for port in (80, 443) for source in ("0.0.0.0/0", "::/0")}
    assert rules(groups["flaskops-nginx_gunicorn"]) == {(22, 22, OFFICE), *everyone}
    shown = f"flaskops-nginx_gunicorn-{instance['InstanceId']}: {instance['PublicIpAddress']}, t3.micro, running"
    assert missing(made.shown_by("Show the instances and the next step"), [shown, "ansible-playbook flaskops.hosting.site -i inventories/aws"]) == []

    assert ec2.provisioned().recap["changed"] == 0


@thorough
def test_several_topologies_and_changes(ec2: Ec2) -> None:
    """Each topology has its instances and ports; a changed entry changes only what it names. Another key never overwrites one."""
    ec2.provisioned(
        *topologies(nginx_gunicorn={"count": 2, "ports": [80, 81], "volume_size": 20}, dev_server={"instance_type": "t3.nano", "ports": []}),
    )
    before = {instance["InstanceId"]: instance for instance in ec2.instances()}
    assert sorted(instance["InstanceType"] for instance in before.values()) == ["t3.micro", "t3.micro", "t3.nano"]
    assert sorted(volume["Size"] for volume in ec2.client.describe_volumes()["Volumes"]) == [16, 20, 20]
    assert rules(ec2.groups()["flaskops-dev_server"]) == {(22, 22, OFFICE)}
    everyone = {(port, port, source) for port in (80, 81) for source in ("0.0.0.0/0", "::/0")}
    assert rules(ec2.groups()["flaskops-nginx_gunicorn"]) == {(22, 22, OFFICE), *everyone}

    [key] = ec2.keys()
    new_key(ec2.public_key.with_suffix(""))
    larger = {"count": 3, "ports": [443], "instance_type": "t3.small"}
    changed = [*topologies(nginx_gunicorn=larger), "-e", '{"provision_ssh_cidrs": ["198.51.100.0/24", "2001:db8::/48"]}']
    dry = ec2.provisioned(*changed, "--check")
    assert dry.changed == ec2.provisioned(*changed).changed == [KEY_PAIR, GROUPS, INSTANCES]
    keys = ec2.keys()
    assert key in keys and len(keys) == 2
    with_key = [instance["InstanceId"] for instance in ec2.instances() if instance["KeyName"] == key["KeyName"]]
    assert sorted(with_key) == sorted(before), "instances keep theirs"
    after = {instance["InstanceId"]: instance["InstanceType"] for instance in ec2.instances()}
    assert before.keys() < after.keys() and sorted(after.values()) == ["t3.nano", "t3.small", "t3.small", "t3.small"]
    ssh = {(22, 22, "198.51.100.0/24"), (22, 22, "2001:db8::/48")}
    assert rules(ec2.groups()["flaskops-nginx_gunicorn"]) == {*ssh, (443, 443, "0.0.0.0/0"), (443, 443, "::/0")}


def test_absent_removes_what_was_made_and_nothing_else(ec2: Ec2) -> None:
    """It keeps what other projects have, and what somebody tagged with the project by hand."""
    by_hand = ec2.launch(Name="hand", flaskops_project="flaskops", flaskops_topology="nginx_gunicorn")
    ec2.client.create_key_pair(KeyName="flaskops")
    ec2.client.create_security_group(GroupName="flaskops", Description="somebody's")
    ec2.provisioned("-e", "provision_project=other")
    others = ec2.made()
    ec2.provisioned()
    everything = ec2.made()

    dry = ec2.provisioned("-e", "provision_state=absent", "--check")
    assert ec2.made() == everything
    removed = ec2.provision("-e", "provision_state=absent", ssh_cidrs="")  # needs no more than the project
    assert removed.returncode == 0, removed.output
    assert dry.changed == removed.changed == REMOVED
    assert by_hand in others and sorted(ec2.made()) == sorted(others)


def test_bad_input_is_rejected_before_anything_is_made(ec2: Ec2) -> None:
    """Each message has the variable, what was given, and what would be right."""
    bad = ["-e", "provision_state=gone", "-e", "provision_project=My_Shop", "-e", "provision_keyname=x", "-e", "provision_topologies=nginx"]
    rejected = {
        tuple(bad): [
            "provision_keyname: unknown variable. The variables of this playbook are: provision_image_name, ",
            "provision_state: got gone, needs present or absent",
            "provision_project: got My_Shop, needs at most 40 small letters",
            "provision_topologies: got nginx, needs topologies with their settings. For example: {nginx_gunicorn: {count: 1}}",
        ],
        topologies(nginx={}, nginx_uwsgi=None, dev_server={"size": 1}): [
            "provision_topologies: got nginx, needs some of: nginx_gunicorn, nginx_uwsgi, ",
            "provision_topologies: nginx_uwsgi needs settings. For example: {nginx_uwsgi: {count: 1}}",
            "provision_topologies: got size, needs some of: count, instance_type, volume_size, ports",
        ],
        topologies(nginx_uwsgi={"ports": [80, 22]}, dev_server={"count": 0}): [
            'provision_topologies: got nginx_uwsgi: {"ports": [80, 22]}, needs',
            "and ports from 1 to 65535 without SSH, 22",
            'provision_topologies: got dev_server: {"count": 0}, needs a count of 1 or more',
        ],
        ("-e", "provision_public_key_file=/nowhere/id.pub", "-e", '{"provision_ssh_cidrs": ["203.0.113.7", "0.0.0.0/0", "::/0", "192.0.2.0/24"]}'): [
            "provision_ssh_cidrs: got 203.0.113.7, 0.0.0.0/0, ::/0, needs the networks from which SSH is allowed, and not everywhere",
            "provision_public_key_file: got /nowhere/id.pub, needs a file with an ed25519 or RSA public key. To make one: ssh-keygen -t ed25519",
        ],
    }
    for arguments, messages in rejected.items():
        play = ec2.provision(*arguments)
        assert play.returncode != 0, arguments
        assert missing(" ".join(play.output.split()), messages) == [], play.output  # long lines are folded
    assert "provision_ssh_cidrs: got nothing" in ec2.provision(ssh_cidrs="").output
    assert ec2.made() == []


def test_it_does_not_take_over_what_it_did_not_make(ec2: Ec2) -> None:
    """It rejects a security group of the same name that it did not make, an unknown image, and a region without a network for instances."""
    ec2.client.create_security_group(GroupName="flaskops-nginx_gunicorn", Description="somebody's")
    [vpc] = ec2.client.describe_vpcs()["Vpcs"]
    rejected = ec2.provision("-e", "provision_image_name=ubuntu-plucky-*")
    words = ["this playbook did not make the security groups flaskops-nginx_gunicorn. Needs another name"]
    words.append("provision_image_name: got ubuntu-plucky-*, but Canonical has no image of that name")
    assert rejected.returncode != 0 and missing(" ".join(rejected.output.split()), words) == []

    ec2.client.delete_security_group(GroupName="flaskops-nginx_gunicorn")
    for subnet in ec2.client.describe_subnets()["Subnets"]:
        ec2.client.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.client.delete_vpc(VpcId=vpc["VpcId"])
    rejected = ec2.provision()
    assert rejected.returncode != 0
    assert "AWS_REGION: eu-central-1 has no default VPC for the instances. To make one: aws ec2 create-default-vpc" in rejected.output
    assert ec2.made() == []


def test_the_region_is_needed(ec2: Ec2) -> None:
    """Without a region every playbook fails: those that read the inventory, and this one without that inventory."""
    inventory = ec2.run("ansible-inventory", "-i", INVENTORY, "--graph", AWS_REGION="")
    assert inventory.returncode != 0 and "AWS_REGION: not set, needs a region. For example: eu-central-1" in " ".join(inventory.output.split())
    alone = ec2.run("ansible-playbook", "playbooks/provision_ec2.yml", "-e", f"provision_ssh_cidrs={OFFICE}", AWS_REGION="")
    assert alone.returncode != 0 and "AWS_REGION: not set, needs a region. For example: export" in alone.output


def test_the_defaults_are_what_the_inventory_says() -> None:
    """The playbook without an inventory makes the same, and the inventory looks for the project that is made."""
    given = yaml.safe_load((INVENTORY / "group_vars/all.yml").read_text())
    [play] = yaml.safe_load((ROOT / "playbooks/provision_ec2.yml").read_text())
    assert given["provision_topologies"] == {"nginx_gunicorn": play["vars"]["__provision_defaults"]}
    for name in ("project", "public_key_file", "image_name"):
        assert f"'{given[f'provision_{name}']}'" in play["vars"][f"__provision_{name}"]
    found = yaml.safe_load((INVENTORY / "aws_ec2.yml").read_text())["filters"]
    assert found["tag:flaskops_project"] == given["provision_project"]
