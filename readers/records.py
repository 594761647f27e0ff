"""Records of one modality, found once and read by index: what a loop over many epochs holds."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.fetch import FromExtents
from patchpress.readers.errors import BufferUnfit, GridsDiffer
from patchpress.readers.store import Store

Array = npt.NDArray[Any]


class Records:
    """Records of one modality and size, in a fixed order; safe in threads, after a fork, picklable.

    Keys are kept as one array of bytes, not as text objects: those would be copied into every
    worker process, one reference count after the other.
    """

    def __init__(
        self, store: Store, keys: Sequence[str], bands: Sequence[str] | None = None
    ) -> None:
        """Find the records.

        Raises:
            KeyMissing, BandMissing: no such record or band.
            BufferUnfit: no key at all.
            GridsDiffer: keys of two modalities, or records of two sizes, as far as the extents
                tell without reading.
        """
        if not len(keys):
            raise BufferUnfit("there must be at least one key")
        self.store = store
        self.bands = None if bands is None else tuple(bands)
        places = store.places(list(keys))
        if not isinstance(store.source, FromExtents):
            for key in keys:  # which LMDB looks for only when it reads them
                if key not in store:
                    store.modality_of(key)
        self._keys = np.array([key.encode() for key in keys], "S")
        self._positions: Array | None = None
        self._plan = store.plan(places[0], self.bands)
        if isinstance(store.source, FromExtents):
            self._positions = np.array(places, np.int64)
            self._check_forms(store.source)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, height, width) of each."""
        return self._plan.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype as stored."""
        return self._plan.dtype

    def key(self, index: int) -> str:
        """The name of one record."""
        return bytes(self._keys[index]).decode()

    def read(self, indices: Sequence[int] | Array, out: Array | None = None) -> Array:
        """Records as (N, bands, height, width), in the order of the indices.

        Raises:
            BufferUnfit: `out` of another shape, dtype or order.
            StoreDamaged: a record that does not parse; the message names it.
        """
        return self.store.read_places(self._places(indices), self.bands, out)

    def subset(self, indices: Sequence[int] | Array) -> "Records":
        """Some of these records, in the order of the indices (of at least one).

        Raises:
            IndexError: no such record.
        """
        found = copy(self)
        found._keys = self._keys[indices]
        if self._positions is not None:
            found._positions = self._positions[indices]
        return found

    def announce(self, indices: Sequence[int] | Array) -> None:
        """Say that these will be read soon, so that the disk can begin."""
        self.store.source.announce(self._plan, self._places(indices))

    def _places(self, indices: Sequence[int] | Array) -> Any:
        if self._positions is not None:
            return self._positions[np.asarray(indices, np.int64)]
        return [self.key(index) for index in indices]

    def _check_forms(self, source: FromExtents) -> None:
        form = source.extents.form[self._positions]
        other = np.flatnonzero(form != form[0])
        if len(other):
            raise GridsDiffer(
                f"record {self.key(int(other[0]))!r} is not of the form of {self.key(0)!r}: "
                "records read together are of one modality and one size"
            )

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        source = self.store.source
        # Positions hold for the data file that they were found in, and for no other.
        state["_identity"] = source.extents.identity if isinstance(source, FromExtents) else None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        identity = state.pop("_identity")
        self.__dict__.update(state)
        source = self.store.source
        if not isinstance(source, FromExtents):
            self._positions = None
        elif source.extents.identity != identity:
            keys = [self.key(index) for index in range(len(self))]
            self._positions = np.array(self.store.places(keys), np.int64)
