"""How objects and reports show what they hold: plain text, aligned columns, tables of HTML.

Names come from other people's folders, archives and stores. A name may have characters that move
the cursor of a terminal, end a line, or let text run backwards: they are shown by their numbers.
"""

import re
from collections.abc import Iterable, Sequence
from html import escape

NAMES_SHOWN = 20
# Control characters, marks of direction, line and paragraph separators, tags, and halves of
# characters, which names have that are no text.
_CONTROL = (
    "\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff"
    "\\ud800-\\udfff\\U000e0000-\\U000e007f"
)
_CONTROLS = re.compile(f"[{_CONTROL}]")
_CONTROLS_OF_LINES = re.compile(f"(?![\\n\\t])[{_CONTROL}]")


def plain(text: str) -> str:
    r"""A text in one line; control characters in it are shown as ``\x1b`` or ``\u202e``."""
    return _CONTROLS.sub(_by_number, text)


def plain_lines(text: str) -> str:
    """Lines of text without control characters, as `plain`; tabs and ends of lines stay."""
    return _CONTROLS_OF_LINES.sub(_by_number, text)


def plain_json(text: str) -> str:
    """JSON whose strings name control characters by escapes: it says the same."""
    return _CONTROLS_OF_LINES.sub(_json_escape, text)


def _by_number(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def listed(names: Sequence[str]) -> str:
    """Names as a list in one line; of very many the first ones, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(map(plain, names[:NAMES_SHOWN])) + (f", … and {more} more" if more > 0 else "")


def columns_of(rows: Iterable[Sequence[object]], indent: str = "  ") -> list[str]:
    """Rows as lines of plain text, two spaces between aligned columns."""
    cells = [[plain(str(cell)) for cell in row] for row in rows]
    if not cells:
        return []
    widths = [max(len(row[number]) for row in cells) for number in range(len(cells[0]))]
    return [
        (indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))).rstrip()
        for row in cells
    ]


def html_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A title and a table, every text in it plain and escaped."""
    names = "".join(f"<th>{html(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<p>{html(title)}</p><table><tr>{names}</tr>{body}</table>"


def html(text: object) -> str:
    """A text as HTML that shows it and nothing else."""
    return escape(plain(str(text)))
