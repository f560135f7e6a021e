"""An app's source as an archive."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import build_name, open_source
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits import SourceError
from ansible_collections.flaskops.hosting.tests.unit.sources import name_of, pack


@pytest.mark.parametrize("kind", ["gztar", "zip", "xztar"])
@pytest.mark.parametrize("top", [True, False])
def test_an_archive_is_the_same_build_as_its_directory(source: Path, tmp_path: Path, kind: str, top: bool) -> None:
    archive = shutil.make_archive(str(tmp_path / "app"), kind, source.parent if top else source, source.name if top else ".")
    with open_source(archive, "") as opened:
        assert build_name(opened.manifest()) == name_of(source)


def test_a_broken_archive_is_rejected(tmp_path: Path) -> None:
    broken = tmp_path / "app.tar.gz"
    broken.write_bytes(b"not an archive")
    with pytest.raises(SourceError, match="app.tar.gz is no archive"):
        with open_source(str(broken), ""):
            pass


def tar_of(place: Path, *members: tuple[str, bytes, str, str]) -> Path:
    """An archive with members that no honest program writes: name, type, content, and where a link leads."""
    with tarfile.open(place, "w") as archive:
        for name, kind, content, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), link
            archive.addfile(member, io.BytesIO(content.encode()))
    return place


@pytest.mark.parametrize(
    "members",
    [
        [("../escaped", tarfile.REGTYPE, "x", "")],
        [("{outside}/escaped", tarfile.REGTYPE, "x", "")],
        [("link", tarfile.SYMTYPE, "", "{outside}"), ("link/escaped", tarfile.REGTYPE, "x", "")],
        [("a", tarfile.SYMTYPE, "", "."), ("a/b", tarfile.SYMTYPE, "", "{outside}"), ("b/escaped", tarfile.REGTYPE, "x", "")],
        [("link", tarfile.SYMTYPE, "", "{outside}/escaped"), ("link", tarfile.REGTYPE, "x", "")],
        [("secret", tarfile.LNKTYPE, "", "{outside}/secret")],
        [("secret", tarfile.LNKTYPE, "", "../outside/secret")],
        [("secret", tarfile.SYMTYPE, "", "{outside}/secret")],
    ],
    ids=["dots", "absolute", "through a link", "through two links", "over a link", "hard link", "hard link with dots", "link"],
)
def test_an_archive_reads_and_writes_nothing_outside_of_its_place(tmp_path: Path, members: list[tuple[str, bytes, str, str]]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("mine")
    there = [tuple(part.format(outside=outside) if isinstance(part, str) else part for part in one) for one in members]
    archive = tar_of(tmp_path / "app.tar", *there)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="flask_app_source: "):
        with open_source(str(archive), "") as opened:
            pack(opened)
    assert [path.name for path in outside.iterdir()] == ["secret"]


def header(kind: bytes, size: int) -> bytes:
    """A tar header without the content that it promises."""
    one = tarfile.TarInfo("name")
    one.type, one.size = kind, size
    return one.tobuf(tarfile.GNU_FORMAT)


SPARSE_MAP = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"


@pytest.mark.parametrize(
    ("begin", "repeated", "said"),
    [
        (header(tarfile.XHDTYPE, 100 << 20), b"\0" * 512, "a header in it has 104857600 bytes"),
        (header(tarfile.XGLTYPE, 100 << 20), b"\0" * 512, "a header in it has 104857600 bytes"),
        (header(tarfile.GNUTYPE_LONGNAME, 100 << 20), b"a" * 512, "a header in it has 104857600 bytes"),
        (header(tarfile.GNUTYPE_LONGLINK, -512), b"a" * 512, "a header in it has -512 bytes"),
        (header(tarfile.GNUTYPE_SPARSE, 0), b"\1" * 512, "is sparse"),
        (
            header(tarfile.XHDTYPE, 44) + SPARSE_MAP.ljust(512, b"\0") + header(tarfile.REGTYPE, 0) + b"99999999\n".ljust(512, b"1"),
            b"1\n" * 256,
            "is sparse",
        ),
        (b"", header(tarfile.DIRTYPE, 0), "it has more than 1000 files"),
    ],
    ids=["pax", "global pax", "long name", "negative", "sparse", "sparse pax", "entries"],
)
def test_a_small_archive_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: bytes, repeated: bytes, said: str) -> None:
    """These have 100 MiB of headers in a few hundred KiB, which Python's tarfile keeps."""
    monkeypatch.setattr("ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits.FILES_AT_MOST", 1000)
    archive = tmp_path / "app.tar.gz"
    with gzip.open(archive, "wb", compresslevel=1) as file:
        file.write(begin)
        for _mebibyte in range(100):
            file.write(repeated * 2048)
    tracemalloc.start()
    with pytest.raises(SourceError, match=f"is no archive that can be unpacked: .*{said}"):
        with open_source(str(archive), ""):
            pass
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_an_archive_that_unpacks_to_more_than_any_app_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits.UNPACKED_AT_MOST", 1 << 20)
    (tmp_path / "app").mkdir()
    with (tmp_path / "app/zeros").open("wb") as zeros:
        zeros.truncate(2 << 20)
    archive = shutil.make_archive(str(tmp_path / "bomb"), kind, tmp_path / "app")
    with pytest.raises(SourceError, match="unpacks to more than 1 MiB"):
        with open_source(archive, ""):
            pass


def test_a_zip_keeps_links_and_executable_files(source: Path, tmp_path: Path) -> None:
    (source / "tool.sh").write_text("#!/bin/sh\n")
    (source / "tool.sh").chmod(0o755)
    (source / "link").symlink_to("main.py")
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        for path in source.rglob("*"):
            if path.is_symlink():
                link = zipfile.ZipInfo("link")
                link.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(link, "main.py")
            else:
                archive.write(path, path.relative_to(source))
    with open_source(str(tmp_path / "app.zip"), "") as opened:
        assert build_name(opened.manifest()) == name_of(source)


def test_what_is_no_file_in_an_archive_is_left_out_with_a_word(tmp_path: Path) -> None:
    archive = tar_of(
        tmp_path / "app.tar",
        ("main.py", tarfile.REGTYPE, "app = None", ""),
        ("run/pipe", tarfile.FIFOTYPE, "", ""),
        ("disk", tarfile.BLKTYPE, "", ""),
        ("console", tarfile.CHRTYPE, "", ""),
    )
    with open_source(str(archive), "") as opened:
        assert list(opened.manifest()) == ["main.py"]
        assert opened.notes == [f"{what}, and is not shipped" for what in ("run/pipe is a pipe", "disk is a device", "console is a device")]


def test_what_is_no_file_in_a_zip_is_left_out_with_a_word(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("main.py", "app = None")
        pipe = zipfile.ZipInfo("pipe")
        pipe.external_attr = (stat.S_IFIFO | 0o644) << 16
        archive.writestr(pipe, "")
    with open_source(str(tmp_path / "app.zip"), "") as opened:
        assert list(opened.manifest()) == ["main.py"] and opened.notes == ["pipe is a pipe, and is not shipped"]


def test_names_of_any_bytes_come_out_of_an_archive(tmp_path: Path) -> None:
    """Programs on Unix write names as they are; only some say that they are UTF-8."""
    (tmp_path / "app").mkdir()
    for name in ("main.py", os.fsdecode(b"caf\xe9.txt"), "\u30da\u30f3.txt"):
        (tmp_path / "app" / name).touch()
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("main.py", "")
        archive.writestr("caf@.txt", "")
        archive.writestr("@@@@@@.txt", "")
    raw = (tmp_path / "app.zip").read_bytes().replace(b"caf@", b"caf\xe9").replace(b"@@@@@@", "\u30da\u30f3".encode())
    (tmp_path / "app.zip").write_bytes(raw)
    tar = shutil.make_archive(str(tmp_path / "app"), "tar", tmp_path / "app")
    for packed in (tar, str(tmp_path / "app.zip")):
        with open_source(packed, "") as opened:
            assert build_name(opened.manifest()) == name_of(tmp_path / "app")
