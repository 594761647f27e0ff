"""Rows of a table as text that fits the terminal, by rich."""

from io import StringIO
from typing import TYPE_CHECKING, Any

from patchpress.converter.text import as_text, several
from patchpress.readers.showing import plain

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_WIDTH, WITHOUT_END = 40, 100_000  # characters of a line
GAP = 2  # characters between columns
OF_A_COLUMN = 12  # characters of a line for each column at least: others are named below


def rows_text(table: "pa.Table", width: int | None = None, most: int = 40) -> str:
    """The first rows of a table, and how many there are in all.

    Args:
        table: any columns.
        width: characters of a line: values that are too long are cut. None for as wide as it takes.
        most: rows that are shown.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = table.column_names
    if width:
        table = table.select(list(range(min(len(names), max(width, LEAST_WIDTH) // OF_A_COLUMN))))
    cells = [[_cell(value) for value in row.values()] for row in table.slice(0, most).to_pylist()]
    columns = list(zip(map(plain, table.column_names), *cells, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    most_wide = _widest(widths, max(width, LEAST_WIDTH)) if width else WITHOUT_END
    # Gaps are columns: Rich before 14.3 counts the padding of the last column, which it leaves out.
    shown = Table(box=None, header_style="", padding=0)
    for name, kind, wide in zip(table.column_names, table.schema.types, widths, strict=True):
        if shown.columns:
            shown.add_column(width=GAP)
        is_number = str(kind).startswith(("int", "uint", "float", "double", "decimal"))
        shown.add_column(
            Text(plain(name)),
            justify="right" if is_number else "left",
            width=min(wide, most_wide),
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in cells if columns else ():
        shown.add_row(*[text for cell in row for text in ("", Text(cell))][1:])
    console = Console(file=StringIO(), width=WITHOUT_END, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(shown)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    count = several(len(table), "row")
    more = f", the first {most:,} are shown" if len(table) > most else ""
    hidden = names[table.num_columns :]
    if hidden:
        more += f"; not shown for lack of room: {', '.join(hidden)}"
    return as_text([*lines, f"({count}{more})"])


def _widest(widths: list[int], room: int) -> int:
    """How wide a column may be, so that all of them fit."""
    room -= GAP * (len(widths) - 1)
    most = max(widths, default=0)
    while most > 1 and sum(min(one, most) for one in widths) > room:
        most -= 1
    return most


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list):
        return ", ".join(_cell(one) for one in value)
    if isinstance(value, bytes):
        return several(len(value), "byte")
    return "" if value is None else plain(str(value))
