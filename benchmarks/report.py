"""What was measured, as tables for people and as one JSON file with every repetition."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CaseTable:
    """One table, the notes above it, and the numbers that it was made of."""

    case: str
    title: str
    notes: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    raw: tuple[dict[str, object], ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The machine, its load, the versions and the arguments when this was measured."""


def markdown(section: CaseTable) -> str:
    """Give a section as text: a title, notes, and a table whose columns line up."""
    lines = [section.header, tuple("-" * max(len(n), 3) for n in section.header), *section.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[c.ljust(width) for c, width in zip(line, widths, strict=True)] for line in lines]
    table = (f"| {' | '.join(cells)} |" for cells in padded)
    return "\n".join([f"## {section.title}", "", *section.notes, "", *table, ""])


def write_json(path: Path, facts: Mapping[str, object], sections: Sequence[CaseTable]) -> None:
    """Write everything to one file: the machine, the arguments, every repetition."""
    content = {**facts, "sections": [asdict(section) for section in sections]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> list[CaseTable]:
    """Read the sections of an earlier run; none if there is no such report."""
    try:
        listed = json.loads(path.read_text())["sections"]
        return [table_from(one) for one in listed]
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return []


def table_from(content: dict[str, Any]) -> CaseTable:
    """Build one section from its JSON."""
    content["notes"], content["header"] = tuple(content["notes"]), tuple(content["header"])
    content["rows"], content["raw"] = tuple(map(tuple, content["rows"])), tuple(content["raw"])
    return CaseTable(**content)
