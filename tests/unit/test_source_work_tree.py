"""A source directory that git knows."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import Source, open_source
from ansible_collections.flaskops.hosting.tests.unit.sources import git

CODE = {"main.py", "requirements.txt", "static/style.css"}


def head(repository: Path) -> str:
    """The commit that is checked out."""
    return git(repository, "rev-parse", "HEAD")


def test_what_gitignore_leaves_out_is_not_shipped(repository: Path) -> None:
    """Nor what the repository's own list leaves out. What is new goes along, and what is tracked in spite of the list."""
    (repository / ".gitignore").write_text(".env\n*.sqlite3\n/env/\n")
    (repository / ".git/info/exclude").write_text("notes.txt\n")
    (repository / "static/.gitignore").write_text("*.map\n")
    for name in (".env", "dev.sqlite3", "env/bin/python", "notes.txt", "static/style.map", "static/new.css", "kept.sqlite3"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("x")
    git(repository, "add", "--force", "kept.sqlite3")
    assert set(Source(repository).files()) == CODE | {".gitignore", "static/.gitignore", "static/new.css", "kept.sqlite3"}


def test_a_developers_own_settings_are_shipped_only_if_they_are_tracked(repository: Path) -> None:
    for name in (".env", "static/.env"):
        (repository / name).touch()
    git(repository, "add", "static/.env")
    assert set(Source(repository).files()) == CODE | {"static/.env"}
    git(repository, "commit", "--quiet", "--message=settings")
    with open_source(f"file://{repository}", "main") as opened:
        assert set(opened.files()) == CODE | {"static/.env"}


def test_a_directory_in_a_work_tree_is_asked_about_too(repository: Path, tmp_path: Path) -> None:
    """Also in a linked work tree, whose .git is a file, and by a link to it."""
    (repository / ".gitignore").write_text("*.map\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message=list")
    git(repository, "worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    (tmp_path / "link").symlink_to(tmp_path / "linked/static")
    for directory in (repository / "static", tmp_path / "linked/static", tmp_path / "link"):
        (directory / "style.map").touch()
        found = Source(directory)
        assert (set(found.files()), found.version) == ({"style.css"}, head(repository))


def test_the_commit_is_noted_and_marked_if_something_else_is_shipped(repository: Path) -> None:
    assert Source(repository).version == head(repository)
    os.utime(repository / "main.py")
    (repository / "__pycache__").mkdir()
    (repository / "__pycache__/main.pyc").touch()
    assert Source(repository).version == head(repository), "nothing else is shipped"
    (repository / "new.py").touch()
    assert Source(repository).version == f"{head(repository)}-dirty"
    assert Source(repository, exclude=("new.py",)).version == head(repository)
    assert Source(repository / "static").version == head(repository), "another directory is changed"
    (repository / "new.py").unlink()
    (repository / "main.py").write_text("app = 1\n")
    assert Source(repository).version == f"{head(repository)}-dirty"
    git(repository, "checkout", "main.py")
    (repository / "main.py").unlink()
    found = Source(repository)
    assert found.version == f"{head(repository)}-dirty" and "main.py" not in found.files()


def test_a_work_tree_without_a_commit_has_no_version(source: Path) -> None:
    git(source, "init", "--quiet")
    (source / ".gitignore").write_text("static\n")
    found = Source(source)
    assert (set(found.files()), found.version) == ({".gitignore", "main.py", "requirements.txt"}, "")


def test_a_directory_that_is_ignored_as_a_whole_is_shipped(repository: Path) -> None:
    """A build may make it, or a home may be a repository that ignores all but a few files."""
    (repository / ".gitignore").write_text("/dist\n")
    (repository / "dist").mkdir()
    (repository / "dist/main.py").touch()
    (repository / "dist/.env").touch()
    found = Source(repository / "dist")
    assert (set(found.files()), found.version) == ({"main.py"}, "")


def test_submodules_of_a_work_tree_come_along(repository: Path, tmp_path: Path) -> None:
    """With their own lists; one that is not checked out gets a word."""
    shutil.copytree(repository, tmp_path / "lib")
    (tmp_path / "lib/.gitignore").write_text("*.map\n")
    git(tmp_path / "lib", "add", ".")
    git(tmp_path / "lib", "commit", "--quiet", "--message=list")
    for name in ("lib", "empty"):
        git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(tmp_path / "lib"), name)
    git(repository, "commit", "--quiet", "--message=submodules")
    git(repository, "submodule", "deinit", "--quiet", "--force", "empty")
    (repository / "lib/style.map").touch()
    found = Source(repository)
    assert set(found.files()) == CODE | {".gitmodules", "lib/.gitignore"} | {f"lib/{name}" for name in CODE}
    assert found.notes == ["empty is a submodule that is not checked out, and is not shipped; git submodule update --init checks it out"]
    assert found.version == head(repository)
    (repository / "lib/main.py").write_text("app = 1\n")
    assert Source(repository).version == f"{head(repository)}-dirty"


def test_names_of_any_bytes_are_asked_about(repository: Path) -> None:
    names = {os.fsdecode(b"caf\xe9.txt"), "two\nlines.txt", " space ", "ペン"}
    for name in names:
        (repository / name).touch()
    assert set(Source(repository).files()) == CODE | names


@pytest.mark.parametrize("inside", ["", "sub"])
def test_no_configuration_of_a_work_tree_is_a_command(repository: Path, tmp_path: Path, inside: str) -> None:
    """It may be of whoever has packed the directory."""
    mark, evil = tmp_path / "mark", repository / inside
    if inside:
        shutil.copytree(repository, tmp_path / "sub")
        shutil.move(tmp_path / "sub", evil)
        git(repository, "update-index", "--add", "--cacheinfo", f"160000,{head(evil)},sub")
    (evil / "run").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (evil / "run").chmod(0o755)
    (evil / ".gitattributes").write_text("* filter=evil diff=evil\n")
    git(evil, "add", ".")
    git(evil, "commit", "--quiet", "--message=evil")
    for name in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "filter.evil.clean", "filter.evil.process", "diff.evil.command"):
        git(evil, "config", name, str(evil / "run"))
    git(evil, "config", "core.hooksPath", str(evil))
    git(evil, "config", "core.worktree", "/")
    for hook in ("post-index-change", "fsmonitor-watchman", "query-watchman"):
        shutil.copy(evil / "run", evil / hook)
    os.utime(evil / "main.py", (1, 1))
    (evil / "main.py").write_text("app = 7\n")
    found = Source(repository)
    files, version = {Path(name).name for name in found.files()}, found.version
    assert not mark.exists()
    assert "run" in files and version == f"{head(repository)}-dirty" and found.notes == []


def test_a_work_tree_of_another_account_is_asked_about(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git itself would reject it, because of its configuration."""
    (repository / ".gitignore").write_text("*.map\n")
    (repository / "style.map").touch()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # as git's own tests have it, since only root can give files away
    refused = subprocess.run(["git", "-C", repository, "status"], capture_output=True, text=True, check=False)
    assert refused.returncode and "dubious ownership" in refused.stderr
    found = Source(repository)
    assert "style.map" not in found.files() and found.version and found.notes == []


@pytest.mark.parametrize("broken", ["no git", "no repository", "a link that is broken"])
def test_a_work_tree_that_cannot_be_asked_about_gets_a_word(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    (repository / ".gitignore").write_text("*.map\n.env\n")
    for name in ("style.map", ".env"):
        (repository / name).touch()
    said = f"what .gitignore names is shipped, because git cannot read {repository}/.git: "
    if broken == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        shutil.rmtree(repository / ".git")
        (repository / ".git").write_text("gitdir: ../.git/modules/shop\n" if broken != "no repository" else "")
    with open_source(str(repository), "HEAD") as found:
        assert set(found.files()) == CODE | {".gitignore", "style.map"} and found.version == ""
        assert len(found.notes) == 1 and found.notes[0].startswith(said)
