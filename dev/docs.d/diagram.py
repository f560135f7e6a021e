"""Draw a topology as SVG, from docs/facts.yml: a box for each part of its chain, from the visitors down to the database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any

LINE, TITLE = 18, 15  # heights of a line and of a box's title
CHARACTER = 7.3  # width of one, in the widest of the fonts below
LABELS, PADDING, GAP, ARROW = 76, 14, 22, 34  # widths of the column of labels, inside a box, between boxes, and an arrow's length
STYLE = """
text { font: 12px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2328; }
.title { font: 600 15px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
.label, .note { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #59636e; }
.page { fill: #f6f8fa; }
.box { fill: #ffffff; stroke: #8c959f; }
.visitors { fill: #ddf4ff; stroke: #54aeff; }
.app { fill: #dafbe1; stroke: #4ac26b; }
.database { fill: #fff8c5; stroke: #d4a72c; }
.line { stroke: #59636e; stroke-width: 1.5; fill: none; }
.head { fill: #59636e; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .label, .note { fill: #a5afb9; }
  .page { fill: #161b22; }
  .box { fill: #0d1117; stroke: #6e7681; }
  .visitors { fill: #0c2d4a; stroke: #388bfd; }
  .app { fill: #0f2f1a; stroke: #3fb950; }
  .database { fill: #332a05; stroke: #bb8009; }
  .line { stroke: #a5afb9; }
  .head { fill: #a5afb9; }
}"""


@dataclass
class Box:
    """One part of the chain: its title, and lines of a label and values. ``above`` is written beside the arrow that leads to it."""

    title: str
    lines: list[tuple[str, list[str]]]
    kind: str = "box"
    above: str = ""
    rows: list[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = [(label if number == 0 else "", value) for label, values in self.lines for number, value in enumerate(values)]

    @property
    def width(self) -> float:
        """As wide as its widest line."""
        widest = max((len(value) for _label, value in self.rows), default=0) * CHARACTER + (LABELS if self.rows else 0)
        return max(widest, len(self.title) * 9, len(self.above) * 6.5 + 20) + 2 * PADDING

    @property
    def height(self) -> float:
        """As high as its title and its lines."""
        return 2 * PADDING + TITLE + (len(self.rows) * LINE + 2 if self.rows else 0)

    def in_words(self) -> str:
        """The box in words, for readers who cannot see it."""
        return ", ".join([self.title, *(f"{label} {' and '.join(values)}" for label, values in self.lines)])

    def draw(self, x: float, y: float, width: float) -> Iterator[str]:
        """The box at a place; boxes below each other are drawn equally wide."""
        yield f'<rect class="{self.kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{self.height:g}" rx="8"/>'
        yield f'<text class="title" x="{x + PADDING:g}" y="{y + PADDING + TITLE - 2:g}">{escape(self.title)}</text>'
        for number, (label, value) in enumerate(self.rows, 1):
            base = y + PADDING + TITLE + number * LINE
            if label:
                yield f'<text class="label" x="{x + PADDING:g}" y="{base:g}">{escape(label)}</text>'
            yield f'<text x="{x + PADDING + LABELS:g}" y="{base:g}">{escape(value)}</text>'


def draw(name: str, facts: dict[str, Any]) -> str:
    """A topology's diagram: each app has a lane, and so have PHP pages beside an app; what they share is as wide as all lanes."""
    top, lanes, bottom = first_boxes(facts), lanes_of(facts), last_boxes(facts)
    widths = [max(box.width for box in lane) for lane in lanes]
    total = max(sum(widths) + GAP * (len(lanes) - 1), *(box.width for box in top + bottom))
    widths[-1] = total - sum(widths[:-1]) - GAP * (len(lanes) - 1)
    lefts = [GAP + sum(widths[:number]) + GAP * number for number in range(len(lanes))]
    drawn, y = stack(top, GAP, GAP, total)
    ends = []
    for left, width, lane in zip(lefts, widths, lanes):
        boxes, end = stack(lane, left, y, width, arrow_first=True)
        drawn += boxes
        ends.append(end)
    for box in bottom:
        y = max(ends) + ARROW
        for left, end in zip(lefts, ends):
            drawn += arrow(left, end, y)
        drawn += box.draw(GAP, y, total)
        ends = [y + box.height]
    width, height = total + 2 * GAP, max(ends) + GAP
    described = ". Then ".join(box.in_words() for box in [*top, *(box for lane in lanes for box in lane), *bottom])
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
        ' role="img" aria-labelledby="title description">',
        f'<title id="title">The topology {name}: {escape(facts["chain"])}</title>',
        f'<desc id="description">{escape(described)}.</desc>',
        f"<style>{STYLE}\n</style>",
        f'<rect class="page" width="{width:g}" height="{height:g}" rx="12"/>',
        *drawn,
        "</svg>\n",
    ])  # fmt: skip


def stack(boxes: list[Box], x: float, y: float, width: float, arrow_first: bool = False) -> tuple[list[str], float]:
    """Boxes below each other with arrows between them, and the y position at which the last one ends."""
    drawn: list[str] = []
    for number, box in enumerate(boxes):
        if number or arrow_first:
            drawn += arrow(x, y, y + ARROW, box.above)
            y += ARROW
        drawn += box.draw(x, y, width)
        y += box.height
    return drawn, y


def arrow(left: float, start: float, end: float, note: str = "") -> Iterator[str]:
    """An arrow down, near the left edge of the boxes that it joins, with a note beside it."""
    x = left + 2 * PADDING
    yield f'<path class="line" d="M{x:g} {start:g}V{end - 6:g}"/>'
    yield f'<path class="head" d="M{x:g} {end:g}l-5 -8h10z"/>'
    if note:
        yield f'<text class="note" x="{x + 12:g}" y="{(start + end) / 2 + 4:g}">{escape(note)}</text>'


def names(facts: dict[str, Any]) -> list[str]:
    """The chain's names for its front (empty if it has none), its application server, its app and, if it has one, its database."""
    found = facts["chain"].split(" → ")
    return found if front_unit(facts) else ["", *found]


def front_unit(facts: dict[str, Any]) -> str:
    """The unit that listens for other machines, besides SSH's; empty if there is none."""
    return next((line["unit"] for line in facts["listens"] if line["at"].startswith("*:") and not line["unit"].startswith("ssh.")), "")


def runs(facts: dict[str, Any], unit: str, account: str = "") -> list[str]:
    """A unit's processes, all or those of an account, as lines."""
    lines = [line for line in facts["processes"] if line["unit"] == unit and account in ("", line["account"])]
    return [f"{line.get('count', '')} {line['what']} as {line['account']}".strip() for line in lines]


def listens(facts: dict[str, Any], unit: str) -> list[str]:
    """The addresses on which a unit listens."""
    return [line["at"] for line in facts["listens"] if line["unit"] == unit]


def first_boxes(facts: dict[str, Any]) -> list[Box]:
    """The visitors, and the front, if there is one."""
    unit = front_unit(facts)
    if not unit:
        return [Box("You", [("reach", ["the host's loopback address, by an SSH tunnel"])], "visitors")]
    apps = {app["account"] for app in facts["apps"].values()}
    itself = [line["path"] for line in facts["answers"] if line.get("served_by") == "front"]
    front = Box(names(facts)[0], [
        ("unit", [unit]),
        ("listens", [", ".join(listens(facts, unit))]),
        ("runs", [line for line in runs(facts, unit) if line.rpartition(" ")[2] not in apps]),
        ("reads", facts["sites"]["enabled"]),
        *([("serves", [f"{path} itself" for path in itself])] if itself else []),
    ], above="HTTP")  # fmt: skip
    return [Box("Visitors", [], "visitors"), front]


def lanes_of(facts: dict[str, Any]) -> list[list[Box]]:
    """For each app its own port (if it has one), its application server and the app itself; PHP pages beside an app come after it."""
    _front, server, framework, *_database = names(facts)
    lanes = []
    for app, of in facts["apps"].items():
        lane: list[Box] = []
        port = next((line for line in facts["listens"] if line["unit"].startswith(f"{app}-port-")), None)
        if port:
            lane.append(Box("The app's own port", [
                ("unit", [port["unit"]]), ("listens", [port["at"]]), ("runs", [f"systemd's proxy as {of['account']}"]),
            ]))  # fmt: skip
        unit = f"{app}@*.service"
        sockets = listens(facts, unit)
        lane.append(Box(server, [
            ("unit", [unit if sockets else front_unit(facts)]),
            *([("listens", sockets)] if sockets else []),
            ("runs", runs(facts, unit) or runs(facts, front_unit(facts), of["account"])),
        ]))  # fmt: skip
        lane.append(Box(f"{framework}: {app}", [
            ("callable", [of["module"]]), ("mounts", of["mounts"]), ("tree", [of["root"]]), *own_files(facts, of["root"]),
        ], "app"))  # fmt: skip
        lanes.append(lane)
        if f"{app}-php.socket" in facts["units"]:
            lanes.append([Box("PHP pages beside the app", [
                ("unit", [f"{app}-php.socket"]),
                ("listens", listens(facts, f"{app}-php.socket")),
                ("runs", runs(facts, f"{app}-php.service")),
                ("current/", [line["path"].partition("/current/")[2] for line in facts["files"] if line["path"].endswith(".php")]),
            ], "app")])  # fmt: skip
    return lanes


def own_files(facts: dict[str, Any], root: str) -> list[tuple[str, list[str]]]:
    """The files in an app's tree that not everybody can read, in the live release and beside it."""
    found: dict[str, list[str]] = {}
    for line in facts["files"]:
        inside = line["path"].removeprefix(f"{root}/")
        if inside != line["path"] and line["mode"] != "0644":
            label, rest = ("current/", inside.removeprefix("current/")) if inside.startswith("current/") else ("beside it", f"{inside}/")
            found.setdefault(label, []).append(f"{rest} {line['mode']} {line['owner']}:{line['group']}")
    return list(found.items())


def last_boxes(facts: dict[str, Any]) -> list[Box]:
    """The database, if there is one."""
    if "database" not in facts:
        return []
    database = facts["database"]
    unit = next(line["unit"] for line in facts["processes"] if line["account"] == "mysql")
    kept = [line for line in facts["files"] if line["path"].endswith(".env")]
    return [Box(names(facts)[-1], [
        ("unit", [unit]),
        ("listens", listens(facts, unit)),
        ("runs", runs(facts, unit)),
        ("database", [database["name"]]),
        ("accounts", [f"{account} may {', '.join(may)}" for account, may in database["accounts"].items()]),
        ("passwords", [f"{line['path']} {line['mode']} {line['owner']}:{line['group']}" for line in kept]),
    ], "database")]  # fmt: skip
