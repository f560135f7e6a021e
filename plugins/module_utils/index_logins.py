# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Logins in the URLs of a requirements file, handed to pip in a file: it passes indexes on as arguments, which all accounts see."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

LOGIN = re.compile(r"(?<=://)([^/\s]+)@([^/\s:]+)")
INCLUDED = re.compile(r"^(\s*(?:-r|-c|--requirement|--constraint)[ =]?\s*)(?!\S+://)(\S+)", re.MULTILINE)
PLAIN = re.compile(r"[\w.~!$%&*+,;=@-]+")  # what every Python reads in a .netrc without quotes


def without_logins(source: Path, requirements: str, home: Path, files: Path) -> str:
    """The path of a requirements file that has no logins; they are in the ``.netrc`` of the ``home`` that the account will have.

    It is the file itself if that has none, and a copy in ``home`` otherwise. What is to be there is written to the directory ``files``.
    A login that a ``.netrc`` cannot hold stays where it is.
    """
    logins: dict[str, str] = {}
    texts: dict[Path, str] = {}

    def take(found: re.Match[str]) -> str:
        name, _colon, password = (unquote(part) for part in found[1].partition(":"))
        line = f"machine {found[2]} login {name} password {password}\n"
        fits = PLAIN.fullmatch(name) and PLAIN.fullmatch(password)
        return found[2] if fits and logins.setdefault(found[2], line) == line else found[0]

    def copy(path: Path) -> str:
        inside = path.resolve().is_relative_to(source.resolve())  # root reads no other file for whoever wrote the requirements
        if inside and path not in texts and path.is_file():
            texts[path] = ""  # two files may include each other
            text = LOGIN.sub(take, path.read_text(encoding="utf-8"))
            texts[path] = INCLUDED.sub(lambda found: found[1] + copy(Path(os.path.normpath(path.parent / found[2]))), text)
        return str(home / f"requirements-{list(texts).index(path)}.txt") if path in texts else str(path)

    copied = copy(source / requirements)
    if not logins:
        return requirements
    for number, text in enumerate(texts.values()):
        (files / f"requirements-{number}.txt").write_text(text, encoding="utf-8")
    with open(os.open(files / ".netrc", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write("".join(logins.values()))
    return copied
