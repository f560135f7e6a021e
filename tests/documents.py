"""What a Markdown document shows its reader: files to write, and commands to type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Block:
    """A code block, without the indent of the list that it may be part of."""

    language: str
    text: str

    @property
    def file(self) -> str:
        """The path that the first line, a comment, gives the block; empty if it is no file."""
        named = re.match(r"(?:#|--) (\S+\.\w+)\n", self.text)
        return named[1] if named and self.language != "console" else ""

    @property
    def commands(self) -> list[str]:
        """The commands of a console, each in one line."""
        joined = self.text.replace("\\\n", " ")
        return [line for line in joined.splitlines() if line.strip()] if self.language == "console" else []


def sections_of(document: Path) -> dict[str, list[Block]]:
    """The code blocks of each section that has some, in their order."""
    found: dict[str, list[Block]] = {}
    for part in re.split(r"^(?=##+ )", document.read_text(encoding="utf-8"), flags=re.MULTILINE):
        section = part.partition("\n")[0].lstrip("# ")
        for indent, language, text in re.findall(r"^( *)```(\w+)\n(.*?)^ *```$", part, re.MULTILINE | re.DOTALL):
            found.setdefault(section, []).append(Block(language, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)))
    return found
