# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app's source on the controller: fetched, looked at, named by its content, packed."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LEFT_OUT = {".git", "__pycache__", ".venv", ".tox", ".mypy_cache", ".pytest_cache", ".ruff_cache", "node_modules"}
GIT_URL = re.compile(r"^(?:[a-z+]+://|[\w.-]+@[\w.-]+:)|\.git$")


class SourceError(Exception):
    """The source cannot be used; the message says which variable is wrong and what would be right."""


@dataclass(frozen=True)
class Source:
    """A source directory on the controller. ``version`` is the commit if it came from git, else empty."""

    directory: Path
    version: str = ""

    def files(self) -> dict[str, Path]:
        """The files and links that make up the code, by their path in the source, in a fixed order.

        Raises ``SourceError`` for a link that leads out of the source.
        """
        found: dict[str, Path] = {}
        for folder, names, files in os.walk(self.directory):
            inside = Path(folder)
            names[:] = sorted(name for name in names if name not in LEFT_OUT and not (inside / name / "pyvenv.cfg").exists())
            links = [name for name in names if (inside / name).is_symlink()]
            for name in sorted(files + links):
                path = inside / name
                if path.suffix == ".pyc" or name == ".DS_Store":
                    continue
                if path.is_symlink() and not path.resolve().is_relative_to(self.directory.resolve()):
                    raise SourceError(f"flask_app_source: {path} is a link to {os.readlink(path)}, outside of the source")
                found[str(path.relative_to(self.directory))] = path
        return found

    def manifest(self) -> dict[str, str]:
        """A short hash of each file's content and executable bit, by its path."""
        return {name: _fingerprint(path) for name, path in self.files().items()}

    def pack(self) -> bytes:
        """The code as a gzipped tar archive, the same bytes for the same content."""
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            for name, path in self.files().items():
                member = archive.gettarinfo(str(path), name)
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                member.mode = 0o755 if member.mode & 0o100 else 0o644
                member.mtime = 0
                if member.islnk():  # two names of one file travel as two files
                    member.type, member.size = tarfile.REGTYPE, path.stat().st_size
                if member.isreg():
                    with open(path, "rb") as handle:
                        archive.addfile(member, handle)
                else:
                    archive.addfile(member)
        return gzip.compress(raw.getvalue(), mtime=0)

    def requirements_text(self, name: str, seen: frozenset[str] = frozenset()) -> str:
        """A requirements file with what it includes, and the whole code's name if it installs the code itself.

        Raises ``SourceError`` if the file is not there.
        """
        if not name:
            return ""
        path = self.directory / name
        if not path.is_file():
            raise SourceError(
                f"flask_app_requirements: got {name!r}, which is no file in {self.directory}. Add it there, or for an app that "
                "needs nothing:\n  flask_app_requirements: ''"
            )
        text = path.read_text(encoding="utf-8")
        for line in text.splitlines():
            included = re.match(r"\s*(?:-r|-c|--requirement|--constraint)[ =]\s*(\S+)", line)
            if included and included[1] not in seen:
                inner = os.path.normpath(os.path.join(os.path.dirname(name), included[1]))
                text += self.requirements_text(inner, seen | {name, inner})
            if re.match(r"\s*(?:-e\s|\.)", line):
                text += f"# {build_name(self.manifest())}\n"
        return text


def build_name(manifest: dict[str, str]) -> str:
    """The name of the build that has these files: the same code has the same name, however it came."""
    return hashlib.sha256("".join(f"{name}\0{mark}\n" for name, mark in sorted(manifest.items())).encode()).hexdigest()


@contextlib.contextmanager
def open_source(given: str, version: str) -> Iterator[Source]:
    """Give access to a directory, an archive or a git repository as a directory, for the length of a ``with`` block.

    Raises ``SourceError`` if there is no such thing, or it cannot be fetched or unpacked.
    """
    path = Path(given).expanduser()
    if path.is_dir() and not (GIT_URL.search(given) and (path / "HEAD").is_file()):
        yield Source(path)
        return
    with tempfile.TemporaryDirectory(prefix="flaskops-source-") as scratch:
        if path.is_file():
            _unpack(path, scratch)
            yield Source(_only_directory(Path(scratch)))
        elif GIT_URL.search(given):
            yield Source(Path(scratch), _fetch(given, version, scratch))
        else:
            raise SourceError(
                f"flask_app_source: got {given!r}, needs a directory, an archive or a git URL. For example:\n"
                "  flask_app_source: /home/me/shop\n  flask_app_source: https://git.example.com/me/shop.git"
            )


def _fingerprint(path: Path) -> str:
    if path.is_symlink():
        return "link " + os.readlink(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return digest + (" executable" if path.stat().st_mode & 0o100 else "")


def _unpack(path: Path, target: str) -> None:
    try:
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                _extract(archive, target)
        else:
            shutil.unpack_archive(str(path), target)
    except (tarfile.TarError, shutil.ReadError, ValueError, OSError) as error:
        raise SourceError(f"flask_app_source: {path} is no archive that can be unpacked: {error}") from error


def _extract(archive: tarfile.TarFile, target: str) -> None:
    if hasattr(tarfile, "data_filter"):
        archive.extractall(target, filter="data")
        return
    for member in archive.getmembers():  # Pythons before 3.10.12 and 3.11.4 have no filter
        inside = not os.path.isabs(member.name) and ".." not in Path(member.name).parts
        if not inside or not (member.isfile() or member.isdir() or member.issym()):
            raise tarfile.TarError(f"{member.name} would not be a plain file in the source")
    archive.extractall(target)


def _only_directory(directory: Path) -> Path:
    inside = list(directory.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else directory


def _fetch(url: str, version: str, target: str) -> str:
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")}

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", target, *words], env=quiet, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SourceError(f"flask_app_source: cannot fetch {version!r} of {url}: {done.stderr.strip()}")
        return done.stdout.strip()

    git("init", "--quiet")
    try:
        git("fetch", "--quiet", "--depth=1", url, version)
    except SourceError:  # a server may reject a bare commit; then fetch all and look for it
        git("fetch", "--quiet", "--tags", url, "+refs/heads/*:refs/heads/*")
        git("update-ref", "FETCH_HEAD", version)
    git("checkout", "--quiet", "--force", "FETCH_HEAD")
    return git("rev-parse", "HEAD")
