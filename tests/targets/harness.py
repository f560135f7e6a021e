"""A fresh target, what can be done with it, and what a play on it says."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.flaskops.hosting.plugins.plugin_utils import topologies
from ansible_collections.flaskops.hosting.tests.fleet import load

ROOT = Path(__file__).resolve().parents[2]
APPS = Path(__file__).resolve().parent / "apps"
TOPOLOGIES = list(topologies.TOPOLOGIES)
FLEET = load()
SERVER_VARIABLES = ("flask_app_", "nginx_", "uwsgi_app_", "apache_", "dev_server_")
SSH_OPTIONS = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
PLAY_SECONDS = 600
# Runs shell commands on a target, one after the other. `docker exec` for each of them would take a twelfth of the suite's processor time.
RUNNER = """
import json, os, subprocess, sys

def text(file):
    os.lseek(file, 0, os.SEEK_SET)
    return open(file, encoding="utf-8", errors="replace").read()

for line in sys.stdin:
    command, given = json.loads(line)
    files = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    os.write(files[0], given.encode())
    os.lseek(files[0], 0, os.SEEK_SET)
    code = subprocess.run(["sh", "-c", command], stdin=files[0], stdout=files[1], stderr=files[2], start_new_session=True).returncode
    print(json.dumps([code, text(files[1]), text(files[2])]), flush=True)
    os.close(files[0])
"""


class Unsafe(str):
    """A string that Ansible takes as it is: `!unsafe` in a variables file."""


class VarsDumper(yaml.SafeDumper):
    """Writes a variables file."""


VarsDumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Play:
    """One run of ansible-playbook: its exit code and all that it printed."""

    returncode: int
    output: str

    @property
    def recap(self) -> dict[str, int]:
        """The last line's counts, such as `changed` and `failed`."""
        counts = re.findall(r"^\S+ +: +(ok=.*)$", self.output, re.MULTILINE)
        return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", counts[-1])} if counts else {}

    @property
    def changed(self) -> list[str]:
        """The names of the tasks that changed something, in their order and without their role's name."""
        return [task for task, lines in self._tasks() if re.search(r"^changed: \[", lines, re.MULTILINE)]

    @property
    def diffs(self) -> set[str]:
        """The headers of all diffs, such as a file's path."""
        return set(re.findall(r"^\+\+\+ after(?:: (.*?))?\r?$", self.output, re.MULTILINE)) - {""}

    @property
    def round_trips(self) -> int:
        """How many commands were sent over SSH, which a run with `-vvv` shows."""
        return self.output.count("SSH: EXEC")

    def shown_by(self, task: str) -> str:
        """What the run printed for the tasks of this name."""
        return "".join(lines for name, lines in self._tasks() if name == task)

    def _tasks(self) -> list[tuple[str, str]]:
        pieces = re.split(r"^(?:TASK|RUNNING HANDLER) \[(.*)\] \**$", self.output.partition("\nPLAY RECAP")[0], flags=re.MULTILINE)
        return [(name.rpartition(" : ")[2], lines) for name, lines in zip(pieces[1::2], pieces[2::2], strict=True)]


@dataclass
class Target:
    """A running container that is one host in every topology's group, so that which playbook runs says what it becomes."""

    name: str
    address: str
    variant: str
    work: Path
    topology: str = TOPOLOGIES[0]
    control: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="cp-")))
    runners: list[subprocess.Popen[str]] = field(default_factory=list)  # those that have nothing to do

    @property
    def inventory(self) -> Path:
        """The inventory that has this host only."""
        return self.work / "inventory.yml"

    def up(self) -> None:
        """Start the container and wait until Ansible can log in."""
        host = {
            "ansible_host": self.address,
            "ansible_user": "ubuntu",
            "ansible_ssh_private_key_file": str(ROOT / ".cache/ssh/id_ed25519"),
            "ansible_ssh_common_args": SSH_OPTIONS,
        }
        self.inventory.write_text(yaml.safe_dump({group: {"hosts": {self.name: host}} for group in TOPOLOGIES}))
        FLEET.up([self._host])

    def down(self) -> None:
        """Remove the container."""
        for runner in self.runners:
            runner.kill()
            runner.communicate()
        FLEET.down([self._host.container] if self._host.container in FLEET.mine() else [])
        shutil.rmtree(self.control)

    def reboot(self) -> None:
        """Restart the container and wait until it has booted."""
        FLEET.restart([self._host])

    @property
    def _host(self) -> Any:
        return FLEET.Host(self.name, self.address, os.environ.get("TARGET_VARIANT") or self.variant)

    def run(self, command: str, check: bool = True, stdin: str = "") -> str:
        """Run a shell command as root; returns what it printed."""
        runner = self._runner()
        assert runner.stdin and runner.stdout
        try:
            print(json.dumps([command, stdin]), file=runner.stdin, flush=True)
            code, output, errors = json.loads(runner.stdout.readline())
        except (OSError, ValueError):
            code, output, errors = runner.wait(), "", "the host is away"
        else:
            self.runners.append(runner)
        assert not check or code == 0, f"{command}: exit code {code}\n{output}{errors}"
        return str(output).strip()

    def _runner(self) -> subprocess.Popen[str]:
        while self.runners:
            runner = self.runners.pop()
            if runner.poll() is None:
                return runner
        words = [str(ROOT / "dev/docker"), "exec", "--interactive", f"flaskops-{self.name}", "python3", "-X", "utf8", "-c", RUNNER]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def turn_on_ipv6(self) -> None:
        """Give the host IPv6's loopback address: containers have IPv6 switched off."""
        self.run("mount -o remount,rw /proc/sys && echo 0 >/proc/sys/net/ipv6/conf/lo/disable_ipv6")

    def succeeds(self, command: str) -> bool:
        """Return whether a shell command ends well as root."""
        return self.run(f"({command}) >/dev/null 2>&1 && echo yes || echo no") == "yes"

    def play(
        self,
        apps: list[dict[str, Any]] | None,
        *arguments: str,
        playbook: Path | str = "",
        variables: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
    ) -> Play:
        """Run a playbook for these apps: a topology's by its name, any other by its path, else that of the target's own topology.

        `variables` are the host's, `environment` is added to ansible-playbook's own.
        """
        with self.start(apps, *arguments, playbook=playbook, variables=variables, environment=environment) as process:
            try:
                output, _none = process.communicate(timeout=PLAY_SECONDS)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)  # the session that was started with it
                raise
        return Play(process.returncode, output)

    def start(
        self,
        apps: list[dict[str, Any]] | None,
        *arguments: str,
        playbook: Path | str = "",
        variables: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Begin what `play` does, in a session of its own; what it prints is to be read from its output."""
        topology = {}
        if isinstance(playbook, str):
            name = playbook or self.topology
            # the host is in every group, so its apps must say which of them they belong to
            topology = {"flask_app_topology": name} if name in TOPOLOGIES else {}
            playbook = ROOT / f"playbooks/{name}.yml"
        given = {**topology, **({} if apps is None else {"flask_apps": apps}), **(variables or {})}
        path = Path(tempfile.mkdtemp(dir=self.work)) / "vars.yml"
        path.write_text(yaml.dump(given, Dumper=VarsDumper, allow_unicode=True, sort_keys=False), encoding="utf-8")
        settings = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            # A new container at this address must not meet the connection to the one before.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.control),
        }
        return subprocess.Popen(
            [ROOT / ".venv/bin/ansible-playbook", "--inventory", self.inventory, "--extra-vars", f"@{path}", *arguments, playbook],
            env={**os.environ, **settings, **(environment or {})},
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def converge(self, apps: list[dict[str, Any]] | None, *arguments: str, **options: Any) -> Play:
        """Run the playbook and insist that it ends well."""
        play = self.play(apps, *arguments, **options)
        assert play.returncode == 0, play.output
        return play

    def dry_run(self, apps: list[dict[str, Any]] | None, **options: Any) -> Play:
        """Run the playbook as a dry run, and insist that it ends well and changes nothing."""
        before = self.snapshot()
        play = self.converge(apps, "--check", "--diff", **options)
        assert differences(before, self.snapshot()) == {}
        return play

    def get(self, path: str, port: int = 80, host: str | None = None, method: str = "GET", body: bytes | None = None, **more: str) -> Answer:
        """Send one request from the controller, with ``more`` headers; a redirect is an answer like any other."""
        connection = http.client.HTTPConnection(self.address, port, timeout=10)
        try:
            headers = {**({"Host": host} if host else {}), **{name.replace("_", "-"): value for name, value in more.items()}}
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def exposure(self, unit: str) -> float:
        """How open a unit is, as systemd rates it: from 0, which is closed, to 10."""
        verdict = self.run(f"systemd-analyze security {unit} --no-pager | tail -1")
        score = re.search(r"exposure level for \S+: ([\d.]+)", verdict)
        assert score, verdict
        return float(score[1])

    def live(self, app: str) -> str:
        """The name of the app's live release; empty if it has none."""
        return Path(self.run(f"readlink /srv/{app}/current || true")).name

    def releases(self, app: str) -> list[str]:
        """The names of the app's releases on the host."""
        return self.run(f"ls /srv/{app}/releases").split()

    def snapshot(self, *places: str) -> dict[str, str]:
        """Every path below these places with its kind, mode, owner and link, a file's size and time, and every active unit."""
        where = " ".join(places or ("/etc", "/srv", "/usr/local", "/var/lib/dpkg/status", "/var/lib/flaskops"))
        printed = r"-printf '%p\t%y %m %u:%g %l\n' -type f -printf '%p\t%y %m %u:%g %s %T@\n'"
        listed = self.run(f"find {where} ! -name transaction.lock {printed} 2>/dev/null", check=False)
        paths = dict(line.split("\t", 1) for line in listed.splitlines())
        units = self.run("systemctl list-units --all --plain --no-legend --type=service,socket --state=active | awk '{print $1, $4}'")
        return {**paths, **dict.fromkeys(units.splitlines(), "unit")}


NewTarget = Callable[..., Target]  # the fixture: an address, and a variant


def app(name: str, source: Path | str = APPS / "probe", **settings: Any) -> dict[str, Any]:
    """The variables of an app with an account of its own; a setting's name may lack its `flask_app_`."""
    values = {"name": name, "source": str(source), "user": name, "requirements": "", **settings}
    return {key if key.startswith(SERVER_VARIABLES) else f"flask_app_{key}": value for key, value in values.items()}


def differences(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """What differs between two snapshots."""
    names = before.keys() | after.keys()
    return {name: (before.get(name), after.get(name)) for name in sorted(names) if before.get(name) != after.get(name)}


def write_source(directory: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write an app's files; returns their directory."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return directory


def eventually(holds: Callable[[], bool], seconds: float = 15) -> bool:
    """Return whether something becomes true in this time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def missing(text: str, words: Iterable[str]) -> list[str]:
    """Those of the words that a text does not hold."""
    return [word for word in words if word not in text]
