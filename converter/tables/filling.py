"""Columns of rows that records fill, beside and after those of the official tables.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from patchpress.converter.descriptions.description import Description
from patchpress.converter.tables.arrow import fill_column, one_array, set_column
from patchpress.converter.tables.name_index import NameIndex
from patchpress.converter.tables.one_type import as_type, of_one_type
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.converter.text import several

if TYPE_CHECKING:
    import pyarrow as pa

Logs = Mapping[str, RecordLog]
"""Modality -> its stored records."""


def mixed_types(logs: Logs) -> list[str]:
    """A sentence for each column whose values have several types."""
    return [
        _of_several_types(column, name, mixed)
        for name, log in logs.items()
        for column in log.columns
        if (mixed := log.mixed_types(column))
    ]


def mixed_types_of_sample(
    modality: str, columns: Sequence[str], values: Sequence[tuple[object, ...]]
) -> list[str]:
    """The same for a few records of a modality, each with the values of its columns."""
    by_column = zip(columns, zip(*values, strict=True), strict=True) if values else ()
    return [
        _of_several_types(column, modality, mixed)
        for column, of_records in by_column
        if (mixed := of_one_type(list(of_records))[1])
    ]


def _of_several_types(column: str, modality: str, mixed: str) -> str:
    return f"{column} is of several types in the JSON files of {modality}: {mixed}"


def as_official(new: "pa.Table", official: "pa.Table", notes: list[str]) -> "pa.Table":
    """New rows with the types of the official ones; a column that has none of them is left null."""
    import pyarrow as pa

    for column in new.column_names:
        if column not in official.column_names:
            continue
        kind, values = official.schema.field(column).type, new[column]
        try:
            values = as_type(values, kind)
        except MemoryError:
            raise
        except pa.ArrowException:
            notes.append(
                f"{column} has {kind} in the tables, and {values.type} beside the patches: it is "
                "left out in rows that the tables do not have"
            )
            values = pa.nulls(len(new), kind)
        new = set_column(new, column, values)
    return new


def unflagged(description: Description, new: "pa.Table", official: "pa.Table") -> "pa.Table":
    """New rows with false in the columns that flag rows: no publisher flagged them.

    Other programs that read the table take a column of booleans with nulls for no such column.
    """
    import pyarrow as pa

    for column in description.flag_columns:
        if column in official.column_names and column not in new.column_names:
            new = new.append_column(column, pa.array([False] * len(new), pa.bool_()))
    return new


def filled(description: Description, rows: "pa.Table", logs: Logs) -> "pa.Table":
    """The rows with what records tell, where the tables tell nothing."""
    import pyarrow as pa

    for name, log in logs.items():
        record = None
        for column in log.columns:
            if column == description.identity or not rows[column].null_count:
                continue
            if record is None:
                names = rows[description.modalities[name].key_column]
                record = NameIndex(log.names()).index(names)
            try:
                values = log.values(column).take(record)
                rows = fill_column(rows, column, as_type(values, rows[column].type))
            except MemoryError:
                raise
            except pa.ArrowException:  # then `as_official` said so
                continue
    return rows


def coalesced(values: "pa.Array", rows: "pa.Table", column: str) -> "pa.Array":
    """The values; those that a column of the rows has where they are null."""
    import pyarrow.compute as pc

    if column not in rows.column_names:
        return values
    return pc.coalesce(values, rows[column].combine_chunks())


def differing(rows: "pa.Table", column: str, values: "pa.Array", modality: str) -> list[str]:
    """The sentence about rows in which a modality gives another value than one before it.

    Lists may have another order.
    """
    if column not in rows.column_names or values.null_count == len(values):
        return []
    before, after = one_array(rows[column]), one_array(values)
    if before.null_count == len(before) or before.equals(after):
        return []
    pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
    other = [
        number
        for number, (one, two) in enumerate(pairs)
        if one is not None and two is not None and one != two and _sorted(one) != _sorted(two)
    ]
    if not other:
        return []
    first = rows.column(0)[other[0]].as_py()
    count = several(len(other), "row")
    return [
        f"{column} of {modality} is another than that of the modality before it in {count} (first: "
        f"{first}), which is kept"
    ]


def _sorted(value: object) -> object:
    return sorted(value, key=str) if isinstance(value, list) else [value]


def fill(rows: "pa.Table", column: str, values: "pa.Array") -> "pa.Table":
    """`fill_column`, if two modalities give values of different types for one column."""
    if column in rows.column_names and not rows[column].type.equals(values.type):
        both = [*rows[column].to_pylist(), *values.to_pylist()]
        together = of_one_type([tuple(v) if isinstance(v, list) else v for v in both])[0]
        rows = set_column(rows, column, together.slice(0, len(rows)))
        values = together.slice(len(rows))
    return fill_column(rows, column, values)
