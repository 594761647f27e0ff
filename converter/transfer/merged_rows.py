"""Sorted rows of several stores, of which several may be of one patch: they become one row."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from patchpress.converter.text import shortened
from patchpress.readers.errors import OptionError
from patchpress.readers.format.table import EPSG, SIDES, checksum_column, presence_column

Numbers = npt.NDArray[Any]  # whole numbers, of as few bytes as they need
GROUND = (EPSG, *SIDES)
_AT_ONCE = 1 << 15  # values that are Python's objects at a time


class StoresOfRows(NamedTuple):
    """Which store each sorted row is of, for sentences."""

    names: list[str]
    store_of: npt.NDArray[np.uint16]
    ids: Any

    def of(self, row: int) -> str:
        """The name of a row's store."""
        return self.names[int(self.store_of[row])]


class _Step(NamedTuple):
    """Further rows of patches that have one already: at most one a patch."""

    at: Numbers
    """Which merged row each belongs to."""
    more: Numbers
    """Which sorted rows they are."""
    is_of_earlier_modality: npt.NDArray[np.bool_]
    """Whether one has a modality that comes before all that its patch had until then."""


class MergedRows:
    """Rows of which several are of one patch: those of the first store come first."""

    def __init__(
        self,
        is_first: npt.NDArray[np.bool_],
        presence: Mapping[str, npt.NDArray[np.bool_]],
        stores: StoresOfRows,
    ) -> None:
        """Take sorted rows: which are the first of a patch, and which modalities each has."""
        self.stores: StoresOfRows | None = stores
        """None when all columns were looked at: then nothing is said of them any more."""
        self._firsts = np.flatnonzero(is_first)
        self._group = (np.cumsum(is_first) - 1).astype(np.int32)
        # Which row of its patch each is, from 0 on.
        place = np.arange(len(self._group)) - self._firsts[self._group]
        self._digits = {checksum_column(name) for name in presence}
        self._presence = {presence_column(name) for name in presence}
        self._steps: list[_Step] = []
        ranks = _rank(list(presence.values()), len(is_first))
        rank = ranks[self._firsts]
        for number in range(1, int(place.max()) + 1):
            more = np.flatnonzero(place == number)
            at = self._group[more]
            # The ground of a patch is that of its first modality, as in a conversion.
            self._steps.append(_Step(at, more, ranks[more] < rank[at]))
            rank[at] = np.minimum(rank[at], ranks[more])

    def merged(self, column: str, values: Any) -> Any:
        """A column with one row a patch.

        Raises:
            OptionError: two values for one patch.
        """
        import pyarrow as pa

        merged = values.take(pa.array(self._firsts))
        for at, more, is_of_earlier_modality in self._steps:
            after, own = values.take(pa.array(more)), merged.take(pa.array(at))
            if column in self._presence:
                better = np.asarray(after, bool) & ~np.asarray(own, bool)
            else:
                better = _valid(after) & ~_valid(own)
                if column in GROUND:
                    better |= _valid(after) & is_of_earlier_modality
                elif column not in self._digits and not own.equals(after):
                    self._require_equal(column, own, after, more)  # records are compared apart
            if better.any():
                chosen = np.arange(len(merged))
                chosen[at[better]] = len(merged) + np.flatnonzero(better)
                merged = pa.concat_arrays([merged, after]).take(pa.array(chosen))
        return merged

    def _require_equal(self, column: str, own: Any, after: Any, more: Numbers) -> None:
        if self.stores is None:
            return
        for begin in range(0, len(own), _AT_ONCE):
            pairs = zip(
                own.slice(begin, _AT_ONCE).to_pylist(),
                after.slice(begin, _AT_ONCE).to_pylist(),
                strict=True,
            )
            for index, (one, two) in enumerate(pairs, begin):
                if one is not None and two is not None and one != two:
                    row = int(more[index])
                    first = int(self._firsts[self._group[row]])
                    raise OptionError(
                        f"{self.stores.of(first)} and {self.stores.of(row)} do not fit together: "
                        f"{self.stores.ids[row].as_py()} has {column} {shortened(one)} there, and "
                        f"{shortened(two)} here; convert one of them again with the same tables, "
                        "or leave it out"
                    )


def _rank(presence: Sequence[npt.NDArray[np.bool_]], rows: int) -> Numbers:
    """For each row the number of the first modality that it has a record of."""
    rank = np.full(rows, len(presence), np.int64)
    for number, has in reversed(list(enumerate(presence))):
        rank[has] = number
    return rank


def _valid(values: Any) -> npt.NDArray[np.bool_]:
    return np.asarray(values.is_valid(), bool)
