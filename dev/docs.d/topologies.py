"""Write docs/topologies: a page and a diagram of each topology, made of docs/facts.yml. `make docs` runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from diagram import draw

ROOT = Path(__file__).resolve().parents[2]
MADE = "<!-- Made by `make docs` of docs/facts.yml: change that. -->"
READING = """\
What a host of this topology is like, as the local fleet (`make demo`) sets it up: each line was asked for on a converged host by the tests.
`*` in a unit's name is the live release; `current` in a path is the link to it."""


def code(text: Any) -> str:
    """Text as it is, in a cell."""
    return f"`{text}`"


def codes(values: Any) -> str:
    """Several of them."""
    return ", ".join(map(code, values))


def table(title: str, columns: list[str], rows: list[list[Any]]) -> Iterator[str]:
    """A table below its title; nothing where it has no rows."""
    if rows:
        yield f"\n## {title}\n"
        yield f"| {' | '.join(columns)} |"
        yield f"|{'|'.join([' --- '] * len(columns))}|"
        yield from (f"| {' | '.join(map(str, row))} |" for row in rows)


def answer(line: dict[str, Any]) -> str:
    """What is in an answer."""
    if "json" in line:
        return code(json.dumps(line["json"], ensure_ascii=False))
    if "body" in line:
        return code(line["body"])
    return f"…{code(line['has'])}…" + (", from the front" if line.get("served_by") == "front" else "")


def page(name: str, facts: dict[str, Any]) -> Iterator[str]:
    """A topology's page."""
    outside = {line["at"].removeprefix("*:") for line in facts["listens"] if line["at"].startswith("*:")}

    def port(line: dict[str, Any]) -> str:
        return f"{line['port']}" + ("" if str(line["port"]) in outside else ", on the host itself")

    yield f"{MADE}\n# {name}\n\n{facts['chain']}\n\n{facts['summary'].strip()}"
    yield f"\n![{facts['chain']}: what listens where, as whom, and the files, as in the tables below]({name}.svg)\n\n{READING}"
    rows = [[code(app), code(of["root"]), code(of["account"]), code(of["module"]), codes(of["mounts"])] for app, of in facts["apps"].items()]
    yield from table("Apps", ["app", "tree", "account", "callable", "mounts"], rows)
    rows = [
        [port(line), code(f"{line.get('method', 'GET')} {line['path']}"), line.get("status", 200), line["type"], answer(line)]
        for line in facts["answers"]
    ]
    yield from table("What it answers", ["port", "request", "status", "content type", "body"], rows)
    rows = [[port(line), codes(line["paths"])] for line in facts["refused"]]
    yield from table("What it refuses", ["port", "paths"], rows)
    rows = [[code(line["at"]), code(line["unit"]), "other machines" if line["at"].startswith("*:") else "the host"] for line in facts["listens"]]
    yield from table("What listens", ["at", "unit", "for whom"], rows)
    rows = [[code(line["unit"]), line["what"], code(line["account"]), line["parent"], line.get("count", "1 or more")] for line in facts["processes"]]
    yield from table("Processes", ["unit", "process", "account", "parent", "how many"], rows)
    rows = [[code(account), codes(of["groups"])] for account, of in facts["accounts"].items()]
    yield from table("Accounts, without a login shell or a home", ["account", "groups"], rows)
    rows = [[code(line[key]) for key in ("path", "owner", "group", "mode")] for line in facts["files"]]
    yield from table("Files", ["path", "owner", "group", "mode"], rows)
    for section, title in {"sites": "Sites", "modules": "Apache's modules"}.items():
        if section in facts:
            yield from table(title, [key.replace("_", " ") for key in facts[section]], [list(map(codes, facts[section].values()))])
    yield f"\nUnits that run, now and after a boot: {codes(facts['units'])}."
    if "database" in facts:
        yield from database(**facts["database"])


def database(name: str, table_name: str, accounts: dict[str, list[str]], entered: dict[str, Any]) -> Iterator[str]:
    """A database's part of the page."""
    yield from table(f"The database {code(name)}", ["account", "may"], [[code(one), ", ".join(may)] for one, may in accounts.items()])
    yield f"\nWhat is entered in the page at `/`, such as {codes(entered.values())}, is a row of {code(table_name)}, which the app shows."


def files() -> Iterator[tuple[str, str]]:
    """The name and the content of each file."""
    for name, facts in yaml.safe_load((ROOT / "docs/facts.yml").read_text(encoding="utf-8")).items():
        yield f"{name}.md", "\n".join(page(name, facts)) + "\n"
        yield f"{name}.svg", draw(name, facts)


def main() -> None:
    """Write the files into the directory that is given."""
    directory = Path(sys.argv[1])
    directory.mkdir(exist_ok=True)
    for name, content in files():
        (directory / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
