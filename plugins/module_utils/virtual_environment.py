# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build the virtual environment that all releases with the same requirements share."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.build_failure import cause
from ansible_collections.flaskops.hosting.plugins.module_utils.command import MEBIBYTE, remove_tree, tail, write_to_disk
from ansible_collections.flaskops.hosting.plugins.module_utils.index_logins import without_logins
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import ReleaseError
from ansible_collections.flaskops.hosting.plugins.module_utils.transient_unit import as_build, give_to_root, run_in_unit
from ansible_collections.flaskops.hosting.plugins.module_utils.uv import environment, uv

COMPLETE_MARK = "complete"
CACHE = ".cache"  # of uv, in the venv, where it can link what it has unpacked; it goes when the venv is built
HOMES = "/run"
WORK = "/var/tmp/source"  # a copy of what the build needs of the source, which it may write in; the unit's own, and on the disk
BUILD_TIMEOUT = 900  # seconds; compiling uWSGI on a small host takes minutes
LITTLE_SPACE = 64  # MiB; a venv with a framework and a server takes about as many
NAMED = re.compile(r"([\w.-]+)\s*(\[[^\]]*\])?")  # a requirement's name and extras
DISTRIBUTION = re.compile(r"(.+)-([^-]+)\.dist-info")


def is_built(venv: Path) -> bool:
    """Return whether this venv was built to its end."""
    return (venv / COMPLETE_MARK).exists()


def build(options: dict[str, Any], requirements: dict[str, Any], venv: Path, source: Path) -> None:
    """Make a venv with what the app in ``source`` requires, and then what its server does; built by an account of the build's own, then root's.

    Raises ``ReleaseError``, and leaves nothing behind then.
    """
    remove_tree(venv)
    venv.mkdir(mode=0o755)
    try:
        _Build(options, venv, source).run(requirements)
    except ReleaseError:
        remove_tree(venv)
        raise
    write_to_disk(venv)
    (venv / COMPLETE_MARK).touch()


def installed_in(venv: Path) -> dict[str, str]:
    """The distributions in a venv and their versions."""
    found = (DISTRIBUTION.fullmatch(path.name) for path in venv.glob("lib/python*/site-packages/*.dist-info"))
    return {one[1].lower().replace("_", "-"): one[2] for one in found if one}


class _Build:
    """What the steps of a build have in common."""

    def __init__(self, options: dict[str, Any], venv: Path, source: Path) -> None:
        self.options, self.venv, self.source = options, venv, source
        self.unit = f"flaskops-{options['app']}-build"
        self.home = f"{HOMES}/{self.unit}"
        self.uv = str(uv())

    def run(self, requirements: dict[str, Any]) -> None:
        """Make the venv, with the app's packages and the server's in steps of their own, since one of them may have hashes alone."""
        make = [self.uv, "venv", "--quiet", "--allow-existing", "--no-project", f"--python={self.options['python']}", str(self.venv)]
        self._take_step([make, *self._app_step(requirements)], self._files(requirements), "the app's packages")
        installed = installed_in(self.venv)
        server = _as_the_app_has_it(self.options["server_requirements"], self.options["server_minimum"], installed)
        if server:  # it changes nothing that the app has
            frozen = "".join(f"{name}=={version}\n" for name, version in installed.items())
            install = [*self._install(), f"--constraint={self.home}/installed.txt", *server]
            self._take_step([install], {"installed.txt": frozen}, f"the server's packages ({', '.join(server)})")
        remove_tree(self.venv / CACHE)

    def _install(self) -> list[str]:
        return [self.uv, "pip", "install", "--quiet", f"--python={self.venv}/bin/python"]

    def _app_step(self, wanted: dict[str, Any]) -> list[list[str]]:
        """The commands that install what the app requires."""
        if not wanted["file"]:
            return []
        name = Path(wanted["file"])
        # coreutils in Rust do not copy a directory with --no-target-directory
        take = [["cp", "--recursive", f"{self.source}/.", WORK]] if wanted["whole"] else []
        go = [["mkdir", WORK], *take, ["cd", WORK]]
        if name.suffix == ".lock":
            sync = [self.uv, "sync", "--quiet", "--frozen", "--no-dev", "--no-editable", f"--python={self.venv}/bin/python"]
            return [*go, *self._hand_over(wanted), ["cd", str(name.parent)], ["export", f"UV_PROJECT_ENVIRONMENT={self.venv}"], sync]
        if name.name == "pyproject.toml":
            what = ["."] if wanted["builds"] else ["--requirement", name.name]
            return [*go, *self._hand_over(wanted), ["cd", str(name.parent)], [*self._install(), *what]]
        if name.suffix == ".toml":
            return [*go, *self._hand_over(wanted), [*self._install(), "--preview-features=pylock", "--requirement", str(name)]]
        given = [f"--requirement={self.home}/requirements.txt", f"--constraint={self.home}/constraints.txt"]
        return [*go, [*self._install(), *given, *wanted["arguments"]]]

    def _hand_over(self, wanted: dict[str, Any]) -> list[list[str]]:
        """The commands that lay the project's own files where they are in the source, unless all of it is there."""
        if wanted["whole"]:
            return []
        places = {str(Path(one).parent) for one in wanted["files"]}
        return [["mkdir", "--parents", *places], *(["cp", str(self.source / one), one] for one in wanted["files"])]

    def _files(self, wanted: dict[str, Any]) -> dict[str, str]:
        """What is in the build's home."""
        texts = {
            f"{name}.txt": "".join(f"{line}\n" for line in wanted[key]) for name, key in (("requirements", "lines"), ("constraints", "constraints"))
        }
        return without_logins(texts)

    def _take_step(self, commands: list[list[str]], files: dict[str, str], what: str) -> None:
        script = " && ".join(map(shlex.join, commands)) + "; exit $?"
        with tempfile.TemporaryDirectory(prefix="flaskops-build-") as directory:
            for name, text in {**files, "environment": environment()}.items():
                with open(
                    os.open(Path(directory) / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", errors="surrogateescape"
                ) as file:
                    file.write(text)
            code, output = run_in_unit(self.unit, [], self._lines(directory), BUILD_TIMEOUT, script=script)
        give_to_root(self.venv)
        if code != 0:
            raise self._failure(code, output, what)

    def _lines(self, files: str) -> list[str]:
        """The lines of the unit that builds: an account that exists while the unit runs, and sees nothing of the app but its code.

        Its home is a directory that systemd gives it, with a copy of the ``files``.
        """
        root, home = self.venv.parent.parent, self.home
        return [
            *as_build(self.unit, root, self.source, self.venv, SupplementaryGroups=self.options["group"]),  # which may read the code
            f"ExecStartPre=+/bin/cp --recursive {files}/. {home}",
            f"ExecStartPre=+/bin/chown --recursive --reference={home} {home} {self.venv}",
            f"WorkingDirectory={self.source}",
            f"EnvironmentFile={files}/environment",
            f"Environment=HOME={home}",
            f"Environment=UV_CACHE_DIR={self.venv}/{CACHE}",
        ]

    def _failure(self, code: int | None, output: str, what: str) -> ReleaseError:
        reason = f"{what} took more than {BUILD_TIMEOUT} s" if code is None else f"{what}: {cause(output)}"
        free = shutil.disk_usage(self.venv).free // MEBIBYTE
        if free < LITTLE_SPACE:  # not every tool says so by itself
            reason += f" ({free} MiB are free at {self.venv.parent})"
        return ReleaseError(f"the venv cannot be built: {reason}", tail(output))


def _as_the_app_has_it(wanted: list[str], minimum: dict[str, str], installed: dict[str, str]) -> list[str]:
    """What is to be installed for the server: if the app requires one of these itself, its version is taken.

    Raises ``ReleaseError`` for one that is older than the ``minimum``, which says how old it may be.
    """
    left = []
    for requirement in wanted:
        name, extras = NAMED.match(requirement).groups()  # type: ignore[union-attr]
        version = installed.get(name.lower().replace("_", "-"))
        least = minimum.get(name, "")
        if version and _parts(version) < _parts(least):
            raise ReleaseError(
                f"the app requires {name} {version}, and the release's settings need {name} {least} or newer; require that, "
                f"or nothing, and the role installs {requirement}"
            )
        if version is None:
            left.append(requirement)
        elif extras:
            left.append(f"{name}{extras}=={version}")
    return left


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]
