# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an app runs beside its web server: workers, which run all the time, and jobs, which a timer starts. Their variables and their units."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.flaskops.hosting.plugins.module_utils.release_variables import JOB, PREFIX, WORKER, release_variables
from ansible_collections.flaskops.hosting.plugins.module_utils.sandbox import sandbox_of_app
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App, Text
from ansible_collections.flaskops.hosting.plugins.plugin_utils.rules import AT_LEAST_1, COMMANDS, MEMORY, Rule
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import RELEASE_NAME, RELEASE_PATH, fill

WORKERS, JOBS = "flask_app_workers", "flask_app_jobs"
NAME = re.compile("[a-z][a-z0-9-]{0,31}")
WEB = "web"  # the process that answers visitors
ALL, FIRST = "all", "first"
SHOWN = {WORKERS: '{rq: {command: "rq worker", count: 2}}', JOBS: '{cleanup: {command: "flask cleanup", schedule: daily}}'}
# The venv comes first also before a PATH of the app's own environment, as for other commands of an app.
IN_VENV = 'PATH=$1:$PATH; shift; exec "$@"'
JOB_STOP_TIMEOUT = 30  # seconds


@dataclass(frozen=True)
class Field:
    """What an entry of a worker or a job may say: its type as in argument specs, its default, and its rule. ``None`` is no default."""

    type: str
    default: Any
    rule: Rule


COMMAND = Rule(lambda value: COMMANDS.holds([value]) and "\n" not in value, "a program and its arguments, with every quote closed", '"rq worker"')
HOSTS = Rule(lambda value: value in (ALL, FIRST), f"{ALL} or {FIRST}", FIRST)
SECONDS = Rule(lambda value: value >= 0, "a whole number of seconds", "5")
TIMEOUT = Rule(AT_LEAST_1.holds, "a whole number of seconds, at least 1", "300")
FIELDS: dict[str, dict[str, Field]] = {
    WORKERS: {
        "command": Field("str", None, COMMAND),
        "count": Field("int", 1, AT_LEAST_1),
        "stop_timeout": Field("int", 60, TIMEOUT),
        "settle": Field("int", 5, SECONDS),
        "check": Field("str", "", Rule(lambda value: not value or COMMAND.holds(value), COMMAND.needs, '"flask check-queue"')),
        "memory_max": Field("int", 0, MEMORY),
        "hosts": Field("str", ALL, HOSTS),
    },
    JOBS: {
        "command": Field("str", None, COMMAND),
        "schedule": Field("str", None, Rule(lambda value: bool(value.strip()) and "\n" not in value, "times as systemd has them", "daily")),
        "timeout": Field("int", 3600, TIMEOUT),
        "delay": Field("int", 0, SECONDS),
        "persistent": Field("bool", True, Rule(lambda _value: True, "true or false", "true")),
        "memory_max": Field("int", 0, MEMORY),
        "hosts": Field("str", FIRST, HOSTS),
    },
}


def problems_of(values: dict[str, Any]) -> Iterator[str]:
    """A sentence for each thing that is wrong with an app's workers and jobs; what is right is completed with its defaults."""
    for variable, fields in FIELDS.items():
        for name, given in (values.get(variable) or {}).items():
            yield from _problems_of_name(variable, name, values)
            if isinstance(given, dict):
                values[variable] = {**values[variable], name: {key: field.default for key, field in fields.items()}}
                yield from _problems_of_entry(variable, name, given, values[variable][name])
            else:
                yield f"{variable}: {name} is {given!r}, needs a dictionary. For example:\n    {variable}: {SHOWN[variable]}"


def _problems_of_name(variable: str, name: Any, values: dict[str, Any]) -> Iterator[str]:
    if not NAME.fullmatch(str(name)):
        yield f"{variable}: got the name {name!r}, needs 1 to 32 of a-z, 0-9 and -, a letter first"
    elif name == WEB or (variable == JOBS and name in (values.get(WORKERS) or {})):
        what = "the app's web server" if name == WEB else "a worker"
        yield f"{variable}: got the name {name!r}, which is that of {what}; give it another one"


def _problems_of_entry(variable: str, name: Any, given: dict[str, Any], taken: dict[str, Any]) -> Iterator[str]:
    fields = FIELDS[variable]
    for key in sorted(given.keys() - fields.keys(), key=str):
        yield f"{variable}: {name} has {key!r}, which is none of {', '.join(fields)}"
    for key, field in fields.items():
        value = given.get(key)
        if value is None:
            if field.default is None:
                yield f"{variable}: {name} has no {key}. For example:\n    {variable}: {SHOWN[variable]}"
            continue
        checked = ArgumentSpecValidator({key: {"type": field.type}}).validate({key: value})
        if checked.error_messages or not field.rule.holds(checked.validated_parameters[key]):
            yield f"{variable}: {key} of {name} is {value!r}, needs {field.rule.needs}. For example:\n    {key}: {field.rule.example}"
        else:
            taken[key] = checked.validated_parameters[key]


def schedules(app: App) -> list[str]:
    """The schedules of the app's jobs, for systemd on the host to judge."""
    return sorted({job["schedule"] for job in app.jobs.values()})


def problems_of_schedules(app: App, calendars: dict[str, str]) -> Iterator[str]:
    """A sentence for each schedule that the host does not take; ``calendars`` has what is wrong with it."""
    for name, job in app.jobs.items():
        wrong = calendars.get(job["schedule"], "")
        if wrong:
            yield (
                f"{JOBS}: schedule of {name} is {job['schedule']!r}: {wrong}. It needs times as systemd, and not cron, has them. For example:\n"
                "    schedule: daily\n    schedule: Mon..Fri 03:30\n    schedule: '*:0/10'"
            )


def on_this_host(app: App, is_first: Callable[[], bool]) -> App:
    """The app with those of its workers and jobs that its host runs; ``is_first`` tells whether this is the first host with the app."""
    chosen = {}
    for variable in FIELDS:
        given = app.values[variable]
        runs_first = any(one["hosts"] == FIRST for one in given.values()) and is_first()
        chosen[variable] = {name: one for name, one in given.items() if one["hosts"] == ALL or runs_first}
    return replace(app, values={**app.values, **chosen})


def worker_file(name: str) -> str:
    """The file in a release that says how a worker runs."""
    return f"worker-{name}.service"


def units(app: App) -> list[Text]:
    """The units of the app's workers and jobs, as each release has them."""
    found = [_worker_unit(app, name, worker) for name, worker in app.workers.items()]
    for name, job in app.jobs.items():
        found += [_job_unit(app, name, job), Text(f"job-{name}.timer", fill("flask_app", "job.timer.j2", app=app, title=name, job=job))]
    return found


def instances(app: App) -> list[dict[str, Any]]:
    """The processes of the app's workers, as the module ``release`` takes them; the development server runs one of each."""
    return [
        {
            "name": f"{name}-{number}",
            "manager": "worker",
            "file": worker_file(name),
            "socket": "",
            "settle": worker["settle"],
            "check": worker["check"] if number == 1 else "",
        }
        for name, worker in app.workers.items()
        for number in range(1, 1 + (1 if app.topology.for_development else worker["count"]))
    ]


def _worker_unit(app: App, name: str, worker: dict[str, Any]) -> Text:
    # Before the release is live, it runs only while root's mark is there; after a boot, that of the live release runs, whatever was under way.
    condition = f'[ "$(readlink {app.root}/current)" = releases/{RELEASE_NAME} ] || [ -e /run/flaskops/.{app.name}@{RELEASE_NAME} ]'
    lines = [
        "Type=exec",
        f"ExecCondition=+{exec_words(['/bin/sh', '-c', condition])}",
        f"Environment={PREFIX}PROCESS=%p",
        "# Once it is asked to end, it may complete what it does.",
        "KillMode=mixed",
        f"TimeoutStopSec={worker['stop_timeout']}",
        "Restart=always",
        "RestartSec=1",
    ]
    return _unit(app, worker_file(name), f"worker {name} of {app.name}, release {RELEASE_NAME}", WORKER, worker, lines, install=True)


def _job_unit(app: App, name: str, job: dict[str, Any]) -> Text:
    lines = ["Type=oneshot", "KillMode=mixed", f"TimeoutStartSec={job['timeout']}", f"TimeoutStopSec={JOB_STOP_TIMEOUT}"]
    return _unit(app, f"job-{name}.service", f"job {name} of {app.name}", JOB, job, lines)


def _unit(app: App, file: str, title: str, phase: str, entry: dict[str, Any], lines: list[str], install: bool = False) -> Text:
    command = exec_words(["/bin/sh", "-c", IN_VENV, "sh", f"{RELEASE_PATH}/.venv/bin", *shlex.split(entry["command"])])
    content = fill(
        "flask_app", "process.service.j2", app=app, title=title, lines=lines, command=command, memory_max=entry["memory_max"] or app.memory_max,
        release_variables=release_variables(app.name, RELEASE_NAME, RELEASE_PATH, phase), sandbox=sandbox_of_app(RELEASE_PATH, app.root),
        install=install,
    )  # fmt: skip
    return Text(file, content)


def exec_words(words: list[str]) -> str:
    """Words as a line of a unit takes them, so that each arrives as it is: systemd would fill in variables and specifiers, and split at spaces."""
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$"})
    return " ".join(word if re.fullmatch(r"[\w/@.:=+,-]+", word) else f'"{word.translate(escapes)}"' for word in words)
