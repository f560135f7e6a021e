# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an app's virtual environment must hold, as its source says: the files that say it, and a key that changes with each of them."""

from __future__ import annotations

import codecs
import hashlib
import json
import optparse
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits import SourceError

AUTO = "auto"
# What says most exactly what the app was tried with comes first.
FOUND = ("uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml")
OTHER_LOCKS = {"poetry.lock": "poetry export --output requirements.txt", "Pipfile.lock": "pipenv requirements > requirements.txt"}
# Words without which a TOML file names nothing else of the source. One of them may stand there for another reason: that costs a build.
NAMES_MORE = ("build-system", "path", "directory", "file:", "editable", "workspace", "dynamic", "../", "./")
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32-le", codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be",
}  # fmt: skip
ENCODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
COMMENT = re.compile(r"(^|\s+)#.*$")
URL = re.compile(r"(?:[\w.-]+(?:\[[^\]]*\])?\s*@\s*)?([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
BY_NAME = re.compile(r"[A-Za-z0-9][\w.-]*\s*(\[[^\]/]*\])?\s*[(<>=!~,\w.*+)\s-]*")
ARCHIVES = (".whl", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz", ".tar.lz", ".tar.lzma")
NO_REQUIREMENTS = "Add it there, or for an app that needs nothing:\n  flask_app_requirements: ''"


@dataclass
class Requirements:
    """What is to be installed for the app.

    ``file`` is the file in the source that was asked for, empty for none. ``lines`` and ``constraints`` are what a requirements file and all
    that it includes say, each entry on a line, as ``uv`` takes it; ``arguments`` are those that such a file stands for. ``whole`` says that the
    build needs the whole source, and not its ``files`` alone, and ``builds`` that a package in it is built. ``key`` changes with each byte
    of what the build is given. ``text`` is for people.
    """

    file: str = ""
    lines: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    whole: bool = False
    builds: bool = False
    key: str = ""
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the host gets it."""
        return asdict(self)


def read_requirements(source: Path, name: str, build: str) -> Requirements:
    """Read what a source requires. ``name`` is a file in it, ``auto`` for the first that is there, or empty; ``build`` names its content.

    Raises ``SourceError``.
    """
    found = Requirements(file=_file_of(source, name))
    reader = _Reader(source, found)
    if found.file and Path(found.file).suffix in (".toml", ".lock"):
        reader.read_project()
    elif found.file:
        reader.read(found.file, "flask_app_requirements")
    contents = [[path, hashlib.sha256((source / path).read_bytes()).hexdigest()] for path in sorted(found.files)]
    text = json.dumps([found.file, contents, build if found.whole else ""])
    found.key = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    shown = [*found.lines, *found.arguments, *(f"--constraint {one}" for one in found.constraints)]
    found.text = "\n".join(shown or [f"{path} ({digest[:16]})" for path, digest in contents])
    return found


def _file_of(source: Path, name: str) -> str:
    if name != AUTO:
        return name
    there = [one for one in FOUND if (source / one).is_file()]
    other = [one for one in OTHER_LOCKS if (source / one).is_file()]
    if other and there in ([], ["pyproject.toml"]):
        instead = ". Or, without the lock:\n  flask_app_requirements: pyproject.toml" if there else ""
        raise SourceError(
            f"flask_app_requirements: {source} has {other[0]}, which cannot be read; export it and keep the result in the source:\n"
            f"  {OTHER_LOCKS[other[0]]}{instead}"
        )
    if not there:
        raise SourceError(f"flask_app_requirements: {source} has none of {', '.join(FOUND)}. {NO_REQUIREMENTS}")
    return there[0]


class _Parser(optparse.OptionParser):
    """The options of a requirements file: they may be shortened, joined with their value or quoted, as pip takes them with this same parser."""

    def __init__(self) -> None:
        super().__init__(add_help_option=False)
        for names in ("-r --requirement", "-c --constraint", "-e --editable", "-f --find-links", "-C --config-settings --config-setting"):
            self.add_option(*names.split(), dest=names.split()[1].lstrip("-").replace("-", "_"), action="append", default=[])
        for name in ("--extra-index-url", "--no-binary", "--only-binary", "--trusted-host", "--use-feature", "--hash"):
            self.add_option(name, action="append", default=[])
        self.add_option("-i", "--index-url", "--pypi-url", dest="index_url")
        for name in ("--no-index", "--prefer-binary", "--require-hashes", "--pre"):
            self.add_option(name, action="store_true")

    def error(self, msg: str) -> Any:
        """Raises ``ValueError``."""
        raise ValueError(msg)


class _Reader:
    """Reads the files of ``found``, each once, and completes it."""

    def __init__(self, source: Path, found: Requirements) -> None:
        self.source, self.found = source, found
        self.seen: set[tuple[str, bool]] = set()

    def read_project(self) -> None:
        """Take a project's own files; they are handed over as they are."""
        name = self.found.file
        beside = os.path.join(os.path.dirname(name), "pyproject.toml")
        for one in (name, *([beside] if name.endswith(".lock") else [])):
            self._take(one, "flask_app_requirements")
            text = (self.source / one).read_text(encoding="utf-8", errors="replace")
            self.found.whole |= any(word in text for word in NAMES_MORE)
            self.found.builds |= "[build-system]" in text

    def read(self, name: str, named_by: str, constrains: bool = False) -> None:
        """Read a requirements file, and those that it includes."""
        if (name, constrains) in self.seen:
            return
        self.seen.add((name, constrains))
        path = self._take(name, named_by)
        wanted = self.found.constraints if constrains else self.found.lines
        for line in logical_lines(decoded(path.read_bytes())):
            try:
                self._read_line(line, name, wanted, constrains)
            except ValueError:  # uv says what is wrong with it, and may have all that it names
                self.found.whole = True
                wanted.append(line)

    def _take(self, name: str, named_by: str) -> Path:
        path = self.source / name
        if not path.resolve().is_relative_to(self.source.resolve()):
            raise SourceError(f"{named_by}: got {name!r}, which is outside of the source {self.source}. Copy it into the source")
        if not path.is_file():
            advice = NO_REQUIREMENTS if named_by == "flask_app_requirements" else "Add it there, or remove the line that names it"
            raise SourceError(f"{named_by}: got {name!r}, which is no file in {self.source}. {advice}")
        self.found.files += [] if name in self.found.files else [name]
        return path

    def _read_line(self, line: str, name: str, wanted: list[str], constrains: bool) -> None:
        words = line.split(" ")
        first = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
        requirement, (options, rest) = " ".join(words[:first]).strip(), _Parser().parse_args(shlex.split(" ".join(words[first:])))
        if rest:
            raise ValueError(f"{rest} belongs to no option")
        if requirement:
            wanted.append(self._requirement(requirement, options))
        for given in options.editable:
            wanted.append(self._requirement(given if URL.match(given) or given.startswith(".") else f"./{given}", options))
        for included, as_constraint in [*((one, constrains) for one in options.requirement), *((one, True) for one in options.constraint)]:
            if URL.match(included):
                wanted.append(f"--constraint {included}" if as_constraint else f"--requirement {included}")
            else:
                inner = os.path.normpath(os.path.join(os.path.dirname(name), included))
                self.read(inner, f"flask_app_requirements: {name}", as_constraint)
        self._take_options(options, name)

    def _requirement(self, text: str, options: Any) -> str:
        """A requirement on a line of its own. What it may name in the source is in the source alone."""
        url, plain = URL.match(text), text.partition(";")[0].strip()
        archive = not url and plain.lower().endswith(ARCHIVES)
        local = url[1].lower() == "file" if url else archive or not BY_NAME.fullmatch(plain)
        if archive and "/" not in plain:
            text = f"./{text}"
        self.found.whole |= local
        self.found.builds |= local and not archive
        for setting in options.config_settings:
            package = re.match(r"[\w.-]+", text)
            self.found.arguments += ["--config-settings-package", f"{package[0] if package else text}:{setting}"]
        return " ".join([text, *(f"--hash={one}" for one in options.hash)])

    def _take_options(self, options: Any, name: str) -> None:
        lines, arguments = self.found.lines, self.found.arguments
        lines += [f"--index-url {options.index_url}"] if options.index_url else []
        lines += [f"--extra-index-url {one}" for one in options.extra_index_url]
        for given in options.find_links:
            beside = os.path.normpath(os.path.join(os.path.dirname(name), given))
            here = not given.startswith("/") and (self.source / beside).exists()
            self.found.whole |= here
            if here:  # on a line, uv takes URLs alone
                arguments.append(f"--find-links=./{beside}")
            else:
                lines.append(f"--find-links {given}")
        for option in ("no_binary", "only_binary"):
            lines += [f"--{option.replace('_', '-')} {one}" for given in getattr(options, option) for one in given.split(",")]
        lines += ["--no-index"] if options.no_index else []
        arguments += ["--require-hashes"] if options.require_hashes else []
        arguments += ["--prerelease=allow"] if options.pre else []
        arguments += [f"--allow-insecure-host={one}" for one in options.trusted_host]


def decoded(content: bytes) -> str:
    """The text of a requirements file in the encoding that it says it has, else UTF-8."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    for line in content.split(b"\n")[:2]:
        named = ENCODING.search(line) if line.startswith(b"#") else None
        if named:
            try:
                return content.decode(named[1].decode())
            except (LookupError, UnicodeDecodeError):
                break
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def logical_lines(text: str) -> Iterator[str]:
    """The lines that say something, without comments; one that ends with a backslash is continued on the next."""
    begun = ""
    for line in [*text.splitlines(), ""]:
        comment = COMMENT.match(line)
        if line.endswith("\\") and not comment:
            begun += line[:-1]
            continue
        whole = COMMENT.sub("", f"{begun} {line}" if comment else begun + line).strip()
        begun = ""
        if whole:
            yield whole
