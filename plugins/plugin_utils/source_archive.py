# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app's source as an archive: unpacked on the controller, whatever it holds."""

from __future__ import annotations

import io
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ansible_collections.flaskops.hosting.plugins.plugin_utils import source_limits as limits
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits import SourceError

HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
SPARSE = "a file in it is sparse, and its list of holes may have any length; pack it without --sparse"
HEADER_AT_MOST = 64 << 10  # bytes of what a tar archive says about a file; Python reads it as a whole
KINDS_OF_TAR = {
    tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.FIFOTYPE: stat.S_IFIFO, tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK,
}  # fmt: skip
ZIP_OF_UNIX, ZIP_UTF8 = 3, 0x800
LINK_AT_MOST = 4096  # bytes of the path that a link leads to, as Linux has it
NO_ARCHIVE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, KeyError, ValueError, RuntimeError, NotImplementedError,
)  # fmt: skip


@dataclass(frozen=True)
class _Member:
    """What an archive says of one path; ``link`` is where a link leads."""

    name: str
    kind: int  # as stat has it
    link: str
    executable: bool
    open: Callable[[], IO[bytes]]


def unpack(path: Path, target: Path, notes: list[str]) -> None:
    """Write an archive's files, and the links after them, so that nothing is written through a link. What else is in it gets a note.

    Raises ``SourceError``.
    """
    links, left = {}, limits.UNPACKED_AT_MOST
    try:
        for number, member in enumerate(_members_of_tar(path, target) if _is_tar(path) else _members_of_zip(path)):
            if number == limits.FILES_AT_MOST:
                raise ValueError(f"it has more than {limits.FILES_AT_MOST} files")
            place = _inside(target, member.name)
            if member.kind in limits.OTHER_KINDS:
                notes.append(f"{member.name:.200} is {limits.OTHER_KINDS[member.kind]}, and is not shipped")
                continue
            (place if member.kind == stat.S_IFDIR else place.parent).mkdir(parents=True, exist_ok=True)
            if member.kind == stat.S_IFLNK:
                links[place] = member.link
            elif member.kind == stat.S_IFREG:
                with member.open() as content, place.open("wb") as file:
                    left = _copy(content, file, left)
                place.chmod(0o755 if member.executable else 0o644)
        for place, to in links.items():
            if not Path(os.path.realpath(place.parent / to)).is_relative_to(target.resolve()):
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
            kind = KINDS_OF_TAR.get(one.type, stat.S_IFREG)  # as tarfile takes a type that it does not know
            yield _Member(one.name, kind, one.linkname, bool(one.mode & 0o100), _opener(archive, one, target))


def _opener(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> Callable[[], IO[bytes]]:
    """What opens a file's content; another name of a file has what was written for the first one."""
    return lambda: _inside(target, member.linkname).open("rb") if member.islnk() else archive.extractfile(member) or io.BytesIO()


def _members_of_zip(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for one in archive.infolist():
            mode = one.external_attr >> 16  # of programs that run on Unix; 0 of others
            kind = stat.S_IFDIR if one.is_dir() else stat.S_IFMT(mode) or stat.S_IFREG
            link = os.fsdecode(archive.open(one).read(LINK_AT_MOST)) if kind == stat.S_IFLNK else ""
            yield _Member(_name_in_zip(one), kind, link, bool(mode & 0o100), partial(archive.open, one))


def _name_in_zip(member: zipfile.ZipInfo) -> str:
    """A name as the file system had it: on Unix it is bytes, and Python reads what is not marked as UTF-8 as DOS would."""
    unmarked = member.create_system == ZIP_OF_UNIX and not member.flag_bits & ZIP_UTF8
    return os.fsdecode(member.orig_filename.encode("cp437")) if unmarked else member.filename


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
            raise ValueError(f"it unpacks to more than {limits.UNPACKED_AT_MOST >> 20} MiB")
        file.write(piece)
    return at_most


def only_directory(directory: Path) -> Path:
    """The directory in which an archive has everything, if there is one; else the given one."""
    inside = list(directory.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink() else directory
