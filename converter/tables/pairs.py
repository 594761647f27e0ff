"""The table that pairs the names of modalities, as rows see it.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.descriptions.description import Description
from patchpress.converter.tables.arrow import is_in, set_column
from patchpress.converter.tables.name_columns import read_columns
from patchpress.converter.tables.naming import respelling
from patchpress.readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa


def read_pairs(
    description: Description,
    path: Path | None,
    known: Mapping[str, "pa.Array"],
    notes: list[str],
    *,
    is_part: bool,
) -> "pa.Table | None":
    """The pairing table under our column names, with names as the source spells them.

    Raises:
        TableError: it cannot be read, or has no patch of the source, though it should.
    """
    import pyarrow.compute as pc

    if description.pairs is None or path is None:
        return None
    wanted = {description.identity: description.pairs.identity, **description.pairs.columns}
    paired = read_columns(path, list(wanted.values()), notes).rename_columns(list(wanted))
    matched = 0
    for column in known.keys() & set(wanted):
        spelled = respelling(paired[column], known[column])
        notes += spelled.note(path.name)
        paired = set_column(paired, column, spelled.apply(paired[column]))
        matched += pc.sum(is_in(paired[column], known[column])).as_py() or 0
    if known and len(paired) and not matched and not is_part:
        column = description.identity if description.identity in known else next(iter(known))
        there = paired[column if column in wanted else description.identity][0].as_py()
        raise TableError(
            f"no patch of the source is in {path}: a name there is {there!r}, and in the source "
            f"{known[column][0].as_py()!r}; give the right table with --path pairs=FILE"
        )
    return paired


def with_pairs(rows: "pa.Table", description: Description, paired: "pa.Table | None") -> "pa.Table":
    """The rows with the names of their partners, also of those that have no record."""
    import pyarrow.compute as pc

    if paired is None:
        return rows
    names = paired[description.identity].combine_chunks()
    at = pc.index_in(rows[description.identity], value_set=names)
    for column in paired.column_names:
        if column != description.identity:
            rows = rows.append_column(column, paired[column].combine_chunks().take(at))
    return rows
