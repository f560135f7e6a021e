"""An app's source as a git repository."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils import source_git
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import build_name, open_source
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits import SourceError
from ansible_collections.flaskops.hosting.tests.unit.sources import git, name_of


def add_submodule(repository: Path, commit: str, url: str = "", path: str = "sub") -> None:
    """Commit a submodule, as another program than git may do it, with a URL or with what .gitmodules has of it already."""
    if url:
        with (repository / ".gitmodules").open("a") as modules:
            modules.write(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
    git(repository, "add", "--ignore-removal", ".")
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    git(repository, "commit", "--quiet", "--message=a submodule")


def new_repository(directory: Path, files: dict[str, str]) -> Path:
    """A repository with one commit."""
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    for name, text in files.items():
        (directory / name).write_text(text)
    git(directory, "add", ".")
    git(directory, "commit", "--quiet", "--message=one")
    return directory


@contextlib.contextmanager
def served(directory: Path, password: str = "") -> Iterator[tuple[str, list[str]]]:
    """Serve bare repositories over HTTP, to all or to who knows the password; gives the address, and what was sent to log in."""
    for bare in directory.glob("*.git"):
        git(bare, "update-server-info")
    logins: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        """Serves files."""

        def do_GET(self) -> None:
            """Reject others."""
            logins.append(self.headers["Authorization"] or "")
            if logins[-1] == (f"Basic {base64.b64encode(password.encode()).decode()}" if password else ""):
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic realm=git")
            self.end_headers()

        def log_message(self, *_given: object) -> None:
            """Be quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=directory)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", logins
        server.shutdown()


@pytest.mark.parametrize("login", ["me:hush", "me:with@hush", "hush"])
def test_a_password_in_a_url_is_not_shown(login: str) -> None:
    with pytest.raises(SourceError, match="cannot fetch 'main' of http://") as caught:
        with open_source(f"http://{login}@127.0.0.1:1/shop.git", "main"):
            pass
    assert "127.0.0.1:1/shop.git" in str(caught.value) and "hush" not in str(caught.value)


def test_a_password_in_a_url_is_no_argument(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git gets it in its environment: everybody on this machine sees the arguments of processes."""
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(tmp_path / "served/shop.git"))
    (tmp_path / "gitconfig").write_text("[init]\n\tdefaultBranch = main\n")  # such a server needs all branches to be fetched, this one too
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    with served(tmp_path / "served", "me:h@ush") as (address, _logins):
        with open_source(f"http://me:h%40ush@{address}/shop.git", "main") as opened:
            assert (opened.directory / "main.py").read_text() == "app = None\n"
    trace = (tmp_path / "trace").read_text()
    assert "remote-http" in trace
    assert "ush" not in trace.replace("push", "")


@pytest.mark.parametrize("url", ["ext::sh -c touch% {mark}", "-u./payload", "./payload", "payload", "file://{outside}", "{outside}"])
def test_no_submodule_and_no_file_of_a_repository_is_a_command(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Nor is a hook, a filter or a configuration that it brings, even if the user's own names hooks by a path in the source."""
    mark, outside, home = tmp_path / "mark", tmp_path / "outside", tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[submodule]\n\trecurse = true\n[protocol]\n\tallow = always\n[fetch]\n\trecurseSubmodules = true\n[core]\n\thooksPath = .githooks\n"
    )
    git(tmp_path, "clone", "--quiet", str(repository), str(outside))
    where = url.format(mark=mark, outside=outside)
    (repository / ".gitmodules").write_text(f'[submodule "sub"]\n\tpath = sub\n\turl = {where}\n\tupdate = !touch {mark}\n')
    (repository / ".gitattributes").write_text("* filter=evil diff=evil\n")
    (repository / ".gitconfig").write_text(f'[filter "evil"]\n\tsmudge = touch {mark}\n[core]\n\tfsmonitor = touch {mark}\n')
    for hook in ("hooks/post-checkout", ".githooks/post-checkout", "payload"):
        (repository / hook).parent.mkdir(exist_ok=True)
        (repository / hook).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (repository / hook).chmod(0o755)
    add_submodule(repository, git(repository, "rev-parse", "v1"))
    monkeypatch.setenv("HOME", str(home))
    found: set[str] = set()
    with contextlib.suppress(SourceError):
        with open_source(f"file://{repository}", "main") as opened:
            found = set(opened.files())
    assert not mark.exists()
    assert ({"payload", "sub/main.py"} <= found) == ("outside" in url)


def test_a_commit_of_more_files_than_any_app_is_rejected(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten objects in a repository can be ten thousand million files, so they are counted before they are written."""
    monkeypatch.setattr("ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits.FILES_AT_MOST", 1000)
    tree = git(repository, "rev-parse", "HEAD^{tree}")
    for _level in range(10):
        lines = "".join(f"040000 tree {tree}\tlevel{number}\n" for number in range(10))
        made = subprocess.run(["git", "mktree"], cwd=repository, input=lines, check=True, capture_output=True, text=True)
        tree = made.stdout.strip()
    git(repository, "update-ref", "refs/heads/bomb", git(repository, "commit-tree", "-m", "bomb", tree))
    with pytest.raises(SourceError, match="the commit has more than 2048 MiB, 1000 files or 100 submodules"):
        with open_source(f"file://{repository}", "bomb"):
            pass


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


@pytest.mark.parametrize(
    ("version", "first"),
    [
        ("HEAD", False),
        ("main", False),
        ("v1", True),
        ("{commit}", True),
        ("{short}", True),
        ("annotated", True),
        ("refs/tags/v1", True),
        ("refs/pull/1/head", True),
        ("pull/1/head", True),
        ("main~1", True),
        ("HEAD~1", True),
        ("v1^{{commit}}", True),
        ("v1-0-g{short}", True),
    ],
)
def test_git_gives_the_version_that_was_asked_for(repository: Path, version: str, first: bool) -> None:
    commits = {True: git(repository, "rev-parse", "v1"), False: git(repository, "rev-parse", "main")}
    git(repository, "tag", "--annotate", "--message=one", "annotated", "v1")
    git(repository, "update-ref", "refs/pull/1/head", "v1")
    with open_source(f"file://{repository}", version.format(commit=commits[True], short=commits[True][:10])) as opened:
        assert opened.version == commits[first]
        assert (opened.directory / "main.py").read_text().startswith("from flask" if first else "app = None")
        assert ".git" not in str(list(opened.files()))


@pytest.mark.parametrize(
    "given",
    [
        "file://{repository}",
        "{repository}/.git",
        "{bare}",
        "{bare}.git",
        "bare.git",
        "./bare",
        "~/bare.git",
        "{linked}/.git",
        "git@host.example:{repository}",
        "host:{bare}",
        "ssh://git@host.example{bare}.git",
    ],
)
def test_whatever_git_can_name_is_a_repository(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """Also if a hook of git runs all this."""
    for name in ("bare", "bare.git"):
        git(tmp_path, "clone", "--quiet", "--bare", str(repository), name)
    git(repository, "worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor command; do :; done\nunset GIT_DIR\nexec sh -c "$command"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    monkeypatch.setenv("GIT_SSH_VARIANT", "ssh")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.chdir(tmp_path)
    with open_source(given.format(repository=repository, bare=tmp_path / "bare", linked=tmp_path / "linked"), "HEAD") as opened:
        assert set(opened.files()) == {"main.py", "requirements.txt", "static/style.css"} and opened.version


def test_submodules_come_along(repository: Path, tmp_path: Path) -> None:
    """With theirs; from a URL, or from beside the repository. The commit says which version."""
    inner = new_repository(tmp_path / "inner", {"inner.py": "first"})
    old = git(inner, "rev-parse", "HEAD")
    (inner / "inner.py").write_text("second")
    git(inner, "commit", "--quiet", "--all", "--message=two")
    outer = new_repository(tmp_path / "outer", {"outer.py": ""})
    add_submodule(outer, old, "../inner", "deep/inner")
    add_submodule(repository, git(outer, "rev-parse", "HEAD"), f"file://{outer}", "lib/outer")
    add_submodule(repository, git(inner, "rev-parse", "HEAD"), "./../inner/", "inner")
    with open_source(f"file://{repository}", "main") as opened:
        code = opened.directory
        assert (code / "lib/outer/deep/inner/inner.py").read_text() == "first" and (code / "inner/inner.py").read_text() == "second"
        assert {"lib/outer/outer.py", "lib/outer/deep/inner/inner.py", "inner/inner.py"} <= set(opened.files())
        assert opened.notes == []


@pytest.mark.parametrize(
    ("url", "relative", "found"),
    [
        ("https://git.example/me/shop.git", "../lib.git", "https://git.example/me/lib.git"),
        ("https://git.example/me/shop.git/", "../../you/lib", "https://git.example/you/lib"),
        ("https://git.example/me/shop.git", "./lib", "https://git.example/me/shop.git/lib"),
        ("git@git.example:me/shop.git", "../lib.git", "git@git.example:me/lib.git"),
        ("git@git.example:shop.git", "../lib.git", "git@git.example:lib.git"),
        ("ssh://git@git.example:22/me/shop", "../.././lib", "ssh://git@git.example:22/lib"),
        ("/srv/git/shop.git", "../lib.git", "/srv/git/lib.git"),
    ],
)
def test_a_submodules_url_may_be_relative(url: str, relative: str, found: str) -> None:
    assert source_git._beside(url, relative) == found


def test_a_submodule_without_a_url_is_left_out_with_a_word(repository: Path) -> None:
    add_submodule(repository, git(repository, "rev-parse", "v1"))
    with open_source(f"file://{repository}", "main") as opened:
        assert "main.py" in opened.files() and opened.notes == ["sub is a submodule without a URL in .gitmodules, and is not shipped"]


@pytest.mark.parametrize("url", ["file://{private}", "{private}", "../../../../../../../..{private}"])
def test_a_repository_elsewhere_names_none_of_this_machine(repository: Path, tmp_path: Path, url: str) -> None:
    """It would be sent to the host."""
    private = new_repository(tmp_path / "private", {"secret.txt": "mine"})
    add_submodule(repository, git(private, "rev-parse", "HEAD"), url.format(private=private))
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(tmp_path / "served/shop.git"))
    with served(tmp_path / "served") as (address, _logins):
        with pytest.raises(SourceError, match="cannot fetch"):
            with open_source(f"http://{address}/shop.git", "main"):
                pass


def test_a_password_goes_to_its_own_server_alone(repository: Path, tmp_path: Path) -> None:
    """A submodule beside the repository needs it, one on another server may not have it."""
    (tmp_path / "served").mkdir()
    with served(tmp_path / "served") as (other, logins):
        add_submodule(repository, git(repository, "rev-parse", "v1"), "../lib.git", "lib")
        for name in ("shop.git", "lib.git"):
            git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(tmp_path / "private" / name))
        git(repository, "tag", "beside")
        add_submodule(repository, git(repository, "rev-parse", "v1"), f"http://{other}/lib.git", "other")
        git(tmp_path / "private/shop.git", "fetch", "--quiet", str(repository), "+refs/*:refs/*", "--update-head-ok")
        with served(tmp_path / "private", "me:hush") as (address, _own):
            with open_source(f"http://me:hush@{address}/shop.git", "beside") as opened:
                assert "lib/main.py" in opened.files()
            with pytest.raises(SourceError, match=f"cannot fetch .* of http://{other}"):
                with open_source(f"http://me:hush@{address}/shop.git", "main"):
                    pass
        assert logins and set(logins) == {""}


def test_submodules_are_bounded(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository can name itself, at an older commit, as often as it has commits."""
    monkeypatch.setattr(source_git, "REPOSITORIES_AT_MOST", 3)
    (repository / ".gitmodules").write_text(f'[submodule "sub"]\n\tpath = sub\n\turl = file://{repository}\n')
    for _commit in range(4):
        add_submodule(repository, git(repository, "rev-parse", "HEAD"))
        (repository / "main.py").write_text(f"app = {_commit}")
    with pytest.raises(SourceError, match="more than .* 3 submodules"):
        with open_source(f"file://{repository}", "main"):
            pass


LFS = """#!/bin/sh
case "$1" in
install) ;;
pull) git config remote.origin.url >"$0.pulled"; echo picture >logo.png ;;
*) exit 1 ;;
esac
"""


@pytest.mark.parametrize("installed", [True, False])
def test_what_git_lfs_has_is_fetched_or_rejected_by_name(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    """Also if git-lfs is installed, and the user's configuration does not name it."""
    (repository / ".gitattributes").write_text("*.png filter=lfs diff=lfs merge=lfs -text\n")
    (repository / "logo.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 8\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message=a picture")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("git", "sh"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    if installed:
        (tools / "git-lfs").write_text(LFS)
        (tools / "git-lfs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    with open_source(f"file://{repository}", "main") as opened:
        if installed:
            assert opened.manifest() and (opened.directory / "logo.png").read_text() == "picture\n"
            assert (tools / "git-lfs.pulled").read_text() == f"file://{repository}\n"
        else:
            with pytest.raises(SourceError, match="flask_app_source: logo.png is not the file itself but a pointer of Git LFS. Install git-lfs on"):
                opened.manifest()


def test_names_of_any_bytes_come_out_of_git(repository: Path) -> None:
    for name in (os.fsdecode(b"caf\xe9.txt"), "two\nlines.txt", "-dash", 'quo"te\t.txt'):
        (repository / name).write_text("x")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message=names")
    with open_source(f"file://{repository}", "main") as opened:
        assert build_name(opened.manifest()) == name_of(repository)
        assert os.fsdecode(b"caf\xe9.txt") in opened.files()


def test_git_gives_the_same_build_as_the_directory(repository: Path) -> None:
    with open_source(f"file://{repository}", "main") as opened:
        assert build_name(opened.manifest()) == name_of(repository)


def test_a_version_that_is_not_there_is_named(repository: Path) -> None:
    with pytest.raises(SourceError, match="cannot fetch 'v9' of file://"):
        with open_source(f"file://{repository}", "v9"):
            pass
