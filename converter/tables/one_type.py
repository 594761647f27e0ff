"""Values of several types as an array of one type.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import json
from typing import TYPE_CHECKING, Any

from patchpress.converter.tables.arrow import is_list

if TYPE_CHECKING:
    import pyarrow as pa


def of_one_type(values: list[Any]) -> "tuple[pa.Array, str]":
    """Values of JSON files as an array; and for people, what types they have and get.

    That text is empty if all have one type.

    Text among lists becomes a list of one; numbers among text become text; whole numbers among
    others become floating. Null stays null.

    Args:
        values: None, text, numbers, booleans, or tuples of which each has items of one kind.
    """
    import pyarrow as pa

    kinds = set(map(type, values)) - {type(None)}
    items = {type(value[0]) for value in values if value} if kinds == {tuple} else set()
    if len(kinds) < 2 and len(items) < 2:
        empty = not kinds or (kinds == {tuple} and not items)
        return pa.array(values, _of_nothing(kinds) if empty else None), ""
    scalars = kinds - {tuple}
    if tuple in kinds:
        items = {type(item) for value in values if isinstance(value, tuple) for item in value[:1]}
        scalars |= items
        values = [_as_tuple(value) for value in values]
    cast: Any = None
    stored = next(iter(scalars)) if scalars else str
    if scalars == {int, float}:
        cast = stored = float
    elif len(scalars) > 1:
        cast, stored = _as_text, str
    said = " and ".join(sorted(_KINDS[kind] for kind in kinds | (items - kinds)))
    into = f"lists of {_KINDS[stored]}" if tuple in kinds else _KINDS[stored]
    if cast is not None:
        values = [_cast(value, cast) for value in values]
    return pa.array(values), f"{said}, stored as {into}"


_KINDS: dict[type, str] = {
    str: "text",
    tuple: "lists",
    int: "whole numbers",
    float: "numbers",
    bool: "true or false",
}


def _of_nothing(kinds: set[type]) -> "pa.DataType":
    import pyarrow as pa

    return pa.list_(pa.string()) if tuple in kinds else pa.string()


def _as_tuple(value: Any) -> Any:
    return value if value is None or isinstance(value, tuple) else (value,)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _cast(value: Any, cast: Any) -> Any:
    if value is None:
        return None
    return tuple(map(cast, value)) if isinstance(value, tuple) else cast(value)


def as_type(values: Any, kind: "pa.DataType") -> Any:
    """An array in another type; text becomes a list of one if lists are wanted, and back.

    Raises:
        pyarrow.ArrowException: that cannot be.
    """
    import pyarrow as pa
    import pyarrow.types as pt

    if values.type.equals(kind):
        return values
    if str(values.type) == "null":
        return pa.nulls(len(values), kind)
    if is_list(kind) and not is_list(values.type):
        values = pa.array([_as_tuple(value) for value in values.to_pylist()])
    elif is_list(values.type) and not is_list(kind):
        cells = values.to_pylist()
        if any(cell is not None and len(cell) != 1 for cell in cells):
            raise pa.ArrowInvalid(f"a list of several values is no {kind}")
        values = pa.array([None if cell is None else cell[0] for cell in cells])
    if pt.is_string(kind) and pt.is_boolean(values.type):
        return pa.array([None if v is None else _as_text(v) for v in values.to_pylist()], kind)
    return values.cast(kind)
