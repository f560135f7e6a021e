"""Three hosts of one app: all stage before any switches, commands run once for all, and a failing host leaves them consistent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, TOPOLOGIES, Play, Target, app, eventually, missing, write_source

ADDRESSES = ["198.18.2.221", "198.18.2.222", "198.18.2.223"]
NOBODY = "198.18.2.229"
PROBE = (APPS / "probe/main.py").read_text()
# A host with this file rejects the release, in the pre-flight or not before Gunicorn starts it.
REJECTS = """
import os, sys
if os.path.exists("/etc/reject-" + ("gunicorn" if "gunicorn" in sys.modules else "preflight")):
    raise RuntimeError("this host rejects")
"""
NOTE = "sh -c 'echo {} $(basename $(dirname $PWD)) $(basename $(readlink ../../../current)) >>../../../shared/hooks'"
HOOKS: dict[str, Any] = {"before_activation": [NOTE.format("before")], "after_activation": [NOTE.format("after")]}
SERIAL = ("-e", "deploy_serial=1")
EACH_FOR_ITSELF = ("-e", "deploy_any_errors_fatal=false")


@dataclass
class Hosts:
    """The three hosts in one inventory, and the code that they share."""

    targets: list[Target]
    all: Target  # is no host: plays on the inventory that has all three
    source: Path
    version: int = 0
    earlier: list[str] = field(default_factory=list)  # the releases that were live before the last deploy that all of them have

    @property
    def inventory(self) -> dict[str, Any]:
        """Each host's own variables, by its name."""
        return {one.name: yaml.safe_load(one.inventory.read_text())[TOPOLOGIES[0]]["hosts"][one.name] for one in self.targets}

    def change(self) -> str:
        """Change the code; returns its new version."""
        self.version += 1
        write_source(self.source, {"main.py": PROBE.replace('"one"', f'"{self.version}"') + REJECTS})
        return str(self.version)

    def deploy(self, *arguments: str, unreachable: int | None = None, **settings: Any) -> Play:
        """Deploy the app, whose environment differs between the hosts."""
        hosts = self.inventory
        if unreachable is not None:
            hosts[self.targets[unreachable].name]["ansible_host"] = NOBODY
        self.all.inventory.write_text(yaml.safe_dump({TOPOLOGIES[0]: {"hosts": hosts}}, sort_keys=False))
        shop = app("shop", self.source, environment={"WHERE": "{{ inventory_hostname }}"}, **settings)
        return self.all.play([shop], *arguments, playbook="deploy", variables={"flask_app_name": "shop"})

    def served(self) -> list[str]:
        """The versions that the hosts' visitors get."""
        return [one.get("/").json()["version"] for one in self.targets]

    def live(self) -> list[str]:
        """The names of the live releases."""
        return [one.live("shop") for one in self.targets]

    def notes(self) -> list[list[str]]:
        """What the commands have noted on each host since the last call, as words such as `before`, their release, what was live."""
        found = [one.run("cat /srv/shop/shared/hooks 2>/dev/null || true; rm -f /srv/shop/shared/hooks").splitlines() for one in self.targets]
        return [[word for line in lines for word in line.split()] for lines in found]


@pytest.fixture(scope="module")
def fleet(new_target: Callable[..., Target], tmp_path_factory: pytest.TempPathFactory) -> Hosts:
    """The three hosts with the app."""
    targets = [new_target(address) for address in ADDRESSES]
    hosts = Hosts(targets, replace(targets[0], work=tmp_path_factory.mktemp("all")), tmp_path_factory.mktemp("shop"))
    hosts.change()
    hosts.all.inventory.write_text(yaml.safe_dump({TOPOLOGIES[0]: {"hosts": hosts.inventory}}, sort_keys=False))
    hosts.all.converge([app("shop", hosts.source, environment={"WHERE": "{{ inventory_hostname }}"})])
    return hosts


@pytest.fixture
def hosts(fleet: Hosts) -> Iterator[Hosts]:
    """The three hosts, each with the app; what a test makes them reject is over afterwards."""
    fleet.notes()
    yield fleet
    for one in fleet.targets:
        one.run("rm -f /etc/reject-*; systemctl start ssh")


def commands_run_once(hosts: Hosts, *arguments: str) -> Play:
    """Deploy a release: the first command runs on the first host, the second one on the last, each in that host's release."""
    before, version = hosts.live(), hosts.change()
    hosts.earlier = before
    play = hosts.deploy(*arguments, **HOOKS)
    assert play.returncode == 0 and hosts.served() == [version] * 3, play.output
    first, _second, last = hosts.live()
    assert hosts.notes() == [["before", first, before[0]], [], ["after", last, last]]
    return play


def test_all_hosts_stage_before_any_switches(hosts: Hosts) -> None:
    """Also if their apps differ in a value; the build has the same name on all of them, the configuration each its own."""
    play = commands_run_once(hosts)
    assert len({name.split("-")[0] for name in hosts.live()}) == 1 and len(set(hosts.live())) == 3
    for task in ("Stage the release, and let it prove itself", "Make the release live, and ask for it through the front"):
        assert play.output.count(f"{task}]") == 1, "the hosts did it one after the other"
    assert not missing(play.output, [f"(release {name})" for name in hosts.live()])


def test_a_host_without_the_release_gets_it_beside_those_that_have_it(hosts: Hosts) -> None:
    """The commands before have run once with this release; of the hosts that have it, only the first one says so to others."""
    shop = [app("shop", hosts.source, environment={"WHERE": "{{ inventory_hostname }}"}, **HOOKS)]
    hosts.all.converge(shop)
    live, last = hosts.live(), hosts.targets[2]
    hosts.all.converge(None, "--limit", last.name, playbook="rollback", variables={"flask_app_name": "shop"})
    assert hosts.live() == [*live[:2], hosts.earlier[2]]
    hosts.notes()
    play = hosts.all.converge(shop, "-vvv")
    assert hosts.live() == live and hosts.notes() == [[], [], ["after", live[2], live[2]]]
    assert play.output.count(f"<{hosts.targets[1].address}> SSH: EXEC") == 2, "it has nothing to do"


@thorough
def test_commands_run_once_for_all_batches(hosts: Hosts) -> None:
    """As if all hosts switched at once."""
    commands_run_once(hosts, *SERIAL)


def rolled_back(hosts: Hosts, release: str = "", *arguments: str) -> Play:
    """Roll the app back on all hosts."""
    variables = {"flask_app_name": "shop", **({"flask_app_release": release} if release else {})}
    return hosts.all.play(None, *arguments, playbook="rollback", variables=variables)


def test_one_hosts_release_means_its_build_on_all(hosts: Hosts) -> None:
    """Whose names differ in their second half; one that fails takes the others back to what they had."""
    served, live = hosts.served(), hosts.live()
    hosts.targets[1].run("touch /etc/reject-gunicorn")
    play = rolled_back(hosts, hosts.earlier[2])
    first, second, third = (one.name for one in hosts.targets)
    words = [f"{second} failed: shop:", f"{first} went back to release {live[0]}.", f"{third} went back to release {live[2]}."]
    assert play.returncode == 2 and not missing(play.output, words), play.output
    assert hosts.live() == live and hosts.served() == served and hosts.earlier[2] not in live


@pytest.mark.parametrize("together", [(), EACH_FOR_ITSELF], ids=["all", "each for itself"])
def test_a_failing_command_before_keeps_all_hosts_from_switching(hosts: Hosts, together: tuple[str, ...]) -> None:
    """Whatever was chosen for failing hosts: the app is not ready for the release."""
    live = hosts.live()
    hosts.change()
    play = hosts.deploy(*together, before_activation=["false"])
    assert play.returncode == 2 and "the command 'false' ended with code 1" in play.output
    assert hosts.live() == live
    assert ("which runs it for all" in play.output) == (together == EACH_FOR_ITSELF)


def test_a_host_that_fails_to_stage_keeps_all_from_switching(hosts: Hosts) -> None:
    """Also the hosts of batches before its own, and no command runs."""
    live = hosts.live()
    hosts.change()
    hosts.targets[2].run("touch /etc/reject-preflight")
    play = hosts.deploy(*SERIAL, **HOOKS)
    assert play.returncode == 2 and "importing main raised RuntimeError: this host rejects" in play.output
    assert hosts.live() == live and hosts.notes() == [[], [], []]


def test_a_first_host_that_fails_runs_no_command_and_so_none_switches(hosts: Hosts) -> None:
    """Even if each host is for itself."""
    live = hosts.live()
    hosts.change()
    hosts.targets[0].run("touch /etc/reject-preflight")
    play = hosts.deploy(*EACH_FOR_ITSELF, **HOOKS)
    assert play.returncode == 2 and f"has not run on {hosts.targets[0].name}" in play.output
    assert hosts.live() == live and hosts.notes() == [[], [], []]


def test_hosts_go_back_where_one_fails_to_activate(hosts: Hosts) -> None:
    """All serve what they did; the run shows which hosts failed and why, and which went back. On the others the release is not marked as failed."""
    failed = "ls /srv/shop/releases/*/failed.json 2>/dev/null || true"
    live, marked = hosts.live(), [one.run(failed) for one in hosts.targets]
    hosts.change()
    hosts.targets[1].run("touch /etc/reject-gunicorn")
    play = hosts.deploy(**HOOKS)
    first, second, third = (one.name for one in hosts.targets)
    words = [f"{second} failed: shop:", f"Release {live[1]} keeps serving.", f"{first} went back to release {live[0]}.", f"{third} went back to"]
    assert play.returncode == 2 and not missing(play.output, words), play.output
    assert hosts.live() == live and "after" not in hosts.notes()[2]
    assert [one.run(failed) == before for one, before in zip(hosts.targets, marked, strict=True)] == [True, False, True]


@thorough
def test_hosts_of_earlier_batches_go_back_too(hosts: Hosts) -> None:
    """And those of later ones stay as they are."""
    live = hosts.live()
    hosts.change()
    hosts.targets[1].run("touch /etc/reject-gunicorn")
    play = hosts.deploy(*SERIAL, keep_releases=1)
    first, second, third = (one.name for one in hosts.targets)
    words = [f"{second} failed: shop:", f"{first} went back to release {live[0]}.", f"{third} was not switched."]
    assert play.returncode == 2 and not missing(play.output, words), play.output
    assert hosts.live() == live


@thorough
def test_each_host_for_itself(hosts: Hosts) -> None:
    """If one cannot be reached, the others get the release; a later run for all does not change them, because they had it before that run."""
    before, version = hosts.served(), hosts.change()
    play = hosts.deploy(*EACH_FOR_ITSELF, unreachable=1, **HOOKS)
    served = [version, before[1], version]
    assert play.returncode and hosts.served() == served and "went back to release" not in play.output
    assert [one[:1] for one in hosts.notes()] == [["before"], [], ["after"]]
    hosts.targets[1].run("touch /etc/reject-gunicorn")
    play = hosts.deploy()
    assert play.returncode == 2 and hosts.served() == served and "went back to release" not in play.output
    hosts.targets[1].run("rm /etc/reject-gunicorn")
    assert hosts.deploy(**HOOKS).returncode == 0 and hosts.served() == [version] * 3
    assert hosts.notes() == [[], [], []], "the commands have run for this release"


def test_site_takes_each_host_for_itself(hosts: Hosts) -> None:
    """A host that fails stops no other, in what is not a deploy of one app."""
    before, version = hosts.served(), hosts.change()
    hosts.targets[0].run("touch /etc/reject-preflight")
    hosts.targets[1].run("touch /etc/reject-gunicorn")
    play = hosts.all.play([app("shop", hosts.source, environment={"WHERE": "{{ inventory_hostname }}"})], playbook="site")
    assert play.returncode == 2 and hosts.served() == [*before[:2], version]
    shown = [line.split()[1:] for line in play.shown_by("Show the live release and the URL of each app").splitlines() if line.startswith("    - ")]
    first, second, third = (one.name for one in hosts.targets)
    gone = "failed or was not reached, see above".split()
    assert shown[1:] == [[first, *gone], [second, *gone], [third, "shop", f"http://{ADDRESSES[2]}/", hosts.live()[2]]]


def test_hosts_go_back_to_the_same_build_or_none_does(hosts: Hosts) -> None:
    """After hosts that got different releases: nothing is changed, and the run says what is possible."""
    live = hosts.live()
    play = rolled_back(hosts)
    words = [
        "The hosts would go back to different builds:",
        *(one.name for one in hosts.targets),
        "Builds that were live on all of them",
        "Nothing was changed.",
    ]
    assert play.returncode == 2 and not missing(play.output, words), play.output
    assert hosts.live() == live and play.recap["changed"] == 0


def test_a_host_that_cannot_be_reached_counts_as_one_that_fails(hosts: Hosts) -> None:
    """From the start: none switches, and no command runs."""
    live = hosts.live()
    hosts.change()
    play = hosts.deploy(unreachable=1, **HOOKS)
    assert play.returncode and f"{hosts.targets[1].name} failed earlier" in play.output
    assert hosts.live() == live and hosts.notes() == [[], [], []]


@thorough
def test_hosts_go_back_where_one_is_lost_before_it_activates(hosts: Hosts) -> None:
    """A command on the first host waits until the second is unreachable."""
    live = hosts.live()
    hosts.change()
    hosts.targets[0].run("rm -f /srv/shop/shared/lost; echo waiting >/srv/shop/shared/hooks")
    plays: list[Play] = []
    wait = "sh -c 'rm ../../../shared/hooks; until test -e ../../../shared/lost; do sleep 0.1; done'"
    run = threading.Thread(target=lambda: plays.append(hosts.deploy(before_activation=[wait])))
    hosts.targets[0].run("chown shop /srv/shop/shared/hooks")
    run.start()
    assert eventually(lambda: not hosts.targets[0].succeeds("test -e /srv/shop/shared/hooks"), 60)
    hosts.targets[1].run("systemctl stop ssh.socket ssh; loginctl terminate-user ubuntu", check=False)
    hosts.targets[0].run("touch /srv/shop/shared/lost")
    run.join()
    first, second, third = (one.name for one in hosts.targets)
    words = [f"{second} failed: ", f"{first} went back to release {live[0]}.", f"{third} went back to release {live[2]}."]
    assert plays[0].returncode == 2 and not missing(plays[0].output, words), plays[0].output
    assert hosts.live() == live


LOOP = "sh -c 'trap exit TERM; while :; do sleep 0.2; done'"
PROCESSES: dict[str, Any] = {
    "workers": {"each": {"command": LOOP, "settle": 1}, "one": {"command": LOOP, "settle": 1, "hosts": "first"}},
    "jobs": {"tidy": {"command": "true", "schedule": "yearly"}},
}


def processes(hosts: Hosts) -> list[list[str]]:
    """What each host runs of the app beside its web server."""
    listed = "systemctl list-units --plain --no-legend --state=active 'shop.*' | awk -F '[.@ ]' '{print $2}'"
    return [one.run(listed).split() for one in hosts.targets]


def test_the_first_host_of_the_inventory_runs_what_one_is_to_run(hosts: Hosts) -> None:
    """All old workers are asked to end before any host switches. If the first host goes from the inventory, the next one takes over."""
    hosts.change()
    assert hosts.deploy(**PROCESSES).returncode == 0
    assert processes(hosts) == [["each-1", "one-1", "tidy"], ["each-1"], ["each-1"]]
    hosts.change()
    play = hosts.deploy("--limit", ",".join(one.name for one in hosts.targets[1:]), **PROCESSES)
    assert play.returncode == 0, play.output
    assert processes(hosts) == [["each-1", "one-1", "tidy"], ["each-1"], ["each-1"]], "the first host is still there"
    ask, switched = "Ask the old workers to end, before any host switches", "Make the release live, and ask for it through the front"
    assert play.shown_by(ask).count("changed: ") == 2
    assert play.output.index(f"{ask}]") < play.output.index(f"{switched}]")
    rest = Hosts(hosts.targets[1:], hosts.all, hosts.source, hosts.version)
    rest.change()
    assert rest.deploy(**PROCESSES).returncode == 0
    assert processes(rest) == [["each-1", "one-1", "tidy"], ["each-1"]]
