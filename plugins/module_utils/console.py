# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command ``flaskops`` of a host: what people who are logged in there ask of an app. It is a program of its own, beside Ansible."""

from __future__ import annotations

# pylint: disable=ansible-bad-function  # run_command is an AnsibleModule's, and there is none
import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils import activation, app_status, jobs, process_status
from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, settle, unit_properties, without_controls
from ansible_collections.flaskops.hosting.plugins.module_utils.console_words import COMPLETE, NAME
from ansible_collections.flaskops.hosting.plugins.module_utils.record import RECORDS, Record
from ansible_collections.flaskops.hosting.plugins.module_utils.release_commands import attach
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import (
    Release,
    ReleaseError,
    Tree,
    hide_secrets,
    read_environment_file,
)
from ansible_collections.flaskops.hosting.plugins.module_utils.release_variables import WEB

ENTRY = "flaskops_entry.py"  # the file of a release whose callable is no plain name or call
LINES = 100
FAILED = 1
EXITED = "1"  # as systemd has it: a process that no signal has ended


@dataclass(frozen=True)
class Asked:
    """An app that something is asked of: its record, and the release that is live."""

    record: Record
    tree: Tree
    live: Release


def parser() -> argparse.ArgumentParser:
    """The command's arguments and help texts."""
    found = argparse.ArgumentParser(
        prog=NAME,
        usage=f"{NAME} APP COMMAND …",
        description="Look at an app of this host, and run commands in its live release. It needs root, such as by sudo.",
        epilog=f"What a command takes: {NAME} APP COMMAND --help. Exit codes: that of what run, shell and job run have run; 0 if all is well; "
        f"{FAILED} if it cannot be done, or if status finds something that does not run; 2 if the arguments are wrong.",
        allow_abbrev=False,
    )
    found.add_argument("app", metavar="APP", help="its flask_app_name")
    commands = found.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str, usage: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, usage=f"{NAME} APP {name}{usage}", allow_abbrev=False)

    add("status", "What runs, since when, whether it is healthy, and its releases.")
    logs = add("logs", "The last lines that it wrote, without its secrets.", " [-f] [-n LINES] [web|WORKER|JOB]")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what it writes from now on")
    logs.add_argument("-n", "--lines", type=int, default=LINES, metavar="LINES", help=f"how many lines ({LINES})")
    logs.add_argument("process", nargs="?", default=WEB, metavar="PROCESS", help="web, or the name of a worker or a job (web)")
    add("run", "Run a command in its live release: as its account, in its sandbox, with its environment, in the directory of its code.", " -- CMD …")
    add("shell", "Open a Python shell in its live release: flask shell, or python if the app has no Flask.")
    env = add("env", "The names of its environment variables.", " [--show]")
    env.add_argument("--show", action="store_true", help="their values too, secrets included")
    add("workers", "Its workers: state, restarts, and since when it is so.")
    job = add("job", "Run a job now, wait for its end, and show what it wrote. Exit code: that of the job.", " run NAME")
    job.add_argument("action", choices=["run"], metavar="run")
    job.add_argument("name", metavar="NAME")
    return found


def main(words: list[str]) -> int:
    """Do what the command line says, and return the exit code."""
    if words[:1] == [COMPLETE]:
        print("\n".join(completions(words[1:])))
        return 0
    mine, command = words, []
    if "--" in words:
        mine, command = words[: words.index("--")], words[words.index("--") + 1 :]
    arguments = parser()
    given = arguments.parse_args(mine)
    if bool(command) != (given.command == "run"):
        arguments.error(f"run needs a command after --, and nothing else takes one. For example: {NAME} shop run -- flask routes")
    if os.geteuid() != 0:
        print(f"{NAME}: this needs root. Type: sudo {NAME} {shlex.join(words)}", file=sys.stderr)
        return FAILED
    settle()
    try:
        return COMMANDS[given.command](_look_for(given.app), given, command)
    except (ReleaseError, OSError) as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _look_for(app: str) -> Asked:
    """An app with a live release. Raises ``ReleaseError``."""
    record = Record.read(app)
    if record is None:
        raise ReleaseError(f"got the app {app!r}, needs one of this host: {', '.join(Record.read_all()) or 'it has none'}")
    tree = Tree(app, Path(record.root))
    live = tree.live() if record.root else None
    if live is None or not live.is_complete():
        raise ReleaseError(f"{app} has no live release")
    return Asked(record, tree, live)


def _one_of(what: str, given: str, known: Iterable[str]) -> None:
    if given not in known:
        raise ReleaseError(f"got the {what} {given!r}, needs one of: {', '.join(known) or 'there is none'}")


def _say(line: str) -> None:
    print(without_controls(line), flush=True)


def logs(asked: Asked, given: argparse.Namespace, _command: list[str]) -> int:
    """Show the last lines of a process, and follow it if that is wanted."""
    _one_of("process", given.process, app_status.logged(asked.live))
    if not given.follow:
        for line in app_status.log_of(asked.live, given.process, given.lines):
            _say(line)
        return 0
    words = [*shlex.split(app_status.follow(asked.live, given.process)), f"--lines={given.lines}"]
    secrets: dict[str, dict[str, str]] = {}
    with subprocess.Popen(words, stdout=subprocess.PIPE, encoding="utf-8", errors="replace") as followed:
        try:
            for line in followed.stdout or []:
                # also those of a release that came meanwhile, whose workers write before it is live
                secrets.update({one.name: one.secrets() for one in asked.tree.complete_releases() if one.name not in secrets})
                shown = line.rstrip("\n")
                for found in secrets.values():
                    shown = hide_secrets(shown, found)
                _say(shown)
        finally:
            followed.terminate()
    return followed.returncode


def run_command(asked: Asked, _given: argparse.Namespace, command: list[str]) -> int:
    """Run a command in the live release, with this process's terminal or streams."""
    return attach(asked.live, command)


def shell(asked: Asked, _given: argparse.Namespace, _command: list[str]) -> int:
    """Open a shell of Python in the live release."""
    return attach(asked.live, shell_words(asked.live))


def shell_words(live: Release) -> list[str]:
    """The command of such a shell: Flask's own if the app has Flask."""
    if not (live.path / ".venv/bin/flask").exists():
        return ["python"]
    entry = live.path / ENTRY
    return ["flask", "--app", f"{entry}:application" if entry.exists() else live.facts().module, "shell"]


def status(asked: Asked, _given: argparse.Namespace, _command: list[str]) -> int:
    """Show how the app is; the exit code says whether all of it is well."""
    found = app_status.more_of(asked.record, asked.tree, app_status.LOG_LINES)
    for line in status_lines(asked, found):
        _say(line)
    states = [*found["processes"].values(), *(one["state"] for one in found["workers"].values())]
    return 0 if found["health"].startswith("2") and set(states) == {"active"} else FAILED


def status_lines(asked: Asked, found: dict[str, Any]) -> list[str]:
    """The status as people read it."""
    lines = [
        f"{asked.record.app} answers {asked.record.url or 'nowhere'} ({asked.record.topology}), health {found['health']}",
        *(["maintenance on: visitors get a page instead"] if found["maintenance"] else []),
        f"live: {asked.live.name} since {found['live_since']}",
    ]
    for heading, certificate in (("certificate", found["certificate"]), ("database's certificate", found["database_certificate"])):
        if certificate:
            lines.append(f"{heading}: {certificate['days']} days left" if "days" in certificate else f"{heading}: missing")
        if certificate.get("error"):
            lines.append(f"{heading}: {certificate['error']}")
    lines += [f"process {name}: {state}" for name, state in found["processes"].items()]
    lines += [f"worker {name}: {_worker(one)}" for name, one in found["workers"].items()]
    for name, one in found["jobs"].items():
        last = f"last {one['last']} {one['result']}".rstrip() if one["last"] else "never ran"
        lines.append(f"job {name}: {one['state']}, {last}, next {one['next'] or 'never'}")
    for one in found["releases"]:
        how = f"failed: {one['failed']}" if one["failed"] else f"live {one['live']} by {one['by'] or 'nobody known'}" if one["live"] else "never live"
        lines.append(f"release {one['name']}: {how}{', version ' if one['version'] else ''}{one['version']}")
    return [*lines, *(f"log: {line}" for line in found["log"])]


def _worker(one: dict[str, str]) -> str:
    return f"{one['state']} since {one['since'] or 'ever'}, restarts {one['restarts'] or 0}"


def workers(asked: Asked, _given: argparse.Namespace, _command: list[str]) -> int:
    """Show the workers; the exit code says whether all of them run."""
    found = process_status.workers(activation.workers_of(asked.live))
    for name, one in found.items():
        _say(f"{name}: {_worker(one)}")
    return 0 if all(one["state"] == "active" for one in found.values()) else FAILED


def env(asked: Asked, given: argparse.Namespace, _command: list[str]) -> int:
    """Show the names of the variables, or what a shell would set them with."""
    variables = read_environment_file((asked.live.path / "environment").read_bytes().decode())
    for name, value in sorted(variables.items()):
        print(f"{name}={shlex.quote(value)}" if given.show else name)
    return 0


def run_job(asked: Asked, given: argparse.Namespace, _command: list[str]) -> int:
    """Run a job to its end, show what it wrote, and return its exit code."""
    _one_of("job", given.name, asked.live.facts().jobs)
    unit = jobs.unit_of(asked.tree, given.name)
    if unit_properties(unit, "ActiveState").get("ActiveState") == "activating":
        raise ReleaseError(f"the job {given.name} runs already; to see it: {NAME} {asked.record.app} logs -f {given.name}")
    started = subprocess.run(["systemctl", "start", unit], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    ended = unit_properties(unit, "InvocationID", "ExecMainCode", "ExecMainStatus", "Result")
    run("journalctl", "--sync")
    wrote = run("journalctl", f"_SYSTEMD_INVOCATION_ID={ended.get('InvocationID', '')}", "--output=cat", "--no-pager", "--quiet", "--all")
    for line in hide_secrets(wrote.stdout, asked.live.secrets()).splitlines():
        _say(line)
    if started.returncode == 0:
        return 0
    result = ended.get("Result", "unknown")
    print(f"{NAME}: the job {given.name} failed: {result}", file=sys.stderr)
    code = int(ended.get("ExecMainStatus") or 0)
    return (code if ended.get("ExecMainCode") == EXITED else 128 + code) if code else FAILED


COMMANDS = {"logs": logs, "run": run_command, "shell": shell, "status": status, "env": env, "workers": workers, "job": run_job}


def completions(words: list[str]) -> list[str]:
    """What may come after these words of a command line. Who is not root gets the names of apps and commands alone."""
    if not words:
        return sorted(path.stem for path in RECORDS.glob("*.json"))
    app, *rest = words
    if not rest:
        return list(COMMANDS)
    fixed = {"run": ["--"], "env": ["--show"], "job": ["run"]}
    if len(rest) == 1 and rest[0] in fixed:
        return fixed[rest[0]]
    record = Record.read(app)
    live = Tree(app, Path(record.root)).live() if record and record.root else None
    if live and rest[0] == "logs":
        return ["-f", *app_status.logged(live)]
    return live.facts().jobs if live and rest == ["job", "run"] else []
