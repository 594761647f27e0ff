"""`Legend`: names with their colours in columns, as many as fit."""

from collections.abc import Iterable
from dataclasses import dataclass

from patchpress.converter.pictures.page import (
    NORMAL,
    PicturePage,
    line_height,
    text_width,
    wrapped,
)

SWATCH, LINE = 0.17, 0.175  # inches


@dataclass(frozen=True)
class Legend:
    """Entries in columns, read downwards."""

    title: str
    entries: tuple[tuple[str, str], ...]
    """(name, colour)"""
    columns: int
    width: float
    """Inches of a column."""

    @classmethod
    def of(cls, entries: Iterable[tuple[str, str]], title: str, width: float) -> "Legend":
        """Lay out entries of (name, colour) in a width in inches; each has one line."""
        known = tuple(entries)
        if not known:
            return cls("", (), 1, width)
        widest = max(text_width(name) for name, _ in known) + SWATCH + 0.3
        columns = max(1, min(int(width // widest), len(known)))
        return cls(title, known, columns, min(width / columns, widest + 0.35))

    @property
    def rows(self) -> int:
        """Lines of the longest column."""
        return -(-len(self.entries) // self.columns)

    @property
    def height(self) -> float:
        """Inches that it takes; 0 without entries."""
        if not self.entries:
            return 0.0
        return line_height(NORMAL) + self.rows * LINE + 0.1

    def draw(self, page: PicturePage, left: float, top: float) -> float:
        """Draw it; gives the inches that it took."""
        if not self.entries:
            return 0.0
        title = wrapped(self.title, page.width - 2 * left, size=NORMAL, weight="bold", most=1)
        below = top + page.text(left, top, title, size=NORMAL, weight="bold") + 0.02
        for number, (name, colour) in enumerate(self.entries):
            x = left + (number // self.rows) * self.width
            y = below + (number % self.rows) * LINE
            page.box(x, y + 0.01, SWATCH, LINE - 0.045, colour, edge="#5A626B")
            page.text(x + SWATCH + 0.07, y, wrapped(name, self.width - SWATCH - 0.1, most=1))
        return self.height
