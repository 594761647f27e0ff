"""Labels as tables write them, to labels as a store has them.

A table may have names or numbers of classes, one a cell, several with a sign between them, or a
list; shares of classes; a column for each class; or a number to be predicted. A store has a name, a
list of names, a list with the share of each class, or a float32.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from patchpress.converter.descriptions.description import LabelRule
from patchpress.converter.descriptions.label_cells import ONE, SEVERAL, SHARES
from patchpress.converter.tables.arrow import is_list, is_string, one_array
from patchpress.converter.tables.label_names import name_of
from patchpress.converter.tables.label_shares import (
    RowName,
    check_shares,
    is_pairs,
    shares_of_classes,
)
from patchpress.readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa

_AROUND = "[]()'\" \t"
"""What stands around labels in cells that a program wrote as a list: ``['a', 'b']``."""


def stored_type(rule: LabelRule, given: Any) -> Any:
    """The type of a label column in a store, for cells of a type in a table."""
    import pyarrow as pa
    import pyarrow.types as pt

    kind = rule.cells.kind
    if rule.is_number:
        return pa.float32()
    if kind == SHARES or is_pairs(given):
        return pa.list_(pa.float64())
    if rule.cells.columns or kind == SEVERAL or rule.cells.separator or is_list(given):
        return pa.string() if kind == ONE else pa.list_(pa.string())
    return pa.string() if is_string(given) or pt.is_primitive(given) else given


def stored_labels(rule: LabelRule, cells: Any, row_name: RowName) -> "pa.Array":
    """The labels of some rows of a table as a store has them.

    Args:
        rule: of the label column.
        cells: the column of the table, in whatever type.
        row_name: names the patch of a row.

    Raises:
        TableError: a cell that is no label; the message names the patch.
    """
    import pyarrow as pa

    cells = one_array(cells)
    wanted = stored_type(rule, cells.type)
    if rule.is_number:
        return _numbers(rule, cells, row_name)
    if str(cells.type) == "null":
        return cells.cast(wanted)
    if wanted.equals(pa.list_(pa.float64())):
        return shares_of_classes(rule, cells, row_name)
    return _names(rule, cells, wanted, row_name)


def labels_of_columns(rule: LabelRule, columns: Mapping[str, Any], row_name: RowName) -> "pa.Array":
    """The labels of some rows from a column for each class.

    A row in which all of them are empty has no label.

    Args:
        rule: of the label column.
        columns: column of the table -> its cells; those that the rule names.
        row_name: names the patch of a row.

    Raises:
        TableError: a cell that is no number; or not 0 or 1, if the labels are no shares.
    """
    import pyarrow as pa

    found = [
        _as_floats(f"column {rule.cells.columns[name]!r}", one_array(columns[column]), row_name)
        for name, column in rule.cells.columns.items()
    ]
    order = [list(rule.cells.columns).index(name) for name in rule.classes]
    values = np.stack([found[at] for at in order], axis=1)
    empty = np.isnan(values).all(axis=1)
    values = np.nan_to_num(values, nan=0.0)
    if rule.cells.kind == SHARES:
        check_shares(rule, values, row_name)
        cells = [
            None if none else list(row) for none, row in zip(empty, values.tolist(), strict=True)
        ]
        return pa.array(cells, pa.list_(pa.float64()))
    wrong = np.argwhere((values != 0) & (values != 1))
    if len(wrong):
        row, at = (int(n) for n in wrong[0])
        raise TableError(
            f"{row_name(row)}: class {rule.classes[at]!r} has {values[row, at]:g}, which must be 0 "
            'or 1; if these are shares, say kind = "shares"'
        )
    names = np.array(rule.classes, object)
    if rule.cells.kind != ONE:
        cells = [
            None if none else list(names[row > 0]) for none, row in zip(empty, values, strict=True)
        ]
        return pa.array(cells, pa.list_(pa.string()))
    several = np.flatnonzero(~empty & (values.sum(axis=1) != 1))
    if len(several):
        row = int(several[0])
        raise TableError(
            f"{row_name(row)} has {int(values[row].sum())} classes, and one is expected: say "
            'kind = "several"'
        )
    first = values.argmax(axis=1)
    return pa.array(
        [None if e else names[at] for e, at in zip(empty, first, strict=True)], pa.string()
    )


def _numbers(rule: LabelRule, cells: Any, row_name: RowName) -> "pa.Array":
    """Cells as float32; what is empty or NaN is null."""
    import pyarrow as pa

    values = _as_floats(f"{rule.column!r}", cells, row_name)
    with np.errstate(over="ignore"):
        stored = values.astype(np.float32)
    beyond = np.flatnonzero(np.isinf(stored))
    if len(beyond):
        row = int(beyond[0])
        raise TableError(
            f"{row_name(row)} has {values[row]} in {rule.column!r}: no float32 holds it"
        )
    return pa.array(stored, mask=np.isnan(stored))


def _as_floats(what: str, cells: Any, row_name: RowName) -> Any:
    """Cells as float64, NaN for none."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if is_string(cells.type):
        cells = pc.utf8_trim_whitespace(cells)
        cells = pc.if_else(pc.equal(cells, ""), pa.scalar(None, cells.type), cells)
    elif not (pt.is_null(cells.type) or pt.is_boolean(cells.type) or pt.is_floating(cells.type)
              or pt.is_integer(cells.type) or pt.is_decimal(cells.type)):  # fmt: skip
        raise TableError(f"{row_name(0)} has {cells.type} in {what}, which must be a number")
    if pt.is_boolean(cells.type):
        cells = cells.cast(pa.int8())
    try:
        found = cells.cast(pa.float64())
    except pa.ArrowInvalid:
        for row, cell in enumerate(cells.to_pylist()):
            try:
                float(cell if cell is not None else 0)
            except ValueError:
                raise TableError(
                    f"{row_name(row)} has {cell!r} in {what}, which must be a number"
                ) from None
        found = pa.array([None if c is None else float(c) for c in cells.to_pylist()], pa.float64())
    return found.to_numpy(zero_copy_only=False)


def _names(rule: LabelRule, cells: Any, wanted: Any, row_name: RowName) -> "pa.Array":
    """Names or numbers of classes as names, each different one once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if is_list(cells.type):
        return _of_lists(rule, cells, wanted, row_name)
    if pa.types.is_boolean(cells.type):
        cells = cells.cast(pa.int8())
    texts = pc.utf8_trim(cells.cast(pa.string()), characters=_AROUND)
    if not rule.cells.separator:
        found = _mapped(rule, texts, row_name)
        if not is_list(wanted):
            return found
        lengths = pc.fill_null(pc.cast(pc.is_valid(found), pa.int32()), 0)
        return _lists(found.drop_null(), lengths.to_numpy(), pc.is_valid(found))
    parts = pc.split_pattern(pc.fill_null(texts, ""), rule.cells.separator)
    rows = pc.list_parent_indices(parts).to_numpy()
    each = pc.utf8_trim(pc.list_flatten(parts), characters=_AROUND)
    found = _mapped(rule, each, lambda number: row_name(int(rows[number])))
    kept = pc.is_valid(found).to_numpy(zero_copy_only=False)
    # A label that a cell names twice counts once.
    codes = found.dictionary_encode().indices.fill_null(-1).to_numpy()
    first = np.zeros(len(rows), bool)
    first[
        np.unique(rows.astype(np.int64) * (len(rule.classes) + 2) + codes + 1, return_index=True)[1]
    ] = True
    kept &= first
    counts = np.bincount(rows[kept], minlength=len(cells))
    # An empty cell has no label at all, as one in which no code has a class.
    return _lists(found.filter(pa.array(kept)), counts, pa.array(counts > 0))


def _mapped(rule: LabelRule, labels: Any, row_name: RowName) -> "pa.Array":
    """The class of each label; null for an empty text, and for a code without a class."""
    import pyarrow as pa

    encoded = labels.dictionary_encode()
    names = []
    for number, label in enumerate(encoded.dictionary.to_pylist()):

        def named(number: int = number) -> str:
            at = encoded.indices.to_numpy(zero_copy_only=False)
            return row_name(int(np.flatnonzero(at == number)[0]))

        names.append(name_of(rule, label, named) if label else None)
    return pa.array(names, pa.string()).take(encoded.indices)


def _lists(values: Any, counts: Any, valid: Any) -> "pa.Array":
    """Lists of so many of the values each; null in rows that are not valid."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ends = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=ends[1:])
    return pa.ListArray.from_arrays(pa.array(ends), values, mask=pc.invert(valid))


def _of_lists(rule: LabelRule, cells: Any, wanted: Any, row_name: RowName) -> "pa.Array":
    import pyarrow as pa

    known: dict[Any, str | None] = {}
    found: list[Any] = []
    for row, cell in enumerate(cells.to_pylist()):
        if cell is None:
            found.append(None)
            continue
        for value in cell:
            if value not in known:
                known[value] = name_of(rule, str(value).strip(), partial(row_name, row))
        names = list(dict.fromkeys(name for value in cell if (name := known[value])))
        if is_list(wanted):
            found.append(names)
        elif len(names) > 1:
            raise TableError(
                f"{row_name(row)} has {len(names)} labels in {rule.column!r}, and one is expected: "
                'say kind = "several"'
            )
        else:
            found.append(next(iter(names), None))
    return pa.array(found, wanted)
