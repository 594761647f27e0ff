"""Arrow has several types for text and lists; here each of them becomes the plain one.

pandas writes `large_string` and categories, Polars `string_view`, Enums and `large_list`: they hold
the same values as `string` and `list`, but many functions of pyarrow take only one of them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def plain_type(kind: Any) -> Any:
    """The plain type of the same values: `string`, `list` of it, or the type as it is."""
    import pyarrow as pa
    import pyarrow.types as pt

    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pt.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pt.is_large_string(kind) or pt.is_string_view(kind):
        return pa.string()
    if pt.is_large_binary(kind) or pt.is_binary_view(kind):
        return pa.binary()
    if _is_other_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pt.is_list(kind):
        value = plain_type(kind.value_type)
        return kind if value.equals(kind.value_type) else pa.list_(value)
    return kind


def _is_other_list(kind: Any) -> bool:
    import pyarrow.types as pt

    if pt.is_fixed_size_list(kind):
        return bool(pt.is_string(plain_type(kind.value_type)))
    return bool(pt.is_large_list(kind) or pt.is_list_view(kind) or pt.is_large_list_view(kind))


def plain(values: Any) -> Any:
    """An array (in chunks or not) in its plain type."""
    import pyarrow as pa
    import pyarrow.types as pt

    kind = plain_type(values.type)
    if kind.equals(values.type):
        return values
    if isinstance(values.type, pa.BaseExtensionType):
        return plain(values.cast(values.type.storage_type))
    if pt.is_dictionary(values.type):
        return plain(values.cast(values.type.value_type))
    try:
        return values.cast(kind)
    except pa.ArrowException:  # categories inside lists, for example
        array = pa.array(values.to_pylist(), kind)
        return pa.chunked_array([array]) if isinstance(values, pa.ChunkedArray) else array


def plain_table(table: "pa.Table") -> "pa.Table":
    """A table with each column in its plain type; the same table if each has it already."""
    for at, field in enumerate(table.schema):
        kind = plain_type(field.type)
        if not kind.equals(field.type):
            table = table.set_column(at, field.with_type(kind), plain(table.column(at)))
    return table
