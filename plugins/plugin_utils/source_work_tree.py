# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What git knows of a directory: its commit, and what ``.gitignore`` leaves out."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_git import SAFE, git_environment

DEPTH = 20  # of repositories in one another


@dataclass(frozen=True)
class WorkTree:
    """The files of a directory that git tracks or would track, by their path in it."""

    commit: str
    tracked: frozenset[str]
    untracked: frozenset[str]
    changed: bool  # something that is tracked is not as in the commit


def read_work_tree(directory: Path, notes: list[str], depth: int = DEPTH) -> WorkTree | None:
    """Ask git about a directory in a work tree; ``None`` if it is in none, or if git is asked in vain, which gets a note."""
    directory = directory.resolve()
    top = next((place for place in [directory, *directory.parents] if os.path.lexists(place / ".git")), None)
    if top is None:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="flaskops-git-") as scratch:
            found = _ask(top, directory, Path(scratch) / "git")
    except (OSError, subprocess.CalledProcessError) as error:
        said = os.fsdecode(getattr(error, "stderr", b"")).strip() or str(error)
        notes.append(f"what .gitignore names is shipped, because git cannot read {top / '.git'}: {said}")
        return None
    if not found.tracked and not found.untracked:  # the directory itself is ignored, such as what a build has made
        return None
    return _with_repositories_inside(found, directory, notes, depth)


def _ask(top: Path, directory: Path, own: Path) -> WorkTree:
    """Ask in the name of a repository of our own, because the configuration of the one there may be commands of somebody else.

    So git needs no trust in the directory's owner either. Raises ``OSError`` and ``subprocess.CalledProcessError``.
    """
    environment = {**git_environment(), "GIT_OPTIONAL_LOCKS": "0", "GIT_ALLOW_PROTOCOL": "none"}

    def git(*words: str, **places: str) -> str:
        done = subprocess.run(["git", *SAFE, *words], cwd=directory, env={**environment, **places}, check=True, capture_output=True)
        return os.fsdecode(done.stdout)

    theirs = {"GIT_DIR": str(top / ".git")}
    paths = [word for name in ("index", "objects", "info/exclude") for word in ("--git-path", name)]
    index, objects, exclude, form = git("rev-parse", "--path-format=absolute", *paths, "--show-object-format", **theirs).splitlines()
    try:
        commit = git("rev-parse", "--verify", "--quiet", "HEAD", **theirs).strip()
    except subprocess.CalledProcessError:  # there is none yet
        commit = ""
    git("init", "--quiet", "--template=", f"--object-format={form}", str(own))
    ours = {"GIT_DIR": str(own / ".git"), "GIT_WORK_TREE": str(top), "GIT_INDEX_FILE": index, "GIT_OBJECT_DIRECTORY": objects}
    if os.path.isfile(exclude):
        (own / ".git/info").mkdir()
        shutil.copyfile(exclude, own / ".git/info/exclude")
    tracked = git("ls-files", "-z", "--cached", **ours)
    untracked = git("ls-files", "-z", "--others", "--exclude-standard", **ours)
    changed = ""
    if commit:
        (own / ".git/HEAD").write_text(commit + "\n", encoding="utf-8")
        changed = git("status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=dirty", "--", ".", **ours)
    return WorkTree(commit, _names(tracked), _names(untracked), bool(changed))


def _names(listed: str) -> frozenset[str]:
    return frozenset(name for name in listed.split("\0") if name)


def _with_repositories_inside(found: WorkTree, directory: Path, notes: list[str], depth: int) -> WorkTree:
    """Add what submodules, and repositories that are none, have: git names only their directories."""
    tracked, untracked, changed = set(found.tracked), set(found.untracked), found.changed
    for name in sorted(found.tracked | found.untracked):
        place = directory / name
        if place.is_symlink() or not place.is_dir():
            continue
        inner = read_work_tree(place, notes, depth - 1) if depth and os.path.lexists(place / ".git") else None
        if inner is None:
            notes.append(f"{name} is a submodule that is not checked out, and is not shipped; git submodule update --init checks it out")
            continue
        tracked |= {os.path.join(name, path) for path in inner.tracked}
        untracked |= {os.path.join(name, path) for path in inner.untracked}
        changed = changed or inner.changed
    return WorkTree(found.commit, frozenset(tracked), frozenset(untracked), changed)
