"""How objects show what they hold: aligned columns of text, and tables of HTML for notebooks."""

from collections.abc import Iterable, Sequence
from html import escape

NAMES_SHOWN = 20


def listed(names: Sequence[str]) -> str:
    """Names as a list in one line; of very many the first ones, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f", … and {more} more" if more > 0 else "")


def columns_of(rows: Iterable[Sequence[object]], indent: str = "  ") -> list[str]:
    """Rows as lines of text, two spaces between aligned columns."""
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        return []
    widths = [max(len(row[number]) for row in cells) for number in range(len(cells[0]))]
    return [
        (indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))).rstrip()
        for row in cells
    ]


def html_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A title and a table, every text in it escaped."""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<p>{escape(title)}</p><table><tr>{names}</tr>{body}</table>"
