"""An app's source on the controller."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import Source, build_name, open_source
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits import SourceError
from ansible_collections.flaskops.hosting.tests.unit.sources import git, name_of, pack, readings


def test_the_same_content_has_the_same_name_at_any_place_and_time(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(source, copy)
    os.utime(copy / "main.py", (1, 1))
    assert name_of(copy) == name_of(source)
    assert pack(Source(copy)) == pack(Source(source))


@pytest.mark.parametrize("change", ["content", "name", "executable bit", "new file"])
def test_any_change_gives_another_name(source: Path, change: str) -> None:
    before = name_of(source)
    main = source / "main.py"
    changes: dict[str, Callable[[], object]] = {
        "content": lambda: main.write_text("app = 1\n"),
        "name": lambda: main.rename(source / "serve.py"),
        "executable bit": lambda: main.chmod(0o755),
        "new file": (source / "new.py").touch,
    }
    changes[change]()
    assert name_of(source) != before


def test_caches_venvs_and_git_are_left_out(source: Path) -> None:
    before = name_of(source)
    for name in (".git/config", "__pycache__/main.cpython-311.pyc", "pkg.pyc", "ENV/pyvenv.cfg", "ENV/bin/python", ".venv/x"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("x")
    assert name_of(source) == before


def test_a_link_inside_is_kept_and_one_that_leads_out_is_rejected(source: Path) -> None:
    (source / "inside").symlink_to("main.py")
    assert Source(source).manifest()["inside"] == "link main.py"
    (source / "outside").symlink_to("/etc/passwd")
    with pytest.raises(SourceError, match="outside is a link to /etc/passwd"):
        Source(source).manifest()


@pytest.mark.parametrize("link", ["{source}/static/style.css", "../source/static/style.css", "static/../../source/static/style.css"])
def test_a_link_by_the_sources_own_place_means_the_same_on_a_host(source: Path, link: str) -> None:
    """There, the source is elsewhere."""
    (source / "static/deep").mkdir()
    (source / "style.css").symlink_to(link.format(source=source))
    (source / "static/deep/style.css").symlink_to(f"{source}/static/style.css")
    found = Source(source)
    assert found.manifest()["style.css"] == "link static/style.css"
    with tarfile.open(fileobj=io.BytesIO(pack(found))) as archive:
        assert archive.getmember("style.css").linkname == "static/style.css"
        assert archive.getmember("static/deep/style.css").linkname == "../style.css"


@pytest.mark.parametrize("link", ["nowhere", "self", "static/../main.py", "lib/style.css", "./main.py"])
def test_a_link_that_stays_inside_is_shipped_as_it_is(source: Path, link: str) -> None:
    """Also one that leads nowhere, or to itself."""
    (source / "lib").symlink_to("static")
    (source / "self").symlink_to(link)
    assert Source(source).manifest()["self"] == f"link {link}"


def content_of(archive: tarfile.TarFile, name: str) -> bytes:
    """What a file in the archive holds."""
    file = archive.extractfile(name)
    assert file
    return file.read()


def test_names_and_contents_of_any_script_travel_byte_for_byte(source: Path) -> None:
    (source / "ペン.txt").write_bytes("値段 100 円\n".encode())
    (source / "привет 🐙.txt").write_bytes(b"\xff\x00\xfe")
    with tarfile.open(fileobj=io.BytesIO(pack(Source(source)))) as archive:
        assert content_of(archive, "ペン.txt") == "値段 100 円\n".encode()
        assert content_of(archive, "привет 🐙.txt") == b"\xff\x00\xfe"
        assert all((member.uid, member.uname, member.mtime) == (0, "", 0) for member in archive)


def test_names_of_any_bytes_travel(source: Path) -> None:
    """Linux has names of bytes. What the host gets is JSON, and a tar archive."""
    name = os.fsdecode(b"caf\xe9 \xff.txt")
    (source / name).write_text("x")
    (source / "link").symlink_to(name)
    found = Source(source)
    sent = json.loads(base64.b64decode(base64.b64encode(json.dumps(found.manifest()).encode())))
    assert sent == found.manifest() and build_name(sent) == build_name(found.manifest())
    with tarfile.open(fileobj=io.BytesIO(pack(found))) as archive:
        assert content_of(archive, name) == content_of(archive, "link") == b"x"


def test_a_hard_link_travels_as_a_file(source: Path) -> None:
    os.link(source / "main.py", source / "twin.py")
    with tarfile.open(fileobj=io.BytesIO(pack(Source(source)))) as archive:
        assert content_of(archive, "twin.py") == content_of(archive, "main.py") != b""


MEASURED = """
import resource, sys, tempfile
from pathlib import Path
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import Source
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = Source(Path(sys.argv[1]))
source.manifest()
with tempfile.TemporaryFile() as packed:
    source.pack(packed)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_hashing_and_packing_take_little_memory(tmp_path: Path) -> None:
    """Of one large file, of many, and of one that compresses well, which is most of a zip bomb."""
    pieces = os.urandom(1 << 20)
    with (tmp_path / "large").open("wb") as large:
        for _mebibyte in range(32):
            large.write(pieces)
    with (tmp_path / "zeros").open("wb") as zeros:
        zeros.truncate(64 << 20)
    for number in range(32):
        (tmp_path / f"{number}").write_bytes(pieces)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", MEASURED, str(tmp_path)], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20, "mebibytes for 128 of them"


def test_a_small_source_is_read_once_to_be_hashed_and_packed(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Source(source)
    opened = readings(source, monkeypatch)
    assert found.manifest() and pack(found) == pack(found)
    assert opened == {"main.py": 1, "requirements.txt": 1, "static/style.css": 1}


def test_a_large_source_is_read_once_to_be_hashed(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "data.bin").write_bytes(b"x" * (5 << 20))
    found = Source(source)
    opened = readings(source, monkeypatch)
    assert found.manifest() == found.manifest()
    assert opened == {"data.bin": 1, "main.py": 1, "requirements.txt": 1, "static/style.css": 1}


@pytest.mark.parametrize("change", ["content", "size", "removal"])
def test_a_file_that_changes_before_it_is_packed_is_noticed(source: Path, change: str) -> None:
    """The host would have other code than the release's name says."""
    large = source / "data.bin"
    large.write_bytes(b"x" * (5 << 20))
    found = Source(source)
    found.manifest()
    if change == "removal":
        large.unlink()
    else:
        large.write_bytes(b"y" * ((5 << 20) - (change == "size")))
    with pytest.raises(SourceError, match="data.bin was changed while it was packed; run this again"):
        pack(found)


@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_a_pointer_of_git_lfs_is_rejected_by_name(source: Path, kind: str) -> None:
    """The app would get a text of three lines for its picture."""
    (source / "static/logo.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 12345\n")
    given = str(source) if kind == "directory" else shutil.make_archive(str(source.parent / "app"), "zip", source)
    with pytest.raises(SourceError, match="flask_app_source: static/logo.png is .* a pointer of Git LFS. Install git-lfs"):
        with open_source(given, "") as opened:
            opened.manifest()


@pytest.mark.parametrize(
    ("pattern", "gone"),
    [
        ("docs", {"docs/a.md", "docs/api/b.md"}),
        ("docs/", {"docs/a.md", "docs/api/b.md"}),
        ("docs/*.md", {"docs/a.md"}),
        ("docs/**", {"docs/a.md", "docs/api/b.md"}),
        ("*.md", {"top.md"}),
        ("**/*.md", {"top.md", "docs/a.md", "docs/api/b.md"}),
        ("**/api", {"docs/api/b.md"}),
        ("d?cs/[a-b]*/*", {"docs/api/b.md"}),
        ("nothing", set()),
    ],
)
@pytest.mark.parametrize("kind", ["directory", "archive", "git"])
def test_what_is_excluded_is_not_shipped(source: Path, kind: str, pattern: str, gone: set[str]) -> None:
    for name in ("top.md", "docs/a.md", "docs/api/b.md"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    given = str(source)
    if kind == "archive":
        given = shutil.make_archive(str(source.parent / "app"), "zip", source)
    elif kind == "git":
        git(source, "init", "--quiet", "--initial-branch=main")
        git(source, "add", ".")
        git(source, "commit", "--quiet", "--message=one")
        given = f"file://{source}"
    with open_source(given, "HEAD") as whole, open_source(given, "HEAD", [pattern]) as rest:
        assert whole.files().keys() - rest.files().keys() == gone


def test_requirements_that_are_not_shipped_are_rejected(source: Path) -> None:
    """Also those that are found by themselves, such as a lock file that only the developer's machine has."""
    (source / "pins").symlink_to("static")
    (source / "static/pins.txt").touch()
    Source(source).require(["requirements.txt", "pins/pins.txt"])
    with pytest.raises(SourceError, match="flask_app_requirements: pins/pins.txt is not shipped, because .gitignore or flask_app_exclude names it"):
        Source(source, exclude=("static/*.txt",)).require(["requirements.txt", "pins/pins.txt"])


def test_a_developers_own_settings_and_environments_are_left_out(source: Path) -> None:
    before = name_of(source)
    for name in (".env", "env/conda-meta/history", ".nox/x", ".hg/x", ".svn/x"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("x")
    assert name_of(source) == before


def test_what_cannot_be_read_is_named(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_given: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(SourceError, match="flask_app_source: .*/main.py cannot be read: Permission denied"):
        name_of(source)


def test_only_files_and_links_are_shipped_and_the_rest_gets_a_word(source: Path) -> None:
    """A pipe would be waited for, and a socket cannot be read."""
    before = name_of(source)
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "app.sock"))
    opened = Source(source)
    assert build_name(opened.manifest()) == before
    assert opened.notes == ["app.sock is a socket, and is not shipped", "pipe is a pipe, and is not shipped"]


def test_what_is_no_source_is_rejected_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"got '/no/such/place', needs a directory, .*\n  flask_app_source: "):
        with open_source("/no/such/place", ""):
            pass
