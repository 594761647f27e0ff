"""What was measured, as tables for people and as one JSON file with every repetition."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Section:
    """One table, what must be said beside it, and the raw numbers behind it."""

    title: str
    notes: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    raw: tuple[dict[str, object], ...]


def markdown(section: Section) -> str:
    """Give a section as text: a title, notes, and a table whose columns line up."""
    lines = [section.header, tuple("-" * len(name) for name in section.header), *section.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[c.ljust(width) for c, width in zip(line, widths, strict=True)] for line in lines]
    table = (f"| {' | '.join(cells)} |" for cells in padded)
    return "\n".join([f"## {section.title}", "", *section.notes, "", *table, ""])


def write_json(path: Path, facts: Mapping[str, object], sections: list[Section]) -> None:
    """Write everything to one file: the machine, the arguments, the raw repetitions."""
    content = {**facts, "sections": [asdict(section) for section in sections]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
