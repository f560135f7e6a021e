# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which releases and venvs of an app the host's processes still need, whoever started them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Tree

LINKS = ("cwd", "exe", "root")


def in_use(tree: Tree) -> tuple[set[str], set[str]]:
    """The names of the releases and of the venvs that a process works in, maps a file of, or has in its environment, as a job has."""
    pattern = re.compile(rf"{re.escape(str(tree.root.resolve()))}/(releases|venvs)/([^/\s]+)")
    found: dict[str, set[str]] = {"releases": set(), "venvs": set()}
    for process in Path("/proc").glob("[0-9]*"):
        for kind, name in pattern.findall(_files_of(process)):
            found[kind].add(name)
    return found["releases"], found["venvs"]


def _files_of(process: Path) -> str:
    try:
        environment = (process / "environ").read_text(errors="replace").replace("\0", "\n")
        return "\n".join([*(os.readlink(process / link) for link in LINKS), (process / "maps").read_text(errors="replace"), environment])
    except OSError:
        return ""  # it has ended in between, or is the kernel's own
