"""What several modules of this room do with pyarrow arrays and tables.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def one_array(values: "pa.Array | pa.ChunkedArray") -> "pa.Array":
    """The chunks of an array as one array; an array without chunks as it is."""
    import pyarrow as pa

    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def told_type(kind: str) -> "pa.DataType":
    """The type that a description calls so."""
    import pyarrow as pa

    names = {"text": "string", "integer": "int64", "number": "double", "boolean": "bool"}
    return pa.type_for_alias(names[kind])


def is_in(values: Any, among: Any) -> Any:
    """Whether each of some strings is among others; strings may be large ones on either side."""
    import pyarrow.compute as pc

    return pc.is_in(values, value_set=among.cast(values.type))


def set_column(rows: "pa.Table", column: str, values: Any) -> "pa.Table":
    """The table with other values in a column; a new column comes last."""
    if column in rows.column_names:
        return rows.set_column(rows.schema.get_field_index(column), column, values)
    return rows.append_column(column, values)


def fill_column(rows: "pa.Table", column: str, values: Any) -> "pa.Table":
    """The table with values in a column where it has none yet; a new column comes last."""
    import pyarrow.compute as pc

    if column in rows.column_names:
        values = pc.if_else(pc.is_valid(rows[column]), rows[column], values)
    return set_column(rows, column, values)


def release_memory() -> None:
    """Give the memory back that Arrow has freed: it keeps several times the size of a table."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def is_list(kind: Any) -> bool:
    """Whether a type is that of lists."""
    import pyarrow.types as pt

    return bool(pt.is_list(kind) or pt.is_large_list(kind))


def first_repeated(values: Any) -> Any:
    """The first value that is in an array more than once, or None."""
    import pyarrow.compute as pc

    if pc.count_distinct(values).as_py() == len(values):
        return None
    counts = pc.value_counts(values)
    return counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()


def is_string(kind: Any) -> bool:
    """Whether a type is that of strings."""
    import pyarrow.types as pt

    return bool(pt.is_string(kind) or pt.is_large_string(kind))


def is_string_list(kind: Any) -> bool:
    """Whether a type is that of lists of strings."""
    return is_list(kind) and is_string(kind.value_type)
