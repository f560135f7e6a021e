# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app's source as a git repository: fetched to the controller with its submodules, without running anything that it brings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import hide_credentials
from ansible_collections.flaskops.hosting.plugins.plugin_utils import source_limits as limits
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits import SourceError

REMOTE = r"(?!-)(?:[a-z+]+://|(?:[\w.-]+@)?[\w.-]+:)"  # a value that begins with - would be one of git's options
GIT_URL = re.compile(rf"^(?:{REMOTE}|(?!-).*\.git$)", re.DOTALL)
LOGIN = """!printf 'username=%s\\npassword=%s\\n' "$FLASKOPS_GIT_USERNAME" "$FLASKOPS_GIT_PASSWORD"; :"""  # git adds a word to it
PROTOCOLS = "git:http:https:ssh"  # not ext, whose URL is a command
REPOSITORIES_AT_MOST = 100  # a source with its submodules, and theirs
# Hooks, filters and the like are what the user's own configuration names, and never by a path in the source.
SAFE = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "submodule.recurse=false", "-c", "fetch.recurseSubmodules=false"]
POINTERS = ["-c", "filter.lfs.process=", "-c", "filter.lfs.smudge=", "-c", "filter.lfs.required=false"]  # their files are fetched all at once
# What says where a repository is; it is set if a hook of git has started the playbook.
PLACES = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX"}


@dataclass
class _Left:
    """What a source and its submodules may still have together."""

    bytes: int = field(default_factory=lambda: limits.UNPACKED_AT_MOST)
    files: int = field(default_factory=lambda: limits.FILES_AT_MOST)
    repositories: int = field(default_factory=lambda: REPOSITORIES_AT_MOST)


def is_repository(given: str) -> bool:
    """Return whether a source is one that git fetches: a URL, a bare repository, or the ``.git`` of a work tree."""
    path = Path(given).expanduser()
    if path.is_dir():
        return (path / "HEAD").is_file() and (path / "objects").is_dir()
    return path.name == ".git" or (GIT_URL.search(given) is not None and not path.is_file())


def git_environment() -> dict[str, str]:
    """The environment that git is run with: it asks for nothing, and goes by no repository but the one that is named."""
    ssh = os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    kept = {name: value for name, value in os.environ.items() if name not in PLACES}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": ssh}


def fetch(url: str, version: str, target: Path, notes: list[str]) -> str:
    """Check out a version of a repository, with its submodules, and return the commit. What cannot be is noted.

    Raises ``SourceError``.
    """
    if version.startswith("-"):
        raise SourceError(f"flask_app_version: got {version!r}, needs a branch, a tag or a commit. For example:\n  flask_app_version: v1.2")
    path = Path(url).expanduser()
    local = path.exists() or url.startswith("file://")
    # a repository on another machine may not name one on this machine as its submodule
    protocols = f"file:{PROTOCOLS}" if local else PROTOCOLS
    return _Repository(str(path.absolute()) if path.exists() else url, target.resolve(), protocols).check_out(version, _Left(), notes)


class _Repository:
    """A repository on this machine that takes what ``url`` has."""

    def __init__(self, url: str, directory: Path, protocols: str) -> None:
        self.given, self.directory, self.protocols = url, directory, protocols
        self.url, login = _without_login(url)
        self.environment = {**git_environment(), **login, "GIT_ALLOW_PROTOCOL": protocols}
        self.command = ["git", "-C", str(directory), *SAFE]
        if login:  # for its own server only: a submodule, a redirect or a LFS file may be on another one
            server = "/".join(self.url.split("/")[:3])
            self.command += ["-c", f"credential.{server}.helper=", "-c", f"credential.{server}.helper={LOGIN}"]

    def check_out(self, version: str, left: _Left, notes: list[str]) -> str:
        """Check out a version and return its commit. Raises ``SourceError``."""

        def git(*words: str) -> str:
            done = subprocess.run([*self.command, *words], env=self.environment, capture_output=True, check=False)
            if done.returncode:
                said = os.fsdecode(done.stderr).strip()
                raise SourceError(hide_credentials(f"flask_app_source: cannot fetch {version!r} of {self.url}: {said}"))
            return os.fsdecode(done.stdout)

        git("init", "--quiet")
        commit = "FETCH_HEAD"
        try:
            git("fetch", "--quiet", "--depth=1", "--end-of-options", self.url, version)
        except SourceError as error:  # a server may reject a bare commit, and knows no main~1; then fetch all and look for it
            git("fetch", "--quiet", "--tags", "--update-head-ok", "--end-of-options", self.url, "+refs/heads/*:refs/heads/*")
            if version.startswith("HEAD"):
                git("fetch", "--quiet", "--end-of-options", self.url, "HEAD")
                git("update-ref", "--no-deref", "HEAD", "FETCH_HEAD")
            try:
                commit = git("rev-parse", "--verify", "--end-of-options", f"{version}^{{commit}}").strip()
            except SourceError:
                raise error from None
        submodules = self._submodules(commit, left)
        git(*POINTERS, "checkout", "--quiet", "--force", "--detach", commit)
        if submodules:
            noted = git("config", "--blob", f"{commit}:.gitmodules", "-z", "--list") if os.path.lexists(self.directory / ".gitmodules") else ""
            self._check_out_submodules(submodules, dict(_urls(noted)), left, notes)
        if shutil.which("git-lfs") and git("ls-files", "-z", ":(attr:filter=lfs)"):
            git("config", "remote.origin.url", self.url)
            git("lfs", "install", "--local", "--skip-repo")
            git("lfs", "pull")
        return git("rev-parse", "HEAD").strip()

    def _submodules(self, commit: str, left: _Left) -> dict[str, str]:
        """A commit's submodules: the commit of each, by its path.

        Raises ``SourceError`` if the files are more than any app has: a few objects can stand for any number of them.
        """
        found = {}
        with subprocess.Popen(
            [*self.command, "ls-tree", "-r", "-l", "-z", commit], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            for entry in _pieces(process.stdout):  # type: ignore[arg-type]
                about, _tab, path = entry.partition(b"\t")
                mode, _kind, name, size = about.split()
                left.bytes, left.files = left.bytes - int(size if size.isdigit() else 0), left.files - 1
                if mode == b"160000":
                    left.repositories -= 1
                    found[os.fsdecode(path)] = name.decode()
                if left.bytes < 0 or left.files < 0 or left.repositories < 1:
                    process.kill()
                    raise SourceError(
                        f"flask_app_source: the commit has more than {limits.UNPACKED_AT_MOST >> 20} MiB, {limits.FILES_AT_MOST} files "
                        f"or {REPOSITORIES_AT_MOST} submodules"
                    )
        return found

    def _check_out_submodules(self, commits: dict[str, str], urls: dict[str, str], left: _Left, notes: list[str]) -> None:
        for path, commit in commits.items():
            place, url = self.directory / path, urls.get(path)
            if url is None:
                notes.append(f"{path} is a submodule without a URL in .gitmodules, and is not shipped")
                continue
            if os.path.realpath(place) != str(place) or list(place.iterdir()):
                raise SourceError(f"flask_app_source: the submodule {path} is not in a directory of its own")
            if url.startswith(("./", "../")):
                url = _beside(self.given, url)
            elif not re.match(rf"{REMOTE}|/", url):
                raise SourceError(f"flask_app_source: the submodule {path} has the URL {url!r}, which git cannot fetch")
            _Repository(url, place, self.protocols).check_out(commit, left, notes)


def _urls(noted: str) -> Iterator[tuple[str, str]]:
    """The path and the URL of each submodule in what git reads from .gitmodules."""
    entries = dict(entry.split("\n", 1) for entry in noted.split("\0") if "\n" in entry)
    for key, path in entries.items():
        name, _dot, variable = key.rpartition(".")
        if key.startswith("submodule.") and variable == "path" and f"{name}.url" in entries:
            yield path, entries[f"{name}.url"]


def _beside(url: str, relative: str) -> str:
    """The URL of a submodule that is noted relative to its repository's, such as ``../lib.git``."""
    base = url.rstrip("/")
    while relative.startswith(("./", "../")):
        up, _slash, relative = relative.partition("/")
        if up == "..":
            base = re.sub(r"(?:/[^/]*|(?<=:)[^/:]*)$", "", base)
    return f"{base}{relative}" if base.endswith(":") else f"{base}/{relative}"


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    """The URL without a user's name and password, and variables that give them to git: every account sees the arguments of processes.

    Raises ``SourceError`` if what follows them is no server.
    """
    found = re.match(r"(https?://)([^/\s]*:[^/\s]*)@([^/]*)(.*)", url, re.DOTALL)
    if not found:
        return url, {}
    if not re.fullmatch(r"[\w.:\[\]-]+", found[3]):
        raise SourceError(hide_credentials(f"flask_app_source: got {url!r}, which names no server"))
    name, _colon, password = found[2].partition(":")
    return found[1] + found[3] + found[4], {"FLASKOPS_GIT_USERNAME": unquote(name), "FLASKOPS_GIT_PASSWORD": unquote(password)}


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """What comes between null bytes."""
    kept = b""
    while read := stream.read(1 << 16):
        *whole, kept = (kept + read).split(b"\0")
        yield from whole
