"""The collection from its tarball, with the oldest and the newest ansible-core: every playbook runs by its name, and the unit tests pass."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.tests.aws.conftest import moto
from ansible_collections.flaskops.hosting.tests.controllers.controller import COLLECTION, Controller
from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, TOPOLOGIES, NewTarget, missing

KINDS = pytest.mark.parametrize("kind", ["oldest", pytest.param("newest", marks=thorough)], scope="module")
CORE = {"oldest": "2.17.", "newest": "2.21."}
CONTROLLER = {"oldest": "198.18.3.10", "newest": "198.18.3.20"}
# With the newest, test_real_apps.py has the other topologies with a front, and test_getting_started.py a database; Molecule's scenarios have the
# facts of all.
HOST = {"oldest": "198.18.3.11", "newest": "198.18.3.21"}
TOPOLOGY = TOPOLOGIES[0]
GATEWAY = "198.18.0.1"  # this machine's address for the containers
# What a host does at its first boot: apt's timers begin, and for some time a package is being installed.
FIRST_BOOT = """
systemctl unmask --quiet apt-daily.timer apt-daily-upgrade.timer
systemctl enable --quiet --now apt-daily.timer apt-daily-upgrade.timer
systemctl start --no-block apt-daily.service
hold='import fcntl, time; lock = open("/var/lib/dpkg/lock-frontend", "w"); fcntl.lockf(lock, fcntl.LOCK_EX); time.sleep(40)'
systemd-run --quiet --unit=first-boot python3 -c "$hold"
sleep 2
"""
DAY_TWO = ["deploy", "rollback", "status", "logs", "restart", "run", "maintenance", "remove"]
APP = "-e flask_app_name=blueoctopus --limit nginx_gunicorn"


@pytest.fixture(scope="module")
def controller(new_target: NewTarget, kind: str) -> Controller:
    """A machine with one of the two versions."""
    return Controller(new_target(CONTROLLER[kind], f"controller-{kind}"))


@pytest.fixture(scope="module")
def host(new_target: NewTarget, kind: str) -> str:
    """The address of a fresh target."""
    return new_target(HOST[kind], "ubuntu-like").address


@pytest.fixture(scope="module")
def installed(controller: Controller, host: str, tarball: Path) -> Controller:
    """The controller with the collection, and an inventory like the local fleet's."""
    controller.prepare(f"ubuntu@{host}")
    controller.install(tarball)
    controller.write("hosts/apps.yml", yaml.safe_dump(inventory_of_apps(str(COLLECTION / "playbooks/apps"))).encode())
    controller.write("hosts/hosts.yml", yaml.safe_dump({TOPOLOGY: {"hosts": {"web1": {"ansible_host": host}}}}).encode())
    return controller


def inventory_of_apps(directory: str) -> dict[str, Any]:
    """The fleet's apps, out of the installed collection."""
    inventory: dict[str, Any] = yaml.safe_load((ROOT / "inventories/docker/apps.yml").read_text())
    inventory["fleet"]["vars"] = {"ansible_user": "ubuntu", "apps_directory": directory}
    return inventory


def with_ansible() -> list[str]:
    """The unit tests that import Ansible or what runs in it, or run its programs, and those of all that is put on hosts and of all settings."""
    tests = {path.relative_to(ROOT): path.read_text() for path in ROOT.glob("tests/unit/test_*.py")}
    its_own = re.compile(r'^(?:from|import) ansible[. ]|"ansible(?:-\w+)?",|\bplugins\.(?:action|filter|lookup)\b', re.MULTILINE)
    return sorted(str(path) for path, text in tests.items() if its_own.search(text) or path.stem in ("test_golden", "test_settings"))


@KINDS
def test_it_is_the_ansible_that_is_meant(controller: Controller, kind: str) -> None:
    """The oldest supported version, and the newest that exists."""
    assert f"[core {CORE[kind]}" in controller.succeed("ansible --version").output


@KINDS
def test_it_installs_with_its_dependencies(installed: Controller, kind: str) -> None:
    """It installs into an empty path; its dependencies are declared, and installed."""
    assert "flaskops.hosting" in installed.succeed("ansible-galaxy collection list").output
    for page in ("flaskops.hosting.release", "-t role flaskops.hosting.nginx_gunicorn"):
        assert "release" in installed.succeed(f"ansible-doc {page}").output
    needed = json.loads(installed.succeed(f"cat {COLLECTION}/MANIFEST.json").output)["collection_info"]["dependencies"]
    assert set(needed) == {"amazon.aws", "community.general"}


@KINDS
def test_site_by_its_name_gives_the_facts(installed: Controller, host: str, tmp_path: Path, kind: str) -> None:
    """The host is what docs/facts.yml says, as if it was converged from a checkout, also if apt is busy at first."""
    installed.succeed(f"ssh ubuntu@{host} sudo sh <<'END'\n{FIRST_BOOT}END")
    play = installed.succeed("ansible-playbook flaskops.hosting.site -i hosts")
    assert installed.type(f"ssh ubuntu@{host} systemctl is-active first-boot").output.strip() == "inactive", "it was waited for"
    assert not missing(play.shown_by("Show the live release and the URL of each app"), ["live release", "web1", f"http://{host}/"])
    inventory: dict[str, Any] = yaml.safe_load((ROOT / "inventories/docker/apps.yml").read_text())
    inventory[TOPOLOGY]["hosts"] = {"web1": {"ansible_host": host}}
    inventory["fleet"]["vars"]["ansible_ssh_private_key_file"] = str(ROOT / ".cache/ssh/id_ed25519")
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump(inventory))
    words = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "--hosts=ansible://all", f"--ansible-inventory={path}", "--sudo"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run([*words, "tests/infra"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@KINDS
def test_each_topology_by_its_name_changes_nothing_then(installed: Controller, kind: str) -> None:
    """A topology's playbook does the same as site for its group, and nothing without one."""
    play = installed.succeed(f"ansible-playbook -i hosts {' '.join(f'flaskops.hosting.{topology}' for topology in TOPOLOGIES)}")
    assert set(re.findall(r"changed=(\d+)", play.output)) == {"0"}, play.output


@pytest.mark.parametrize("kind", ["oldest"], scope="module")
def test_day_two_by_name(installed: Controller, host: str, kind: str) -> None:
    """Deploy, go back, look, run, close, remove; with the newest, test_readme_examples.py does so."""
    installed.succeed(f"cp -r {COLLECTION}/playbooks/apps/blueoctopus . && echo '# changed' >>blueoctopus/main.py")
    source = "-e flask_app_source=blueoctopus"
    done = {}
    for verb, more in zip(DAY_TWO, [source, "", "", "", "", "-e command=pwd", "-e maintenance=on", ""], strict=True):
        done[verb] = installed.succeed(f"ansible-playbook flaskops.hosting.{verb} -i hosts {APP} {more}").output
    assert not missing(done["deploy"], ["blueoctopus answers at"]) and not missing(done["rollback"], ["before"])
    assert not missing(done["status"], ["health 200 OK", f"http://{host}/"])
    assert not missing(done["logs"] + done["run"], ["Listening at", "sudo journalctl", "/srv/blueoctopus/releases/"])
    assert not missing(done["maintenance"], ["closed"])
    assert "blueoctopus" not in installed.succeed("ansible nginx_gunicorn -i hosts -b -a 'ls /srv'").output


@pytest.mark.parametrize("kind", ["oldest"], scope="module")
def test_provisioning_by_name(installed: Controller, tmp_path: Path, kind: str) -> None:
    """On moto's EC2 API, with this Ansible's own amazon.aws: it makes an instance, and removes it."""
    with moto(tmp_path, GATEWAY) as url:
        account = f"AWS_ENDPOINT_URL={url} AWS_REGION=eu-central-1 AWS_ACCESS_KEY_ID=moto AWS_SECRET_ACCESS_KEY=moto NO_PROXY={GATEWAY}"
        provision = f"{account} ansible-playbook flaskops.hosting.provision_ec2 -i hosts"
        made = installed.succeed(f"{provision} -e provision_ssh_cidrs=203.0.113.7/32")
        removed = installed.succeed(f"{provision} -e provision_state=absent")
    assert "flaskops-nginx_gunicorn-i-" in made.output and made.recap["changed"] == 3
    assert "there are no instances of flaskops in eu-central-1" in removed.output


@KINDS
def test_no_playbook_is_left_out(installed: Controller, kind: str) -> None:
    """The tests above, and those of the README's examples, run every playbook in the tarball."""
    there = installed.succeed(f"ls {COLLECTION}/playbooks").output.split()
    assert {Path(name).stem for name in there if name.endswith(".yml")} == {
        "site",
        "hosting",
        "check_inventory",
        "show_live",
        *TOPOLOGIES,
        *DAY_TWO,
        "provision_ec2",
    }


@pytest.mark.parametrize("kind", ["oldest"], scope="module")
@thorough
def test_unit_tests_pass(installed: Controller, kind: str) -> None:
    """In a checkout, with this Ansible and its Python: those in which Ansible itself has a part."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [path for path in map(ROOT.joinpath, listed.stdout.splitlines()) if path.is_file()]
    installed.succeed("mkdir -p checkout/.venv/collections/ansible_collections/flaskops")
    installed.unpack(Path("checkout"), {str(path.relative_to(ROOT)): (path.read_bytes(), path.stat().st_mode & 0o777) for path in files})
    installed.succeed("ln -s ../../../.. checkout/.venv/collections/ansible_collections/flaskops/hosting")
    play = installed.succeed(f"cd checkout && pytest --quiet {' '.join(with_ansible())}")
    assert " passed" in play.output and "skipped" not in play.output and "failed" not in play.output
