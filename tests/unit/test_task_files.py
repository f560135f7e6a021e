"""How task files name each other, as every supported ansible-core takes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROLES = Path(__file__).resolve().parents[2] / "roles"
NAMED = re.compile(r"(?:include|import)_tasks:\s*(?:\n\s+file:)?\s*(.+)")


def named_in(path: Path) -> list[Path]:
    """The task files that a task file includes or imports, also those of which a template chooses one."""
    texts = NAMED.findall(path.read_text())
    words = [word for text in texts for word in re.findall(r"[a-z_]+", text)]
    return [path.with_name(f"{word}.yml") for word in words if path.with_name(f"{word}.yml").exists()]


def below(paths: list[Path]) -> set[Path]:
    """These task files, and all that they name in turn."""
    found: set[Path] = set()
    while paths:
        path = paths.pop()
        if path not in found:
            found.add(path)
            paths += named_in(path)
    return found


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_nothing_is_imported_below_a_name_that_needs_a_host(role: str) -> None:
    """At an `import_tasks`, ansible-core 2.17 renders the names of all files that led there, without a host: one without a default fails."""
    for path in sorted((ROLES / role / "tasks").glob("*.yml")):
        for text in NAMED.findall(path.read_text()):
            if "{{" in text and "default(" not in text:
                files = [path.with_name(f"{name}.yml") for name in re.findall(r"'([a-z_]+)'", text)]
                importing = [one.name for one in below([one for one in files if one.exists()]) if "import_tasks:" in one.read_text()]
                assert importing == [], f"{path.name} includes {text}; use include_tasks in what that leads to"
