"""Columns of the table in samples: numbers as arrays, other values as Python objects."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import OptionError
from patchpress.readers.format.table import BOUNDS, SIDES
from patchpress.readers.hints import hint
from patchpress.readers.images import Field

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, one or more of them a sample."""

    field: Field
    values: npt.NDArray[Any]
    """(samples, …)."""


@dataclass(frozen=True)
class ObjectColumn:
    """A column of text, lists, or anything else that is no number."""

    name: str
    values: "pa.Array"

    def pick(self, indices: npt.NDArray[np.int64]) -> list[Any]:
        """The values of some samples."""
        found: list[Any] = self.values.take(indices).to_pylist()
        return found


Column = NumberColumn | ObjectColumn


def read_columns(
    table: "pa.Table",
    asked: str | Sequence[str],
    taken: Sequence[str],
    made: Mapping[str, Callable[[], npt.NDArray[Any]]] = MappingProxyType({}),
) -> tuple[list[NumberColumn], list[ObjectColumn]]:
    """Columns of the rows, those of numbers and those of other values, in the order asked for.

    Whole numbers become int64, others float64, true and false bool; a column of these that has
    nulls becomes float64 with NaN for them.

    Args:
        table: one row a sample.
        asked: names of columns, or `BOUNDS`.
        taken: names of the other fields of a sample.
        made: names that stand for arrays (rows, …), and what makes each.

    Raises:
        OptionError: a column that is not there, or that is called as another field.
    """
    names = list(dict.fromkeys([asked] if isinstance(asked, str) else asked))
    numbers: list[NumberColumn] = []
    objects: list[ObjectColumn] = []
    for name in names:
        if name in taken:
            raise OptionError(
                f"column {name!r} cannot be in a sample, which has {name!r} of its own: leave it "
                "out of columns"
            )
        if name in made:
            array = made[name]()
            numbers.append(NumberColumn(Field(name, array.shape[1:], array.dtype), array))
            continue
        if name == BOUNDS and BOUNDS not in table.column_names:
            numbers.append(_bounds(table))
            continue
        if name not in table.column_names:
            known = [*table.column_names, *made, BOUNDS]
            raise OptionError(f"the table has no column {name!r}; {hint(name, known)}")
        values = table[name].combine_chunks()
        if _is_number(values.type):
            array = _array(values)
            numbers.append(NumberColumn(Field(name, (), array.dtype), array))
        else:
            objects.append(ObjectColumn(name, values))
    return numbers, objects


def _bounds(table: "pa.Table") -> NumberColumn:
    sides = [table[side].to_numpy() for side in SIDES]
    values = np.stack(sides, axis=1).astype(np.float64)
    return NumberColumn(Field(BOUNDS, (len(SIDES),), values.dtype), values)


def _is_number(kind: Any) -> bool:
    import pyarrow.types as pt

    return bool(pt.is_integer(kind) or pt.is_floating(kind) or pt.is_boolean(kind))


def _array(values: "pa.Array") -> npt.NDArray[Any]:
    import pyarrow as pa
    import pyarrow.types as pt

    if values.null_count or pt.is_floating(values.type):
        found = values.cast(pa.int8()) if pt.is_boolean(values.type) else values
        return np.asarray(found.cast(pa.float64()).to_numpy(zero_copy_only=False))
    array = np.asarray(values.to_numpy(zero_copy_only=False))
    return array if array.dtype == bool else array.astype(np.int64)
