# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app's source on the controller: what of it is shipped, named by its content, packed."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_archive import only_directory, unpack
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_git import fetch, is_repository
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits import OTHER_KINDS, SourceError
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_work_tree import WorkTree, read_work_tree

LEFT_OUT = {
    ".git", ".hg", ".svn", "__pycache__", ".venv", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache", "node_modules", ".DS_Store",
}  # fmt: skip
LEFT_OUT_UNLESS_TRACKED = {".env"}  # a developer's own settings
VENV_MARKS = ("pyvenv.cfg", "conda-meta")
SMALL = 4 << 20  # bytes of files that are kept in memory, so that they are read once to be hashed and packed
EXECUTABLE = " executable"
COMPRESSION = 6
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\n"


@dataclass(frozen=True)
class Source:
    """A source directory on the controller.

    ``commit`` is known if it came from git, ``fetched`` says that it is a copy of our own, ``exclude`` are patterns of what is not shipped.
    ``notes`` are sentences on what is not shipped and could be missed.
    """

    directory: Path
    commit: str = ""
    fetched: bool = False
    exclude: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    _contents: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def version(self) -> str:
        """The commit, with a mark if what is shipped is not as in it; empty if git does not know the source."""
        if self._tree is None or not self._tree.commit:
            return self.commit
        changed = self._tree.changed or not self._tree.untracked.isdisjoint(self.files())
        return self._tree.commit + ("-dirty" if changed else "")

    def files(self) -> dict[str, Path]:
        """The files and links that make up the code, by their path in the source, in a fixed order.

        Raises ``SourceError`` for a directory that cannot be read.
        """
        return self._files

    def manifest(self) -> dict[str, str]:
        """A short hash of each file's content and executable bit, by its path. Each file is read once.

        Raises ``SourceError`` for a link that leads out of the source, and for a file that cannot be read or is not the file itself.
        """
        return self._marks

    def require(self, names: list[str]) -> None:
        """Raise ``SourceError`` if a file with requirements is not shipped."""
        for name in names:
            found = os.path.relpath(os.path.realpath(self.directory / name), os.path.realpath(self.directory))
            if found not in self.files():
                raise SourceError(f"flask_app_requirements: {name} is not shipped, because .gitignore or flask_app_exclude names it")

    def pack(self, target: IO[bytes]) -> None:
        """Write the code as a gzipped tar archive, the same bytes for the same content.

        Raises ``SourceError`` if a file is not as in the manifest any more.
        """
        with gzip.GzipFile(fileobj=target, filename="", mode="wb", compresslevel=COMPRESSION, mtime=0) as stream:
            with tarfile.open(fileobj=stream, mode="w") as archive:
                for name, mark in self.manifest().items():
                    self._pack_file(archive, name, mark)
                    archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them

    @functools.cached_property
    def is_small(self) -> bool:
        """Whether the code is small enough to be kept in memory and sent without asking first."""
        return sum(path.lstat().st_size for path in self.files().values()) <= SMALL

    @functools.cached_property
    def _tree(self) -> WorkTree | None:
        return None if self.fetched else read_work_tree(self.directory, self.notes)

    @functools.cached_property
    def _files(self) -> dict[str, Path]:
        listed = self._tree.tracked | self._tree.untracked if self._tree else None
        directories = {parent for name in listed for parent in _parents(name)} if listed is not None else None
        found: dict[str, Path] = {}
        for folder, names, files in os.walk(self.directory, onerror=_reject_unreadable):
            inside = os.path.relpath(folder, self.directory)
            wanted = {os.path.normpath(os.path.join(inside, name)): Path(folder, name) for name in sorted(names + files) if name not in LEFT_OUT}
            names.clear()  # but for those that are gone into
            for name, path in wanted.items():
                kind = stat.S_IFMT(path.lstat().st_mode)
                if self._is_excluded(name) or (kind != stat.S_IFREG and any(os.path.exists(path / mark) for mark in VENV_MARKS)):
                    continue
                if kind == stat.S_IFDIR:
                    if directories is None or name in directories:
                        names.append(path.name)
                elif kind in OTHER_KINDS:
                    self.notes.append(f"{name} is {OTHER_KINDS[kind]}, and is not shipped")
                elif path.suffix == ".pyc" or (path.name in LEFT_OUT_UNLESS_TRACKED and not self._is_tracked(name)):
                    continue
                elif listed is None or name in listed:
                    found[name] = path
        return found

    @functools.cached_property
    def _marks(self) -> dict[str, str]:
        try:
            return {name: self._mark(name, path) for name, path in self.files().items()}
        except OSError as error:
            raise SourceError(f"flask_app_source: {error.filename} cannot be read: {error.strerror}") from error

    def _mark(self, name: str, path: Path) -> str:
        if path.is_symlink():
            return f"link {self._target(path)}"
        with self._open(name) as content:
            hashed = _Hashed(content)
            begin = hashed.read(len(LFS_POINTER))
            if begin == LFS_POINTER:
                raise SourceError(
                    f"flask_app_source: {name} is not the file itself but a pointer of Git LFS. Install git-lfs on this machine; in a clone, run "
                    "git lfs pull too"
                )
            while hashed.read(1 << 20):
                pass
        return hashed.mark(path)

    def _target(self, path: Path) -> str:
        """Where a link leads, as it is if that means the same on the host, else without what is outside of the source.

        Raises ``SourceError`` if it leads out of the source.
        """
        link, place = os.readlink(path), os.path.realpath(path.parent)
        steps = [os.path.join(place, *link.split("/")[:length]) for length in range(1, link.count("/") + 2)]
        if not link.startswith("/") and all(self._is_inside(step) for step in steps):
            return link
        if not self._is_inside(os.path.join(place, link)):
            raise SourceError(f"flask_app_source: {path} is a link to {link}, outside of the source")
        return os.path.relpath(os.path.realpath(os.path.join(place, link)), place)

    def _is_inside(self, path: str) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.directory))

    def _is_tracked(self, name: str) -> bool:
        return bool(self.commit) or (self._tree is not None and name in self._tree.tracked)

    def _is_excluded(self, name: str) -> bool:
        return any(_matches(name.split("/"), pattern.strip("/").split("/")) for pattern in self.exclude)

    def _open(self, name: str) -> IO[bytes]:
        """Open a file; a small source's files are read once."""
        if not self.is_small:
            return self.files()[name].open("rb")
        if name not in self._contents:
            self._contents[name] = self.files()[name].read_bytes()
        return io.BytesIO(self._contents[name])

    def _pack_file(self, archive: tarfile.TarFile, name: str, mark: str) -> None:
        member = tarfile.TarInfo(name)
        member.mode = 0o755 if mark.endswith(EXECUTABLE) else 0o644
        if mark.startswith("link "):
            member.type, member.linkname = tarfile.SYMTYPE, mark.partition(" ")[2]
            archive.addfile(member)
            return
        path = self.files()[name]
        try:
            with self._open(name) as content:
                member.size = content.seek(0, os.SEEK_END)
                content.seek(0)
                hashed = _Hashed(content)
                archive.addfile(member, hashed)  # type: ignore[arg-type]  # it only reads
            packed = hashed.mark(path)
        except OSError as error:
            packed = str(error)
        if packed != mark:
            raise SourceError(f"flask_app_source: {path} was changed while it was packed; run this again")


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, content: IO[bytes]) -> None:
        self.content, self.digest = content, hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Read on."""
        piece = self.content.read(size)
        self.digest.update(piece)
        return piece

    def mark(self, path: Path) -> str:
        """What the manifest says of a file with this content."""
        return self.digest.hexdigest()[:16] + (EXECUTABLE if path.stat().st_mode & 0o100 else "")


def build_name(manifest: dict[str, str]) -> str:
    """The name of the build that has these files: the same code has the same name, however it came."""
    lines = "".join(f"{name}\0{mark}\n" for name, mark in sorted(manifest.items()))
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


@contextlib.contextmanager
def open_source(given: str, version: str, exclude: Sequence[str] = ()) -> Iterator[Source]:
    """Give access to a directory, an archive or a git repository as a directory, for the length of a ``with`` block.

    Raises ``SourceError`` if there is no such thing, or it cannot be fetched or unpacked.
    """
    path, notes = Path(given).expanduser(), list[str]()
    if path.is_dir() and not is_repository(given):
        yield Source(path, exclude=tuple(exclude))
        return
    with tempfile.TemporaryDirectory(prefix="flaskops-source-") as scratch:
        directory, commit = Path(scratch), ""
        if is_repository(given):
            commit = fetch(given, version, directory, notes)
        elif path.is_file():
            unpack(path, directory, notes)
            directory = only_directory(directory)
        else:
            raise SourceError(
                f"flask_app_source: got {given!r}, needs a directory, an archive or a git URL. For example:\n"
                "  flask_app_source: /home/me/shop\n  flask_app_source: https://git.example.com/me/shop.git"
            )
        yield Source(directory, commit, fetched=True, exclude=tuple(exclude), notes=notes)


def _parents(name: str) -> Iterator[str]:
    """The directories that a path is in."""
    while name := os.path.dirname(name):
        yield name


def _matches(path: list[str], pattern: list[str]) -> bool:
    """Whether a pattern stands for a path: ``*`` within a name, ``**`` for any directories."""
    if not path or not pattern:
        return path == pattern
    if pattern[0] == "**":
        return len(pattern) == 1 or _matches(path, pattern[1:]) or _matches(path[1:], pattern)
    return fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])


def _reject_unreadable(error: OSError) -> None:
    raise SourceError(f"flask_app_source: {error.filename} cannot be read: {error.strerror}")
