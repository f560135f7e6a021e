# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app's source on the controller: fetched, looked at, named by its content, packed."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote

from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import hide_credentials

LEFT_OUT = {".git", "__pycache__", ".venv", ".tox", ".mypy_cache", ".pytest_cache", ".ruff_cache", "node_modules"}
GIT_URL = re.compile(r"^(?!-)(?:[a-z+]+://|[\w.-]+@[\w.-]+:|.*\.git$)", re.DOTALL)  # a value that begins with - would be one of git's options
GIT_LOGIN = """!printf 'username=%s\\npassword=%s\\n' "$FLASKOPS_GIT_USERNAME" "$FLASKOPS_GIT_PASSWORD"; :"""  # git adds a word to it
GIT_PROTOCOLS = "file:git:http:https:ssh"  # not ext, whose URL is a command
UNPACKED_AT_MOST = 2 << 30  # bytes of a source's files; no app has as many, and a zip bomb has more
FILES_AT_MOST = 200_000  # of a source
HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
SPARSE = "a file in it is sparse, and its list of holes may have any length; pack it without --sparse"
HEADER_AT_MOST = 64 << 10  # bytes of what a tar archive says about a file; Python reads it as a whole
LINK_AT_MOST = 4096  # bytes of the path that a link leads to, as Linux has it
NO_ARCHIVE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, KeyError, ValueError, RuntimeError, NotImplementedError,
)  # fmt: skip


class SourceError(Exception):
    """The source cannot be used; the message says which variable is wrong and what would be right."""


@dataclass(frozen=True)
class Source:
    """A source directory on the controller. ``version`` is the commit if it came from git, else empty."""

    directory: Path
    version: str = ""

    def files(self) -> dict[str, Path]:
        """The files and links that make up the code, by their path in the source, in a fixed order; what is neither is left out.

        Raises ``SourceError`` for a link that leads out of the source.
        """
        found: dict[str, Path] = {}
        for folder, names, files in os.walk(self.directory):
            inside = Path(folder)
            names[:] = sorted(name for name in names if name not in LEFT_OUT and not (inside / name / "pyvenv.cfg").exists())
            links = [name for name in names if (inside / name).is_symlink()]
            for name in sorted(files + links):
                path = inside / name
                if path.suffix == ".pyc" or name == ".DS_Store" or not (path.is_symlink() or path.is_file()):  # nor a socket or a pipe
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
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, filename="", mode="wb", mtime=0) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
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
        return packed.getvalue()


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
            _unpack(path, Path(scratch))
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
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()[:16] + (" executable" if path.stat().st_mode & 0o100 else "")


@dataclass(frozen=True)
class _Member:
    """What an archive says of one path: a directory, a link if it has a target, or a file with its content."""

    name: str
    directory: bool
    link: str
    executable: bool
    open: Callable[[], IO[bytes]]


def _unpack(path: Path, target: Path) -> None:
    """Write an archive's files, and the links after them, so that nothing is written through a link."""
    links, left = {}, UNPACKED_AT_MOST
    try:
        for number, member in enumerate(_members_of_tar(path, target) if _is_tar(path) else _members_of_zip(path)):
            if number == FILES_AT_MOST:
                raise ValueError(f"it has more than {FILES_AT_MOST} files")
            place = _inside(target, member.name)
            (place if member.directory else place.parent).mkdir(parents=True, exist_ok=True)
            if member.link:
                links[place] = member.link
            elif not member.directory:
                with member.open() as content, place.open("wb") as file:
                    left = _copy(content, file, left)
                place.chmod(0o755 if member.executable else 0o644)
        for place, to in links.items():
            if not (place.parent / to).resolve().is_relative_to(target.resolve()):
                raise ValueError(f"{place.relative_to(target)} is a link to {to}, outside of the source")
            place.symlink_to(to)
    except NO_ARCHIVE as error:
        raise SourceError(f"flask_app_source: {path} is no archive that can be unpacked: {error}") from error


class _Header(tarfile.TarInfo):
    """What a tar archive says of a file, if it can be read in little memory."""

    def _proc_member(self, *given: Any) -> tarfile.TarInfo:
        """Raises ``ValueError``."""
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise ValueError(SPARSE)
        if self.type in HEADERS and not 0 <= self.size <= HEADER_AT_MOST:  # a negative one would be read to the end
            raise ValueError(f"a header in it has {self.size} bytes")
        return super()._proc_member(*given)  # type: ignore[misc, no-any-return]

    def _proc_gnusparse_10(self, *_given: Any) -> None:
        """Raises ``ValueError``."""
        raise ValueError(SPARSE)


def _is_tar(path: Path) -> bool:
    try:
        tarfile.open(path, tarinfo=_Header).close()
    except tarfile.ReadError:
        return False
    return True


def _members_of_tar(path: Path, target: Path) -> Iterator[_Member]:
    with tarfile.open(path, tarinfo=_Header) as archive:
        while one := archive.next():
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them, and what they say
            archive.pax_headers.clear()  # type: ignore[attr-defined]
            if one.sparse is not None:
                raise ValueError(SPARSE)
            if not (one.isreg() or one.isdir() or one.issym() or one.islnk()):
                raise tarfile.TarError(f"{one.name} is neither a file nor a directory nor a link")
            yield _Member(one.name, one.isdir(), one.linkname if one.issym() else "", bool(one.mode & 0o100), _opener(archive, one, target))


def _opener(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> Callable[[], IO[bytes]]:
    """What opens a file's content; another name of a file has what was written for the first one."""
    return lambda: _inside(target, member.linkname).open("rb") if member.islnk() else archive.extractfile(member) or io.BytesIO()


def _members_of_zip(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for one in archive.infolist():
            mode = one.external_attr >> 16  # of programs that run on Unix; 0 of others
            link = archive.open(one).read(LINK_AT_MOST).decode() if stat.S_ISLNK(mode) else ""
            yield _Member(one.filename, one.is_dir(), link, bool(mode & 0o100), partial(archive.open, one))


def _inside(target: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name} is outside of the source")
    return target / path


def _copy(content: IO[bytes], file: IO[bytes], at_most: int) -> int:
    """Copy a file, and return how many bytes more may follow."""
    while piece := content.read(min(1 << 20, at_most + 1)):
        at_most -= len(piece)
        if at_most < 0:
            raise ValueError(f"it unpacks to more than {UNPACKED_AT_MOST >> 20} MiB")
        file.write(piece)
    return at_most


def _only_directory(directory: Path) -> Path:
    inside = list(directory.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else directory


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    """The URL without a user's name and password, and variables that give them to git: every account sees the arguments of processes."""
    found = re.match(r"(https?://)([^/\s]*:[^/\s]*)@(.*)", url, re.DOTALL)
    if not found:
        return url, {}
    name, _colon, password = found[2].partition(":")
    return found[1] + found[3], {"FLASKOPS_GIT_USERNAME": unquote(name), "FLASKOPS_GIT_PASSWORD": unquote(password)}


def _fetch(url: str, version: str, target: str) -> str:
    if version.startswith("-"):
        raise SourceError(f"flask_app_version: got {version!r}, needs a branch, a tag or a commit. For example:\n  flask_app_version: v1.2")
    ssh = os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    url, login = _without_login(url)
    environment = {**os.environ, **login, "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": ssh, "GIT_ALLOW_PROTOCOL": GIT_PROTOCOLS}
    command = ["git", "-C", target, "-c", "submodule.recurse=false", "-c", "fetch.recurseSubmodules=false"]
    if login:
        command += ["-c", "credential.helper=", "-c", f"credential.helper={GIT_LOGIN}"]

    def git(*words: str) -> str:
        done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SourceError(hide_credentials(f"flask_app_source: cannot fetch {version!r} of {url}: {done.stderr.strip()}"))
        return done.stdout.strip()

    git("init", "--quiet")
    commit = "FETCH_HEAD"
    try:
        git("fetch", "--quiet", "--depth=1", "--end-of-options", url, version)
    except SourceError:  # a server may reject a bare commit; then fetch all and look for it
        git("fetch", "--quiet", "--tags", "--update-head-ok", "--end-of-options", url, "+refs/heads/*:refs/heads/*")
        commit = git("rev-parse", "--verify", "--end-of-options", f"{version}^{{commit}}")
    _reject_large([*command, "ls-tree", "-r", "-l", "-z", commit])
    git("checkout", "--quiet", "--force", "--detach", commit)
    return git("rev-parse", "HEAD")


def _reject_large(listing: list[str]) -> None:
    """Raise ``SourceError`` if a commit's files are more than any app has: a few objects can stand for any number of them."""
    left, files = UNPACKED_AT_MOST, 0
    with subprocess.Popen(listing, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for entry in _pieces(process.stdout):  # type: ignore[arg-type]
            size = entry.split(b"\t")[0].split()[-1:]
            left, files = left - int(size[0] if size and size[0].isdigit() else 0), files + 1
            if left < 0 or files > FILES_AT_MOST:
                process.kill()
                raise SourceError(f"flask_app_source: the commit has more than {UNPACKED_AT_MOST >> 20} MiB or {FILES_AT_MOST} files")


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """What comes between null bytes."""
    kept = b""
    while read := stream.read(1 << 16):
        *whole, kept = (kept + read).split(b"\0")
        yield from whole
