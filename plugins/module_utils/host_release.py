# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of release: stage, activate, run and remove."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils import activation, jobs, staging
from ansible_collections.flaskops.hosting.plugins.module_utils.account import end_processes
from ansible_collections.flaskops.hosting.plugins.module_utils.command import LOG_LINES, has_files, remove_tree
from ansible_collections.flaskops.hosting.plugins.module_utils.record import REMOVED, NotedInstance, Record, read_json
from ansible_collections.flaskops.hosting.plugins.module_utils.release_commands import run_commands
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, Tree
from ansible_collections.flaskops.hosting.plugins.module_utils.worker_return import tell_to_end_for_now

ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["staged", "workers_ending", "live", "rolled_back", "restarted", "run", "absent"], "required": True},
    "app": {"type": "str", "required": True},
    "root": {"type": "path", "required": True},
    "source": {"type": "str"},
    "version": {"type": "str", "default": "HEAD"},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "module": {"type": "str"},
    "python": {"type": "path", "default": "/usr/bin/python3"},
    "requirements": {"type": "str", "default": "auto"},
    "server_requirements": {"type": "list", "elements": "str", "default": []},
    "server_minimum": {"type": "dict", "default": {}},
    "build_commands": {"type": "list", "elements": "str", "default": []},
    "environment": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": False},  # the controller moves them into the payload
    "environment_files": {"type": "list", "elements": "path", "default": []},
    "configuration": {"type": "dict", "default": {}},  # the controller moves it into the payload
    "settings": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"dest": {"type": "str", "required": True}, "src": {"type": "str"}, "content": {"type": "str"}},
    },
    "user": {"type": "str", "default": "wsgi"},
    "group": {"type": "str", "default": "wsgi"},
    "mount": {"type": "str", "default": "/"},
    "static": {"type": "list", "elements": "str", "default": []},
    "shared": {"type": "list", "elements": "str", "default": []},
    "instances": {
        "type": "list",
        "elements": "dict",
        "default": [{}],
        "options": {
            "name": {"type": "str", "default": "web"},
            "manager": {"type": "str", "choices": ["systemd", "supervisord", "apache", "worker"], "default": "systemd"},
            "file": {"type": "str", "default": "app.service"},
            "socket": {"type": "str", "default": "run/app.sock"},
            "protocol": {"type": "str", "choices": ["http", "uwsgi"], "default": "http"},
            "log": {"type": "str", "default": ""},
            "drain_timeout": {"type": "float", "default": 0.0},
            "settle": {"type": "float", "default": 0.0},
            "check": {"type": "str", "default": ""},
        },
    },
    "jobs": {"type": "list", "elements": "str", "default": []},
    "memory_max": {"type": "int", "default": 0},
    "health_path": {"type": "str", "default": "/"},
    "health_host": {"type": "str", "default": "localhost"},
    "health_timeout": {"type": "int", "default": 30},
    "release": {"type": "str"},
    "commands": {"type": "list", "elements": "str", "default": []},
    "front": {
        "type": "dict",
        "options": {
            "address": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "protocol": {"type": "str", "choices": ["http", "https"], "default": "http"},
            "proof": {"type": "str", "default": ""},
        },
    },
    "record": {"type": "dict"},
    "keep": {"type": "int", "default": 5},
    "remove_data": {"type": "bool", "default": False},
    "lines": {"type": "int", "default": LOG_LINES},
    "by": {"type": "str", "default": ""},
    "archive": {"type": "path"},
    "payload": {"type": "str", "no_log": True},
}
REQUIRED_IF = [
    ("state", "staged", ("source", "module", "payload")),
    ("state", "live", ("release", "source"), True),
    ("state", "run", ("release", "commands")),
]
REQUIRED_BY = {"source": ("module",)}


def stage(options: dict[str, Any], tree: Tree, check_mode: bool) -> dict[str, Any]:
    """Stage a release and return the module's result. Raises ``ReleaseError``."""
    payload = json.loads(base64.b64decode(options["payload"]))
    on_host = staging.read_environment_files(options["environment_files"], may_be_missing=check_mode)
    plain = {name: value for name, value in on_host.items() if name in staging.NO_SECRETS}
    payload["secrets"] = {**{name: on_host[name] for name in on_host.keys() - plain.keys() - payload["environment"].keys()}, **payload["secrets"]}
    payload["environment"] = {**plain, **payload["environment"]}
    plan = staging.Plan(tree, options, payload)
    staging.host_key(create=not check_mode)  # the first release's name, in its diff too, depends on it
    release, diff = staging.dry_run(plan)
    ready = release.is_complete() and not release.has_failed()
    result = {"release": release.name, "build": plan.payload["build"], "changed": not ready}
    if ready:
        return {**result, "settled": is_settled(release, options, payload["configuration"])}
    if check_mode:
        return {**result, "diff": diff}
    with tree.lock():
        if plan.payload["archive"] is None and not options["archive"] and not staging.sibling_with_same_build(plan, release):
            return {"archive_needed": True, "changed": False}
        activation.stop_stray(release)
        release, steps = staging.stage(plan)
    return {**result, "release": release.name, "changed": bool(steps), "diff": diff, "steps": steps}


def is_settled(release: Release, options: dict[str, Any], configuration: dict[str, Any]) -> bool:
    """Tell whether a release that is on the host is live and noted, and what the app has outside of its tree is as it must be too."""
    if not configuration or make_live({**options, "state": "live", "release": release.name}, release.tree, check_mode=True)["changed"]:
        return False
    # a host compiles in each call what it imports
    from ansible_collections.flaskops.hosting.plugins.module_utils import host_config_files  # noqa: PLC0415

    return not host_config_files.would_change(configuration)


def go_live(options: dict[str, Any], tree: Tree, check_mode: bool) -> dict[str, Any]:
    """Make a release live, and stage it first if it is given by its source; return the module's result. Raises ``ReleaseError``."""
    if options["release"]:
        return make_live(options, tree, check_mode)
    staged = stage(options, tree, check_mode)
    if staged.get("archive_needed"):
        return staged
    live = make_live({**options, "release": staged["release"]}, tree, check_mode)
    return {
        **staged,
        **live,
        "changed": staged["changed"] or live["changed"],
        "steps": [*staged.get("steps", []), *live.get("steps", [])],
        "diff": [result["diff"] for result in (staged, live) if "diff" in result],
    }


def make_live(options: dict[str, Any], tree: Tree, check_mode: bool) -> dict[str, Any]:
    """Activate a staged release and return the module's result. Raises ``ReleaseError``."""
    before, back = tree.live(), options["state"] == "rolled_back"
    release = tree.release(options["release"]) if options["release"] else activation.previous(tree)
    previous = before.name if before else ""
    noted = Record.read(tree.app, tree.record.parent)
    record = wanted_record(options["record"], noted, release)
    recorded = record is None or read_json(tree.record) == record.to_json()
    live = activation.is_live(release, noted)
    result: dict[str, Any] = {"release": release.name, "previous": previous, "removed": [], "changed": not (live and recorded)}
    if not live:
        result["diff"] = {"before": f"{tree.current} -> {previous or 'nothing'}\n", "after": f"{tree.current} -> {release.name}\n"}
    if check_mode or not result["changed"]:
        return result
    refuse_unfit(release)
    if back and not release.went_live():
        raise ReleaseError(f"release: got {release.name!r}, which was never live; deploy it instead")
    if back and not activation.suits_front(release):
        raise ReleaseError(
            f"release: got {release.name!r}, which the web server does not reach in its present configuration; move the app back with "
            "flaskops.hosting.site first"
        )
    jobs.refuse_foreign(release, tree, jobs.on_host(tree, noted, before))
    with tree.lock():
        strays = activation.stray_instances(tree, noted)
        serving = wanted_record(options["record"], noted, before) if before and not live else record
        if serving is not None:  # first of all: the front has changed already, and must be found again if the release fails
            tree.note(serving)
        if not live:
            result["steps"] = activation.activate(release, options["front"], noted)
            record = wanted_record(options["record"], noted, release)
            if record is not None:
                tree.note(record)
            activation.stop_all(tree, strays)
            release.mark_live(options["by"], back)
            if not back:
                result["removed"] = activation.prune(tree, options["keep"], before if options["keep"] > 1 else None)
    return result


def wanted_record(given: dict[str, Any] | None, noted: Record | None, release: Release) -> Record | None:
    """What the host is to note of the app with this release; ``None`` if nothing is given and nothing was noted."""
    record = noted if given is None else Record.from_json(given, release.tree.app)
    if record is None:
        return None
    # in Apache, no process has a name of its own
    units = {one.facts.name: one.name for one in activation.instances_of(release) if one.facts.manager != "apache"}
    web = [replace(one, unit=units.get(one.name, "")) for one in record.instances if one.manager != "worker"]
    workers = [NotedInstance(one.facts.name, "worker", one.name) for one in activation.workers_of(release)]
    there = {*release.facts().jobs, *jobs.on_host(release.tree, noted)}  # one that is no more the release's may still be running
    return replace(record, root=str(release.tree.root), instances=[*web, *workers], jobs=sorted(there), made_root=bool(noted and noted.made_root))


def refuse_unfit(release: Release) -> None:
    """Raise ``ReleaseError`` for a release that is not on the host, or has failed."""
    if release.has_failed():
        raise ReleaseError(f"release: got {release.name!r}, which failed before; stage it again")
    if not release.is_complete():
        raise ReleaseError(f"release: got {release.name!r}, which is not staged on this host")


def restart(options: dict[str, Any], tree: Tree, check_mode: bool) -> dict[str, Any]:
    """Replace the processes of the live release and return the module's result. Raises ``ReleaseError``."""
    live = tree.live()
    if live is None or not live.is_complete():
        raise ReleaseError("nothing can be restarted")
    result = {"release": live.name, "changed": True}
    if check_mode:
        return result
    with tree.lock():
        return {**result, "steps": activation.restart(live, options["front"])}


def run_in_release(options: dict[str, Any], tree: Tree, check_mode: bool) -> dict[str, Any]:
    """Run commands in a release and return the module's result. Raises ``ReleaseError``."""
    release = tree.release(options["release"])
    result = {"release": release.name, "changed": bool(options["commands"]), "output": ""}
    if check_mode:  # what would be run may not even be staged
        return result
    refuse_unfit(release)
    with tree.lock():
        return {**result, "output": run_commands(release, options["commands"], options["lines"])}


def remove(options: dict[str, Any], tree: Tree, check_mode: bool) -> dict[str, Any]:
    """Remove the app that the host has noted, all but data it has written, and return the module's result."""
    record = Record.read(tree.app, tree.record.parent)
    if record is None or not record.root:  # nothing here is known to be the app's
        return {"kept": [], "changed": False, "diff": {"before": "", "after": ""}}
    tree = Tree(tree.app, Path(record.root))
    data = tree.shared.is_dir() and has_files(tree.shared) and not options["remove_data"]
    instances = activation.all_instances(tree, record)
    timers = jobs.on_host(tree, record, tree.live())
    paths = [path for path in tree.own_paths() if os.path.lexists(path) and not (data and path == tree.shared)]
    # the record says whose the data is, so that it can be removed later by the app's name alone
    left = Record(tree.app, record.root, record.user, record.group, REMOVED, made_root=record.made_root) if data else None
    gone = [tree.record] if left is None else []
    if record.made_root and tree.root.is_dir() and {path.name for path in tree.root.iterdir()} <= {path.name for path in paths}:
        gone.insert(0, tree.root)
    found = [*[instance.name for instance in instances], *(jobs.unit_of(tree, one) for one in sorted(timers)), *map(str, [*paths, *gone])]
    stays = left is not None and not found and read_json(tree.record) == left.to_json()
    result = {"kept": [str(tree.shared)] if data else [], "changed": not stays, "diff": {"before": "".join(f"{one}\n" for one in found), "after": ""}}
    if check_mode or stays:
        return result
    with tree.lock():
        jobs.remove_now(tree, timers)
        activation.stop_all(tree, instances)
        end_processes(record.user)
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                remove_tree(path)
            else:
                path.unlink()
        if tree.root in gone:
            tree.root.rmdir()
        if left:
            tree.note(left)
        else:
            tree.record.unlink()
    return result


def end_workers(options: dict[str, Any], tree: Tree, check_mode: bool) -> dict[str, Any]:
    """Tell the workers of the live release to end, for a release that comes, and return the module's result. Raises ``ReleaseError``."""
    live = tree.live()
    workers = activation.workers_of(live) if live else []
    result = {"release": live.name if live else "", "changed": bool(workers)}
    if workers and not check_mode:
        with tree.lock():
            tell_to_end_for_now(tree, workers)
    return result


ACTS = {
    "staged": stage,
    "workers_ending": end_workers,
    "live": go_live,
    "rolled_back": make_live,
    "restarted": restart,
    "run": run_in_release,
    "absent": remove,
}


def answer(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what ``state`` says, and return the module's result."""
    tree = Tree(options["app"], Path(options["root"]))
    act = ACTS[options["state"]]
    try:
        return act(options, tree, check_mode)
    except (ReleaseError, OSError) as error:
        live = tree.live()
        serving = "No release is live."
        if live:
            up = live.is_complete() and activation.web_of(live).is_up()
            serving = f"Release {live.name} keeps serving." if up else f"Release {live.name} is live, and is not running."
        output = getattr(error, "log", "")
        advice = "After you have corrected this, run the same command again: nothing needs to be cleaned up."
        if output:
            advice = f"See the output below. {advice}"
        return {"failed": True, "msg": f"{tree.app}: {error}. {serving} {advice}", "output": output}
