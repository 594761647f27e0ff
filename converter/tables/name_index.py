"""Finds names among many others: the table of hashes is made once, and takes twelve bytes a name.

What pyarrow looks names up in is made anew for each call, and holds a copy of all of them.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from patchpress.converter.tables.arrow import one_array

if TYPE_CHECKING:
    import pyarrow as pa

FEW = 100_000
"""Names of which pyarrow makes its table as fast as it looks up; more are hashed here."""
_AT_ONCE = 1 << 16  # values that are Python strings at a time


class NameIndex:
    """Where each of some names is."""

    def __init__(self, names: "pa.Array | pa.ChunkedArray") -> None:
        """Take the names.

        Args:
            names: strings, without nulls; of a name that is there twice the first place counts.
        """
        import pyarrow as pa

        self.names: pa.Array = one_array(names).cast(pa.string())
        self._order: npt.NDArray[np.int32] | None = None
        self._may_repeat = True
        if len(self.names) > FEW:
            self._sort()

    def __len__(self) -> int:
        return len(self.names)

    def _sort(self) -> None:
        """Sort the hashes, unless two different names have one."""
        import pyarrow.compute as pc

        hashes = _hashes(self.names)
        order = np.argsort(hashes, kind="stable").astype(np.int32)
        hashes = hashes[order]
        same = np.flatnonzero(hashes[1:] == hashes[:-1])
        if len(same):
            one, other = (self.names.take(order[at]) for at in (same, same + 1))
            if not pc.all(pc.equal(one, other)).as_py():
                return
        self._hashes, self._order, self._may_repeat = hashes, order, len(same) > 0

    def index(self, values: "pa.Array | pa.ChunkedArray") -> "pa.Array":
        """The place of each value among the names, int32; null for one that is not there."""
        import pyarrow as pa
        import pyarrow.compute as pc

        values = one_array(values)
        if self._order is None:
            return pc.index_in(values.cast(pa.string()), value_set=self.names)
        places = np.empty(len(values), np.int32)
        there = np.empty(len(values), bool)
        for begin in range(0, len(values), _AT_ONCE):
            some = values.slice(begin, _AT_ONCE).cast(pa.string())
            own = slice(begin, begin + len(some))
            places[own], there[own] = self._looked_up(some, self._order)
        return pa.array(places, mask=~there)

    def has(self, values: "pa.Array | pa.ChunkedArray") -> npt.NDArray[np.bool_]:
        """Whether each value is one of the names."""
        return np.asarray(self.index(values).is_valid())

    def found(self, places: "pa.Array") -> npt.NDArray[np.bool_]:
        """For each name whether one of some places, as `index` gives them, is its own."""
        met = np.zeros(len(self.names), bool)
        met[places.drop_null().to_numpy()] = True
        return met[self.index(self.names).to_numpy()] if self._may_repeat else met

    def _looked_up(self, values: "pa.Array", order: npt.NDArray[np.int32]) -> tuple[Any, Any]:
        import pyarrow.compute as pc

        hashes = _hashes(values)
        by_hash = np.argsort(hashes)  # near ones are near in memory, too
        at = np.empty(len(hashes), np.int64)
        at[by_hash] = np.searchsorted(self._hashes, hashes[by_hash])
        at[at == len(self._hashes)] = 0
        places = order[at]
        same = pc.fill_null(pc.equal(self.names.take(places), values), False)
        return places, np.asarray(same)


def _hashes(names: "pa.Array") -> npt.NDArray[np.uint64]:
    """XXH3-64 of each name; for null that of an empty one."""
    import pyarrow as pa

    found = np.zeros(len(names), np.uint64)
    for begin in range(0, len(names), _AT_ONCE):
        some = names.slice(begin, _AT_ONCE)
        if some.null_count:
            some = some.fill_null("")
        texts = some.cast(pa.binary()).to_pylist()
        found[begin : begin + len(texts)] = np.fromiter(
            map(xxh3_64_intdigest, texts), np.uint64, len(texts)
        )
    return found


class RepeatedNames:
    """Whether a name comes twice in many, of which only the hashes are kept."""

    def __init__(self) -> None:
        self._hashes: list[npt.NDArray[np.uint64]] = []

    def add(self, names: "pa.Array | pa.ChunkedArray") -> None:
        """Take some more."""
        self._hashes.append(_hashes(one_array(names)))

    def __len__(self) -> int:
        return sum(map(len, self._hashes))

    def suspected(self) -> npt.NDArray[np.uint64]:
        """Hashes that came more than once: of a name twice, or, hardly ever, of two names."""
        hashes = np.sort(np.concatenate([np.empty(0, np.uint64), *self._hashes]))
        return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


def of_hashes(names: "pa.Array | pa.ChunkedArray", hashes: npt.NDArray[np.uint64]) -> "pa.Array":
    """Those of some names that have one of these hashes, as often as they are there."""
    import pyarrow as pa

    names = one_array(names)
    return names.filter(pa.array(np.isin(_hashes(names), hashes)))
