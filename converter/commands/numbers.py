"""What the numbers are that some rows of a store have as their targets, as `stats` shows them."""

from patchpress.converter.contents.of_store import number_facts
from patchpress.converter.paths import StrPath
from patchpress.readers.choice import Where
from patchpress.readers.format.table import Split
from patchpress.readers.rows import rows_of
from patchpress.readers.showing import columns_of
from patchpress.readers.store import open_store
from patchpress.readers.targets import number_array


def numbers_text(store: StrPath, split: Split, flagged: str | None, where: Where) -> str:
    """A table of the columns of numbers, to follow that of the bands; empty if there are none.

    Raises:
        StoreError, OptionError, SelectionEmpty: as `stats`.
    """
    opened = open_store(store, stage=False)
    columns = list(opened.manifest.numbers)
    if not columns:
        return ""
    rows = rows_of(opened.path, opened.manifest, split, where, flagged, columns)
    lines: list[tuple[str, ...]] = [("number", "rows", "absent", "min", "mean", "max")]
    for column in columns:
        facts = number_facts(number_array(rows.table[column]))
        values = ("none" if facts[k] is None else f"{facts[k]:.6g}" for k in ("min", "mean", "max"))
        lines.append((column, f"{facts['rows']:,}", f"{facts['absent']:,}", *values))
    return "\n\n" + "\n".join(columns_of(lines))
