"""`Facet`: a column by whose values rows are filtered and counted, kept as small numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.table import presence_column

if TYPE_CHECKING:
    import pyarrow as pa

_LOOKED_AT = 10_000
Mask = npt.NDArray[np.bool_]
KINDS = ("split", "labels", "column", "flag", "presence")
"""In the order of the page."""
MOST_VALUES = 200
"""A column of text with more different values is no facet: nobody would read the list."""


@dataclass(frozen=True, eq=False)
class Facet:
    """A column of a few values, one or several of which a row has."""

    column: str
    kind: str
    """One of `KINDS`."""
    values: tuple[str | bool, ...]
    rows: npt.NDArray[np.int32]
    """The row of each pair of a row and a value; ascending."""
    codes: npt.NDArray[np.int16]
    """The number of the value of each pair."""

    def mask(self, wanted: Iterable[int], count: int, *, every: bool = False) -> Mask:
        """Which of `count` rows have one of the wanted values, or every one of them."""
        numbers = sorted(set(wanted))
        chosen = np.zeros(len(self.values), bool)
        chosen[numbers] = True
        hits = np.bincount(self.rows[chosen[self.codes]], minlength=count)
        return hits >= (len(numbers) if every else 1)

    def counts(self, mask: Mask) -> list[int]:
        """How many of the rows of a mask have each value."""
        found: list[int] = np.bincount(
            self.codes[mask[self.rows]], minlength=len(self.values)
        ).tolist()
        return found

    def values_of(self, row: int) -> list[str | bool]:
        """The values of one row."""
        first, end = np.searchsorted(self.rows, (row, row + 1))
        return [self.values[code] for code in self.codes[first:end]]

    def first_codes(self, count: int) -> npt.NDArray[np.int16]:
        """The number of the first value of each of `count` rows; -1 for rows that have none."""
        first = np.full(count, -1, np.int16)
        first[self.rows[::-1]] = self.codes[::-1]
        return first


def facet_of(manifest: Manifest, column: str, values: "pa.ChunkedArray") -> Facet | None:
    """The facet of a column: split, labels, a flag, a modality, a few texts; None if it is none."""
    import pyarrow as pa

    if manifest.splits and column == manifest.split_column:
        return _facet(column, "split", values, manifest.splits)
    if column in manifest.classes:  # shares of classes are numbers, and no facet
        classes = manifest.classes[column]
        return _facet(column, "labels", values, classes) if _is_of_texts(values.type) else None
    if pa.types.is_boolean(values.type):
        presence = {presence_column(name) for name in manifest.modalities}
        flag = "flag" if column in manifest.flagged.columns else "column"
        return _facet(column, "presence" if column in presence else flag, values, (True, False))
    if _is_of_texts(values.type):
        different = _different(values)
        if 1 < len(different) <= min(MOST_VALUES, len(values) // 2):  # others are names
            return _facet(column, "column", values, sorted(different))
    return None


def _is_of_texts(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _different(values: "pa.ChunkedArray") -> list[str]:
    """The different texts of a column; of names only those of the first rows, which are enough."""
    import pyarrow.compute as pc

    first = pc.unique(_flat(values.slice(0, _LOOKED_AT))[1])
    found = first if len(first) > MOST_VALUES else pc.unique(_flat(values)[1])
    return [value for value in found.to_pylist() if value is not None]


def _flat(values: "pa.ChunkedArray") -> tuple[npt.NDArray[np.int32], "pa.Array"]:
    """The row of each value, and the values; lists item by item."""
    import pyarrow as pa
    import pyarrow.compute as pc

    joined = values.combine_chunks()
    if pa.types.is_list(joined.type) or pa.types.is_large_list(joined.type):
        parents = pc.list_parent_indices(joined).to_numpy(zero_copy_only=False)
        return parents.astype(np.int32), pc.list_flatten(joined)
    return np.arange(len(joined), dtype=np.int32), joined


def _facet(column: str, kind: str, values: "pa.ChunkedArray", known: Iterable[str | bool]) -> Facet:
    import pyarrow as pa
    import pyarrow.compute as pc

    rows, flat = _flat(values)
    names: Sequence[str | bool] = tuple(known)
    if pa.types.is_dictionary(flat.type):
        flat = pc.dictionary_decode(flat)
    codes = pc.index_in(flat, value_set=pa.array(names, flat.type))
    there = np.asarray(pc.is_valid(codes))
    return Facet(
        column,
        kind,
        tuple(names),
        rows[there],
        np.asarray(codes.drop_null()).astype(np.int16),
    )
