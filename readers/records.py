"""Records of one modality, found once and read by index: what a loop over many epochs holds."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.bands import BandNames, bands_of
from patchpress.readers.access.extents import Extents
from patchpress.readers.access.fetcher import Handles
from patchpress.readers.access.plan import size_advice
from patchpress.readers.access.reader import RecordReader, list_of
from patchpress.readers.errors import BufferUnfit, GridsDiffer
from patchpress.readers.showing import listed, plain

Array = npt.NDArray[Any]


class Records:
    """Records of one modality and size, in a fixed order; safe in threads, after a fork, picklable.

    Keys are kept as one array of bytes, not as text objects: those would be copied into every
    worker process, one reference count after the other.
    """

    def __init__(self, reader: RecordReader, keys: Sequence[str], bands: BandNames = None) -> None:
        """Find the records; `Store.records` is the way to call it.

        Raises:
            KeyMissing, BandMissing: no such record or band.
            BufferUnfit: no key at all.
            OptionError: one key, not a list of them.
            GridsDiffer: keys of two modalities, or records of two sizes, as far as the extents
                tell without reading.
        """
        keys = list_of(keys, "put it into a list")
        if not len(keys):
            raise BufferUnfit("there must be at least one key")
        self._reader = reader
        handles = reader.find(keys)
        self._keys = np.array([key.encode() for key in keys], "S")
        self._positions: npt.NDArray[np.int64] | None = None
        self._plan = reader.plan(handles[0], bands)
        self.bands = bands_of(self._plan.modality, bands)
        """The names of the bands; None for all, in the modality's order."""
        if reader.extents is not None:
            self._positions = np.array(handles, np.int64)
            self._check_headers(reader.extents)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        modality = self._plan.modality
        bands = listed(self.bands or modality.band_names)
        return (
            f"Records({len(self):,} of {plain(modality.name)}, each {self.shape} "
            f"{self.dtype.name}: {bands})"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """(bands, height, width) of each, or (steps, bands, height, width)."""
        return self._plan.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype as stored."""
        return self._plan.dtype

    def key(self, index: int) -> str:
        """The name of one record."""
        return bytes(self._keys[index]).decode()

    def read(self, indices: Sequence[int] | Array, out: Array | None = None) -> Array:
        """Records as (N, *shape), in the order of the indices.

        Raises:
            BufferUnfit: `out` of another shape, dtype or order.
            StoreDamaged: a record that does not parse; the message names it.
        """
        return self._reader.read(self._handles(indices), self.bands, out)

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
        self._reader.announce(self._plan, self._handles(indices))

    def _handles(self, indices: Sequence[int] | Array) -> Handles:
        if self._positions is not None:
            return self._positions[np.asarray(indices, np.int64)]
        return [self.key(index) for index in indices]

    def _check_headers(self, extents: Extents) -> None:
        """Refuse records whose headers differ, as far as the extents have noted them."""
        numbers = extents.header_number[self._positions]
        other = np.flatnonzero(numbers != numbers[0])
        if len(other):
            raise GridsDiffer(
                f"record {self.key(int(other[0]))!r} has another header than {self.key(0)!r}: "
                f"records read together are of one modality and one size{size_advice(self._plan)}"
            )

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        extents = self._reader.extents
        # Positions hold for the data file that they were found in, and for no other.
        state["_identity"] = None if extents is None else extents.identity
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        identity = state.pop("_identity")
        self.__dict__.update(state)
        extents = self._reader.extents
        if extents is None:
            self._positions = None
        elif extents.identity != identity:
            keys = [self.key(index) for index in range(len(self))]
            self._positions = np.array(self._reader.find(keys), np.int64)
