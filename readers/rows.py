"""Which rows of the table are samples: by split, by a filter, by the records that they have."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.format.table import presence_column
from patchpress.readers.hints import hint

if TYPE_CHECKING:
    import pyarrow as pa

    from patchpress.readers.choice import Where
    from patchpress.readers.format.manifest import Manifest, Modality
    from patchpress.readers.store import Store

SHOWN = 20  # values of a column that a message lists


def rows_of(store: "Store", split: str | None, where: "Where") -> "pa.Table":
    """Rows of the table in a split that `where` keeps, all columns.

    Raises:
        SelectionEmpty: there is none; the message lists what there is.
        OptionError: a column that is not there, or a value of another type.
    """
    rows = store.table(split)
    if where is None:
        return rows
    if not isinstance(where, Mapping):
        return _by_expression(rows, where)
    for column, value in where.items():
        if column not in rows.column_names:
            raise OptionError(
                f"the table has no column {column!r}; it has {', '.join(rows.column_names)}"
            )
        kept = rows.filter(_mask(store.manifest, column, rows[column], value))
        if not len(kept):
            raise SelectionEmpty(_nothing(column, rows[column], value, split))
        rows = kept
    return rows


def rows_with(rows: "pa.Table", modalities: "Sequence[Modality]") -> "pa.Table":
    """Rows that have a record of every modality.

    Raises:
        SelectionEmpty: there is none.
    """
    there = rows
    for modality in modalities:
        there = there.filter(there[presence_column(modality.name)])
    if not len(there):
        names = " and ".join(modality.name for modality in modalities)
        raise SelectionEmpty(f"none of the {len(rows):,} rows selected has {names}")
    return there


def _by_expression(rows: "pa.Table", where: "Where") -> "pa.Table":
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(where, pc.Expression):
        raise OptionError(
            f"where must be a mapping of columns to values, or a pyarrow expression, not {where!r}"
        )
    try:
        kept = rows.filter(where)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        columns = ", ".join(rows.column_names)
        raise OptionError(f"{where} cannot be applied ({reason}); columns: {columns}") from None
    if not len(kept):
        raise SelectionEmpty(f"no row of {len(rows):,} fulfils {where}")
    return kept


def _mask(manifest: "Manifest", column: str, values: Any, wanted: Any) -> Any:
    """Which rows have the value, or one of the values; a list has it if one of its items is it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    several = isinstance(wanted, Iterable) and not isinstance(wanted, (str, bytes, Mapping))
    among = list(wanted) if several else [wanted]
    if column in manifest.classes:
        for name in among:
            _check_class(manifest.classes[column], column, name)
    kind = values.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    try:
        options = pa.array(among, kind.value_type if lists else kind)
    except (pa.ArrowException, OverflowError):
        raise OptionError(f"column {column!r} has {kind}, so {wanted!r} is never in it") from None
    if not lists:
        return pc.is_in(values, value_set=options)
    rows = pc.list_parent_indices(values).filter(
        pc.is_in(pc.list_flatten(values), value_set=options)
    )
    return pc.is_in(pa.array(range(len(values)), rows.type), value_set=rows)


def _check_class(names: Sequence[str], column: str, name: object) -> None:
    if isinstance(name, str) and name not in names:
        raise OptionError(f"{name!r} is no class of column {column!r}; {hint(name, names, most=3)}")


def _nothing(column: str, values: Any, wanted: Any, split: str | None) -> str:
    """The sentence about a value that no row has: it lists those there are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = pc.list_flatten(values) if hasattr(values.type, "value_type") else values
    there = pc.unique(flat).to_pylist() if not pa.types.is_floating(flat.type) else []
    shown = ", ".join(str(value) for value in there[:SHOWN]) + (", …" if len(there) > SHOWN else "")
    inside = f" of split {split!r}" if split else ""
    return f"no patch{inside} has {wanted!r} in column {column!r}; there are {shown or 'others'}"
