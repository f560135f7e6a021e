# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stage a release: its name, its code, its venv, its settings, and the pre-flight that accepts it."""

from __future__ import annotations

import base64
import contextlib
import filecmp
import grp
import hashlib
import hmac
import io
import json
import os
import pwd
import secrets as random
import shutil
import stat
import tarfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils import preflight, virtual_environment
from ansible_collections.flaskops.hosting.plugins.module_utils.account import FRONT_ACCOUNT
from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, tail, write_to_disk
from ansible_collections.flaskops.hosting.plugins.module_utils.record import InstanceFacts, Record, ReleaseFacts
from ansible_collections.flaskops.hosting.plugins.module_utils.release_build import run_build_commands
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import (
    Release,
    ReleaseError,
    Tree,
    environment_file,
    hide_credentials,
    hide_secrets,
    read_environment_file,
    write_private,
)
from ansible_collections.flaskops.hosting.plugins.module_utils.release_variables import PREFIX
from ansible_collections.flaskops.hosting.plugins.module_utils.sandbox import sandbox
from ansible_collections.flaskops.hosting.plugins.module_utils.steps import Steps
from ansible_collections.flaskops.hosting.plugins.module_utils.transient_unit import run_in_unit

HOST_KEY = Path("/etc/flaskops/key")
PYTHON_PATH = "PYTHONPATH"
MKDIR_TIMEOUT = 30  # seconds
# of an environment file: where a database is; hidden, they would take their words out of paths and messages
NO_SECRETS = ("DATABASE_HOST", "DATABASE_PORT", "DATABASE_SOCKET", "DATABASE_NAME", "DATABASE_USER")


@dataclass(frozen=True)
class Plan:
    """What a release is to be, as the controller's part of the module sends it."""

    tree: Tree
    options: dict[str, Any]  # the module's own options
    payload: dict[str, Any]  # what must not be shown: environment, secrets, settings; and the packed code

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the process, secrets included."""
        return {**self.payload["environment"], **self.payload["secrets"]}

    @property
    def instances(self) -> list[InstanceFacts]:
        """The processes that the release runs."""
        return [InstanceFacts(**given) for given in self.options["instances"]]

    @cached_property
    def venv_name(self) -> str:
        """The hash of what the venv holds: the requirements, the server's, and the Python it is made with. Raises ``ReleaseError``."""
        python = self.options["python"]
        asked = run(python, "-c", "import sys; print(sys.implementation.cache_tag)")
        if asked.returncode:
            raise ReleaseError(f"python: got {python!r}, which does not run on this host; give the path of a Python 3")
        parts = [self.payload["requirements"]["key"], self.options["server_requirements"], python, asked.stdout]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def release_name(self, venv: str, key: bytes) -> str:
        """The build's name and a keyed hash of the configuration, which reveals no secret without the key."""
        configuration = {
            "venv": venv,
            "environment": self.environment,
            "settings": self.payload["settings"],
            **{name: self.options[name] for name in ("module", "build_commands", "user", "group", "mount", "static", "shared", "instances", "jobs")},
        }
        digest = hmac.new(key, json.dumps(configuration, sort_keys=True).encode(), hashlib.sha256).hexdigest()
        return f"{self.payload['build'][:12]}-{digest[:8]}"


def read_environment_files(paths: list[str], may_be_missing: bool) -> dict[str, str]:
    """The variables in files on the host. In a dry run, a file may not exist yet.

    Raises ``ReleaseError`` for a file that is missing, or has a name that is the host's.
    """
    found: dict[str, str] = {}
    for path in map(Path, paths):
        if path.is_file():
            found.update(read_environment_file(path.read_bytes().decode()))
        elif not may_be_missing:
            raise ReleaseError(f"environment_files: got {str(path)!r}, and there is no such file on this host")
    ours = sorted(name for name in found if name.startswith(PREFIX))
    if ours:
        raise ReleaseError(f"environment_files: {', '.join(ours)} begins with {PREFIX}, which only what the host tells an app does")
    return found


def host_key(create: bool) -> bytes:
    """The key that release names on this host are made with; a temporary one in a dry run."""
    if HOST_KEY.exists():
        return HOST_KEY.read_bytes()
    key = random.token_hex(32)
    if create:
        HOST_KEY.parent.mkdir(parents=True, exist_ok=True)
        write_private(HOST_KEY, key)
    return key.encode()


def dry_run(plan: Plan) -> tuple[Release, dict[str, str]]:
    """The release that staging would give, and the diff to the live one."""
    venv = plan.venv_name
    # a dry run on a bare host cannot know the second half of the name, because the host has no key yet
    name = plan.release_name(venv, host_key(create=False)) if HOST_KEY.exists() else f"{plan.payload['build'][:12]}-new"
    release = plan.tree.release(name)
    live = plan.tree.live()
    before = describe(live.facts()) if live and live.is_complete() else []
    after = describe(replace(facts_of(plan, venv), release=release.name))
    return release, {
        "before_header": "live release",
        "after_header": "new release",
        "before": "".join(before),
        "after": "".join(after),
    }


def stage(plan: Plan) -> tuple[Release, list[str]]:
    """Put the release on the host, ready to go live; returns the steps, none if there was nothing to do.

    Raises ``ReleaseError`` if the venv, the code or the pre-flight fails. The live release is not changed.
    """
    venv = plan.venv_name
    release = plan.tree.release(plan.release_name(venv, host_key(create=True)))
    if release.is_complete() and not release.has_failed():
        return release, []
    claim_root(plan)
    release.discard()
    steps = Steps()
    try:
        with steps.take("laid down the code"):
            make_tree(plan)
            unpack_code(plan, release)
        link_venv(plan, release, venv, steps)
        if plan.options["build_commands"]:
            with steps.take("ran the commands of the build"):
                build_code(plan, release)
        complete_code(plan, release)
        write_settings(plan, release)
        facts = facts_of(plan, venv)
        if facts.waits_for_commands:
            with steps.take(f"pre-flight, {facts.module} was imported"):
                preflight.import_app(release, facts)
        else:
            with steps.take(f"pre-flight, {facts.module} answered {facts.health_path}"):
                preflight.ask_app(release, facts)
        with steps.take("wrote it to disk"):
            write_to_disk(release.path)
        release.mark_complete(facts)
    except ReleaseError as error:
        reason, log = (hide_secrets(text, plan.payload["secrets"]) for text in (str(error), error.log))
        release.mark_failed(reason, log)
        raise ReleaseError(reason, log) from None
    except OSError as error:
        release.discard()  # such as half of the code on a full disk: nothing to look at, and in the way
        raise ReleaseError(str(error)) from error
    return release, steps.taken


def facts_of(plan: Plan, venv: str) -> ReleaseFacts:
    """What is noted with a release: what activation needs, and what a diff shows. Secrets are there as keyed hashes."""
    key = host_key(create=False)
    fingerprints = {name: hmac.new(key, value.encode(), "sha256").hexdigest()[:8] for name, value in plan.environment.items()}
    names = ("app", "module", "user", "mount", "health_path", "health_host", "health_timeout", "shared", "memory_max", "server_requirements", "jobs")
    return ReleaseFacts(
        **{name: plan.options[name] for name in names},
        instances=plan.instances,
        build=plan.payload["build"],
        version=plan.payload["version"],
        files=plan.payload["manifest"],
        settings={entry["dest"]: hashlib.sha256(entry["content"].encode()).hexdigest()[:8] for entry in plan.payload["settings"]},
        requirements=plan.payload["requirements"]["text"],
        venv=venv,
        environment=fingerprints,
        secrets=sorted(plan.payload["secrets"]),
        waits_for_commands=bool(plan.options["commands"]),
        names_release=True,
    )


def describe(facts: ReleaseFacts) -> list[str]:
    """A release as lines of text, made for a diff: what differs is a line that differs."""
    lines = [f"{name}: {getattr(facts, name)}\n" for name in ("release", "build", "version", "module", "mount", "venv")]
    lines += [f"instance: {one.name}, {_runs(one)}\n" for one in facts.instances]
    lines += [f"job: {one}\n" for one in facts.jobs]
    lines += [f"requirement: {hide_credentials(line)}\n" for line in facts.requirements.splitlines() + facts.server_requirements]
    for title, entries in (("variable", facts.environment), ("setting", facts.settings), ("file", facts.files)):
        lines += [f"{title}: {name} ({fingerprint})\n" for name, fingerprint in sorted(entries.items())]
    # the names of files are any bytes, and Ansible rejects an answer that is no text
    return [line.encode(errors="surrogateescape").decode(errors="backslashreplace") for line in lines]


def _runs(one: InstanceFacts) -> str:
    return one.manager if one.manager == "worker" else f"{one.manager}, {one.protocol} at {one.socket or 'no socket of its own'}"


def claim_root(plan: Plan) -> None:
    """Note whose the app's directory is before anything is made in it. Raises ``ReleaseError`` if it holds somebody else's files."""
    tree, options = plan.tree, plan.options
    record = Record.read(tree.app, tree.record.parent)
    if record and record.root == str(tree.root):
        return
    if record and record.root:
        raise ReleaseError(f"root: got {str(tree.root)!r}, but {tree.app} is in {record.root}; remove it there first, or keep that directory")
    there = sorted(path.name for path in tree.root.iterdir()) if tree.root.is_dir() else []
    if there:
        shown = ", ".join(there[:10])
        raise ReleaseError(f"root: {tree.root} holds files that are not this app's ({shown}); give the app a directory of its own")
    made = Record(app=tree.app, root=str(tree.root), user=options["user"], group=options["group"], made_root=not tree.root.exists())
    tree.note(made)


def make_tree(plan: Plan) -> None:
    """Make the app's directories; only shared/ is the account's to write in."""
    tree, options = plan.tree, plan.options
    for path in (tree.root, tree.releases, tree.venvs):
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    tree.shared.mkdir(mode=0o750, exist_ok=True)
    shutil.chown(tree.shared, options["user"], options["group"])


def unpack_code(plan: Plan, release: Release) -> None:
    """Lay the code down as root's, readable by the app's group."""
    code = release.path / "code"
    release.path.mkdir(mode=0o751)
    source = sibling_with_same_build(plan, release)
    if plan.options["archive"]:
        archive: Any = tarfile.open(plan.options["archive"], "r:gz")
    elif plan.payload["archive"] is not None:
        archive = tarfile.open(fileobj=io.BytesIO(base64.b64decode(plan.payload["archive"])), mode="r:gz")
    elif source:
        archive = None
        shutil.copytree(source / "code", code, symlinks=True)
    else:
        raise ReleaseError("archive needed")
    if archive:
        with archive:
            # the controller packed it; the name of the filter only quiets newer Pythons
            archive.extractall(code, **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))
    _set_modes(code, grp.getgrnam(plan.options["group"]).gr_gid)


def build_code(plan: Plan, release: Release) -> None:
    """Run the commands that complete the code, and take what they made. Raises ``ReleaseError``."""
    code = release.path / "code"
    run_build_commands(release, plan.options["build_commands"], variables_in(release, plan.payload["environment"]))
    _set_modes(code, grp.getgrnam(plan.options["group"]).gr_gid)


def complete_code(plan: Plan, release: Release) -> None:
    """Link what releases share, let the front read what it serves, and make the directory of the sockets."""
    code = release.path / "code"
    for name in plan.options["shared"]:
        _link_shared(plan, code, name)
    for name in plan.options["static"]:
        _open_to_front(code, name)
    run_directory = release.path / "run"
    run_directory.mkdir()
    # the front's group may pass to the socket in here, and needs no access to anything else
    os.chown(run_directory, pwd.getpwnam(plan.options["user"]).pw_uid, grp.getgrnam(FRONT_ACCOUNT).gr_gid)
    run_directory.chmod(0o710)
    share_unchanged(plan, release)


def share_unchanged(plan: Plan, release: Release) -> None:
    """Make each file that is as in the live release a hard link to the one there, which saves its space and keeps its time.

    Nothing may change a file of a release after this: it would change it in both.
    """
    live = plan.tree.live()
    if not live or not live.is_complete() or live.name == release.name:
        return
    code, old_code, noted = release.path / "code", os.path.realpath(live.path / "code"), live.facts().files
    fresh = release.path / ".link"
    for directory, _names, files in os.walk(code):
        inside = os.path.relpath(directory, code)
        old_directory = os.path.normpath(os.path.join(old_code, inside))
        if os.path.realpath(old_directory) != old_directory:  # below a link, such as to shared/
            continue
        for name in files:
            path = os.path.normpath(os.path.join(inside, name))
            old, new = os.path.join(old_directory, name), os.path.join(directory, name)
            if noted.get(path, "") == plan.payload["manifest"].get(path) and _are_alike(old, new):
                with contextlib.suppress(OSError):  # a file can have only so many names
                    os.link(old, fresh)
                    os.replace(fresh, new)


def _are_alike(old: str, new: str) -> bool:
    """Return whether one file can be in the place of the other. It is looked at itself, because somebody may have edited it on the host."""
    try:
        before, after = os.lstat(old), os.lstat(new)
    except FileNotFoundError:
        return False
    same = [(one.st_mode, one.st_uid, one.st_gid, one.st_size) for one in (before, after)]
    return stat.S_ISREG(after.st_mode) and same[0] == same[1] and filecmp.cmp(old, new, shallow=False)


def sibling_with_same_build(plan: Plan, release: Release) -> Path | None:
    """Another release on the host that holds this code already, so that it need not be sent; none if commands are to complete the code."""
    if plan.options["build_commands"]:
        return None
    for other in plan.tree.complete_releases():
        same = (other.facts().build, other.facts().shared) == (plan.payload["build"], plan.options["shared"])
        if same and other.name != release.name:
            return other.path
    return None


def _link_shared(plan: Plan, code: Path, name: str) -> None:
    inside, outside = code / name, plan.tree.shared / name
    if inside.is_symlink() and os.readlink(inside) == str(outside):
        return
    if inside.is_dir() and not inside.is_symlink():
        if any(path.is_file() and not path.name.startswith(".") for path in inside.rglob("*")):
            raise ReleaseError(f"shared: {name!r} holds files in the source; they would be hidden by the shared directory")
        shutil.rmtree(inside)
    elif os.path.lexists(inside):
        raise ReleaseError(f"shared: {name!r} is a file in the source; only directories are shared")
    if not outside.is_dir():  # made as the account, because it can exchange what is in shared/ for links
        lines = [*sandbox(ReadWritePaths=str(plan.tree.shared)), f"User={plan.options['user']}", f"Group={plan.options['group']}"]
        failed, said = run_in_unit(f"flaskops-{plan.tree.app}-mkdir", ["mkdir", "--mode=0750", "--parents", "--", str(outside)], lines, MKDIR_TIMEOUT)
        if failed != 0:
            raise ReleaseError(f"shared: {name!r} cannot be made in {plan.tree.shared} as {plan.options['user']}", tail(said))
    _reject_way_out(code, inside.parent, f"shared: {name!r}")
    inside.parent.mkdir(parents=True, exist_ok=True)
    inside.symlink_to(outside)


def _reject_way_out(code: Path, path: Path, what: str) -> None:
    """Raise ``ReleaseError`` if a link leads to somewhere else than the code, where an account may be able to exchange paths."""
    if not path.resolve().is_relative_to(code.resolve()):
        raise ReleaseError(f"{what} is below a link to {path.resolve()}, outside of the code")


def _set_modes(code: Path, gid: int) -> None:
    for directory, _names, files in os.walk(code):
        os.chown(directory, 0, gid)
        os.chmod(directory, 0o750)
        for name in files:
            path = os.path.join(directory, name)
            os.chown(path, 0, gid, follow_symlinks=False)
            # the archive carries no times; a new one keeps browsers from taking a changed file for the old one
            os.utime(path, follow_symlinks=False)
            if not os.path.islink(path):
                os.chmod(path, 0o750 if os.stat(path).st_mode & 0o100 else 0o640)


def _open_to_front(code: Path, name: str) -> None:
    top = code / name
    if not top.is_dir():
        raise ReleaseError(f"static: {name!r} is no directory of the source")
    _reject_way_out(code, top, f"static: {name!r}")
    for parent in [top, *top.parents]:
        parent.chmod(parent.stat().st_mode | 0o001)
        if parent == code:
            break
    for path in [top, *top.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def link_venv(plan: Plan, release: Release, name: str, steps: Steps) -> None:
    """Give the release its venv, which is built unless a release before had the same."""
    venv = plan.tree.venvs / name
    there = virtual_environment.is_built(venv)
    with steps.take(f"{'took' if there else 'built'} the virtual environment {name}"):
        if not there:
            virtual_environment.build(plan.options, plan.payload["requirements"], venv, release.path / "code")
        (release.path / ".venv").symlink_to(Path("../../venvs") / name)


def write_settings(plan: Plan, release: Release) -> None:
    """Write the environment for root only, and the server's settings for the account to read."""
    for entry in plan.payload["settings"]:
        path = release.path / entry["dest"]
        write_private(path, in_release(release, entry["content"]))
        shutil.chown(path, "root", plan.options["group"])
        path.chmod(0o640)
    environment = release.path / "environment"
    write_private(environment, environment_file(variables_in(release, plan.environment)))
    if any(one.manager == "apache" for one in plan.instances):  # its daemon process is the account's before any Python runs, and must read it itself
        shutil.chown(environment, "root", plan.options["group"])
        environment.chmod(0o640)
    shutil.chown(release.path, "root", plan.options["group"])


def variables_in(release: Release, variables: dict[str, str]) -> dict[str, str]:
    """An app's variables with its release's path in the one that the controller gives it; the others are the user's, as they are."""
    return {name: in_release(release, value) if name == PYTHON_PATH else value for name, value in variables.items()}


def in_release(release: Release, text: str) -> str:
    """Fill in what settings cannot know when they are rendered, since the name comes from their content."""
    return text.replace("@RELEASE_PATH@", str(release.path)).replace("@RELEASE@", release.name)
