"""An app's source on the controller."""

from __future__ import annotations

import base64
import functools
import gzip
import http.server
import io
import os
import shutil
import socket
import stat
import subprocess
import tarfile
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import Source, SourceError, build_name, open_source


def name_of(directory: Path) -> str:
    """The build name of a directory."""
    return build_name(Source(directory).manifest())


def git(directory: Path, *words: str) -> str:
    """Run git as somebody."""
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *words], cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(source: Path) -> Path:
    """The source as a git repository with a tag and a later commit."""
    git(source, "init", "--quiet", "--initial-branch=main")
    git(source, "add", ".")
    git(source, "commit", "--quiet", "--message=one")
    git(source, "tag", "v1")
    (source / "main.py").write_text("app = None\n")
    git(source, "commit", "--quiet", "--all", "--message=two")
    return source


def test_the_same_content_has_the_same_name_at_any_place_and_time(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(source, copy)
    os.utime(copy / "main.py", (1, 1))
    assert name_of(copy) == name_of(source)
    assert Source(copy).pack() == Source(source).pack()


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


def content_of(archive: tarfile.TarFile, name: str) -> bytes:
    """What a file in the archive holds."""
    file = archive.extractfile(name)
    assert file
    return file.read()


def test_names_and_contents_of_any_script_travel_byte_for_byte(source: Path) -> None:
    (source / "ペン.txt").write_bytes("値段 100 円\n".encode())
    (source / "привет 🐙.txt").write_bytes(b"\xff\x00\xfe")
    with tarfile.open(fileobj=io.BytesIO(Source(source).pack())) as archive:
        assert content_of(archive, "ペン.txt") == "値段 100 円\n".encode()
        assert content_of(archive, "привет 🐙.txt") == b"\xff\x00\xfe"
        assert all((member.uid, member.uname, member.mtime) == (0, "", 0) for member in archive)


def test_a_hard_link_travels_as_a_file(source: Path) -> None:
    os.link(source / "main.py", source / "twin.py")
    with tarfile.open(fileobj=io.BytesIO(Source(source).pack())) as archive:
        assert content_of(archive, "twin.py") == content_of(archive, "main.py") != b""


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
        [("pipe", tarfile.FIFOTYPE, "", "")],
        [("device", tarfile.CHRTYPE, "", "")],
    ],
    ids=["dots", "absolute", "through a link", "through two links", "over a link", "hard link", "hard link with dots", "link", "pipe", "device"],
)
def test_an_archive_reads_and_writes_nothing_outside_of_its_place(tmp_path: Path, members: list[tuple[str, bytes, str, str]]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("mine")
    there = [tuple(part.format(outside=outside) if isinstance(part, str) else part for part in one) for one in members]
    archive = tar_of(tmp_path / "app.tar", *there)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="flask_app_source: "):
        with open_source(str(archive), "") as opened:
            opened.pack()
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
    monkeypatch.setattr("ansible_collections.flaskops.hosting.plugins.plugin_utils.source.FILES_AT_MOST", 1000)
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


def test_packing_takes_little_memory(tmp_path: Path) -> None:
    """Of a file that compresses well, which is most of a zip bomb."""
    with (tmp_path / "zeros").open("wb") as zeros:
        zeros.truncate(100 << 20)
    tracemalloc.start()
    assert len(Source(tmp_path).pack()) < 1 << 20 and build_name(Source(tmp_path).manifest())
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_an_archive_that_unpacks_to_more_than_any_app_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("ansible_collections.flaskops.hosting.plugins.plugin_utils.source.UNPACKED_AT_MOST", 1 << 20)
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


@pytest.mark.parametrize("login", ["me:hush", "me:with@hush", "hush"])
def test_a_password_in_a_url_is_not_shown(login: str) -> None:
    with pytest.raises(SourceError, match="cannot fetch 'main' of http://") as caught:
        with open_source(f"http://{login}@127.0.0.1:1/shop.git", "main"):
            pass
    assert "127.0.0.1:1/shop.git" in str(caught.value) and "hush" not in str(caught.value)


def test_a_password_in_a_url_is_no_argument(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git gets it in its environment: everybody on this machine sees the arguments of processes."""
    bare = tmp_path / "served/shop.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(bare))
    git(bare, "update-server-info")

    class Handler(http.server.SimpleHTTPRequestHandler):
        """Serves the repository to who knows the password."""

        def do_GET(self) -> None:
            """Reject others."""
            if self.headers["Authorization"] == "Basic " + base64.b64encode(b"me:h@ush").decode():
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic realm=git")
            self.end_headers()

        def log_message(self, *_given: object) -> None:
            """Be quiet."""

    (tmp_path / "gitconfig").write_text("[init]\n\tdefaultBranch = main\n")  # such a server needs all branches to be fetched, this one too
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=bare.parent)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open_source(f"http://me:h%40ush@127.0.0.1:{server.server_port}/shop.git", "main") as opened:
            assert (opened.directory / "main.py").read_text() == "app = None\n"
        server.shutdown()
    trace = (tmp_path / "trace").read_text()
    assert "remote-http" in trace
    assert "ush" not in trace.replace("push", "")


@pytest.mark.parametrize("url", ["ext::sh -c touch% {mark}", "-u./payload", "file://{outside}", "{outside}"])
def test_no_submodule_and_no_file_of_a_repository_is_a_command(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Nor is a hook, a filter or a configuration that it brings, even if submodules are on by default."""
    mark, outside, home = tmp_path / "mark", tmp_path / "outside", tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[submodule]\n\trecurse = true\n[protocol]\n\tallow = always\n[fetch]\n\trecurseSubmodules = true\n")
    git(tmp_path, "clone", "--quiet", str(repository), str(outside))
    where = url.format(mark=mark, outside=outside)
    (repository / ".gitmodules").write_text(f'[submodule "sub"]\n\tpath = sub\n\turl = {where}\n\tupdate = !touch {mark}\n')
    (repository / ".gitattributes").write_text("* filter=evil diff=evil\n")
    (repository / ".gitconfig").write_text(f'[filter "evil"]\n\tsmudge = touch {mark}\n[core]\n\tfsmonitor = touch {mark}\n')
    for hook in ("hooks/post-checkout", ".githooks/post-checkout", "payload"):
        (repository / hook).parent.mkdir(exist_ok=True)
        (repository / hook).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (repository / hook).chmod(0o755)
    git(repository, "add", ".")
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{git(repository, 'rev-parse', 'v1')},sub")
    git(repository, "commit", "--quiet", "--message=three")
    monkeypatch.setenv("HOME", str(home))
    with open_source(f"file://{repository}", "main") as opened:
        files = opened.files()
    assert "payload" in files and not [name for name in files if name.startswith("sub/")]
    assert not mark.exists()


def test_a_commit_of_more_files_than_any_app_is_rejected(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten objects in a repository can be ten thousand million files, so they are counted before they are written."""
    monkeypatch.setattr("ansible_collections.flaskops.hosting.plugins.plugin_utils.source.FILES_AT_MOST", 1000)
    tree = git(repository, "rev-parse", "HEAD^{tree}")
    for _level in range(10):
        lines = "".join(f"040000 tree {tree}\tlevel{number}\n" for number in range(10))
        made = subprocess.run(["git", "mktree"], cwd=repository, input=lines, check=True, capture_output=True, text=True)
        tree = made.stdout.strip()
    git(repository, "update-ref", "refs/heads/bomb", git(repository, "commit-tree", "-m", "bomb", tree))
    with pytest.raises(SourceError, match="the commit has more than 2048 MiB or 1000 files"):
        with open_source(f"file://{repository}", "bomb"):
            pass


def test_only_files_and_links_are_shipped(source: Path) -> None:
    """A pipe would be waited for, and a socket cannot be read."""
    before = name_of(source)
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "app.sock"))
    assert name_of(source) == before


@pytest.mark.parametrize(
    ("url", "version"),
    [
        ("file://{repository}", "--upload-pack=touch {mark}"),
        ("--upload-pack=touch {mark};.git", "main"),
        ("ext::sh -c touch% {mark}% .git", "main"),
        ("ssh://-oProxyCommand=touch {mark}/shop.git", "main"),
        ("-oProxyCommand=touch {mark}@host:shop.git", "main"),
    ],
    ids=["version", "option", "ext", "ssh", "scp"],
)
def test_no_value_is_a_command(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, version: str) -> None:
    config = tmp_path / "gitconfig"
    config.write_text('[protocol "ext"]\n\tallow = always\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    mark = tmp_path / "mark"
    with pytest.raises(SourceError, match="flask_app_(source|version)"):
        with open_source(url.format(repository=repository, mark=mark), version.format(mark=mark)):
            pass
    assert not mark.exists()


@pytest.mark.parametrize("version", ["HEAD", "main", "v1", "commit"])
def test_git_gives_the_version_that_was_asked_for(repository: Path, version: str) -> None:
    commit = git(repository, "rev-parse", "v1" if version == "commit" else version)
    with open_source(f"file://{repository}", commit if version == "commit" else version) as opened:
        assert opened.version == commit
        assert (opened.directory / "main.py").read_text().startswith("from flask" if version in ("v1", "commit") else "app = None")
        assert ".git" not in str(list(opened.files()))


def test_git_gives_the_same_build_as_the_directory(repository: Path) -> None:
    with open_source(f"file://{repository}", "main") as opened:
        assert build_name(opened.manifest()) == name_of(repository)


def test_a_version_that_is_not_there_is_named(repository: Path) -> None:
    with pytest.raises(SourceError, match="cannot fetch 'v9' of file://"):
        with open_source(f"file://{repository}", "v9"):
            pass


def test_what_is_no_source_is_rejected_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"got '/no/such/place', needs a directory, .*\n  flask_app_source: "):
        with open_source("/no/such/place", ""):
            pass
