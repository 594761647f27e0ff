"""Shares of classes as tables write them, to the share of each class in the official order.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from patchpress.converter.descriptions.description import LabelRule
from patchpress.converter.tables.arrow import is_list
from patchpress.converter.tables.label_names import name_of
from patchpress.readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa

RowName = Callable[[int], str]
"""The patch of a row by its number, for sentences."""


def is_pairs(kind: Any) -> bool:
    """Whether a type is that of shares as pairs: a list of structs, or a map."""
    import pyarrow.types as pt

    return bool(pt.is_map(kind) or (is_list(kind) and pt.is_struct(kind.value_type)))


def shares_of_classes(rule: LabelRule, cells: Any, row_name: RowName) -> "pa.Array":
    """The share of each class in the official order; a class that is not named has none."""
    import pyarrow as pa

    if not is_list(cells.type) and not is_pairs(cells.type):
        raise TableError(
            f"{row_name(0)} has {cells.type} in {rule.column!r}: shares are pairs of class and "
            "share, a list of all shares, or a column for each class"
        )
    values: list[list[float] | None] = []
    at = {name: number for number, name in enumerate(rule.classes)}
    known: dict[str, str] = {}
    for row, cell in enumerate(cells.to_pylist()):
        if cell is None:
            values.append(None)
        elif is_pairs(cells.type):
            values.append(_share_list(rule, cell, at, known, partial(row_name, row)))
        elif cell and len(cell) != len(at):
            raise TableError(
                f"{row_name(row)} has {len(cell)} shares of {len(at)} classes in {rule.column!r}"
            )
        else:
            values.append(cell or None)
    flat = np.array([row for row in values if row is not None], float).reshape(-1, len(at))
    rows = [number for number, row in enumerate(values) if row is not None]
    check_shares(rule, flat, lambda number: row_name(rows[number]))
    return pa.array(values, pa.list_(pa.float64()))


def _share_list(
    rule: LabelRule, cell: Any, at: Mapping[str, int], known: dict[str, str],
    row_name: Callable[[], str],
) -> list[float] | None:  # fmt: skip
    """A cell of pairs as the shares of all classes; None if it names none."""
    found: dict[int, float] = {}
    for pair in cell:
        name, share = tuple(pair.values()) if isinstance(pair, dict) else pair
        if name not in known:
            known[name] = name_of(rule, str(name), row_name) or ""
        if not known[name]:
            continue
        number = at[known[name]]
        if number in found:
            raise TableError(f"{row_name()} has a share of {known[name]!r} twice")
        found[number] = np.nan if share is None else float(share)
    return [found.get(number, 0.0) for number in range(len(at))] if cell else None


def check_shares(rule: LabelRule, values: Any, row_name: RowName) -> None:
    """Refuse shares that are none: below 0, or together above 1."""
    wrong = ~((values >= 0).all(axis=1) & (values.sum(axis=1) <= 1 + 1e-3))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise TableError(
            f"{row_name(row)} has shares in {rule.column!r} that sum to {values[row].sum():g}, the "
            f"smallest {values[row].min():g}: shares are 0 or more, and together 1 at most"
        )
