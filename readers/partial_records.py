"""`PartialRecords`: records of one modality of samples some of which have none, filled in."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.bands import BandNames, bands_of
from patchpress.readers.format.modality import Modality
from patchpress.readers.records import Records
from patchpress.readers.showing import plain
from patchpress.readers.store import Store

Array = npt.NDArray[Any]


class PartialRecords:
    """As `Records`, one a sample; those that are not there have one value in each pixel."""

    def __init__(
        self,
        modality: Modality,
        records: Records | None,
        present: npt.NDArray[np.bool_],
        bands: BandNames,
        fill: int,
    ) -> None:
        """Take the records that are there.

        Args:
            modality: of the records.
            records: one for each sample that has one; None if no sample does.
            present: (samples,) whether a sample has one.
            bands: as the records have them.
            fill: the value of each pixel of those that are not there.
        """
        self._modality, self._records, self._fill = modality, records, fill
        self.bands = bands_of(modality, bands)
        """The names of the bands; None for all, in the modality's order."""
        self._numbers = np.where(present, np.cumsum(present) - 1, -1)
        *time, _, height, width = modality.array_shape
        self.shape: tuple[int, ...] = (*time, len(modality.indices(self.bands)), height, width)
        """(bands, height, width) of each, or (steps, bands, height, width)."""
        self.dtype: np.dtype[Any] = modality.dtype
        """The dtype as stored."""
        if records is not None:  # where patches differ in size, theirs is not the usual one
            self.shape, self.dtype = records.shape, records.dtype

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        there = int((self._numbers >= 0).sum())
        name = plain(self._modality.name)
        return f"PartialRecords({there:,} of {len(self):,} samples have {name}, each {self.shape})"

    def key(self, index: int) -> str:
        """The name of one record; empty if it is not there."""
        number = int(self._numbers[index])
        return self._records.key(number) if self._records is not None and number >= 0 else ""

    def absent(self, indices: Sequence[int] | Array) -> npt.NDArray[np.bool_]:
        """For each index whether there is no record."""
        found: npt.NDArray[np.bool_] = self._numbers[np.asarray(indices, np.int64)] < 0
        return found

    def read(self, indices: Sequence[int] | Array, out: Array | None = None) -> Array:
        """Records as (N, bands, height, width), filled in where there is none.

        Raises:
            BufferUnfit, StoreDamaged: as `Records.read`.
        """
        numbers = self._numbers[np.asarray(indices, np.int64)]
        if out is None:
            out = np.empty((len(numbers), *self.shape), self.dtype)
        places = np.flatnonzero(numbers >= 0)
        if self._records is not None and len(places):
            # Read without gaps, so that it is one reading; then each goes to its place, from the
            # last to the first: none is written over before it has moved.
            self._records.read(numbers[places], out[: len(places)])
            if len(places) < len(numbers):
                for number in range(len(places) - 1, -1, -1):
                    if places[number] != number:
                        out[places[number]] = out[number]
        out[numbers < 0] = self._fill
        return out

    def subset(self, indices: Sequence[int] | Array) -> "PartialRecords":
        """Those of some samples, in the order of the indices.

        Raises:
            IndexError: no such sample.
        """
        found = copy(self)
        found._numbers = self._numbers[indices]
        return found

    def announce(self, indices: Sequence[int] | Array) -> None:
        """Say that these will be read soon, so that the disk can begin."""
        numbers = self._numbers[np.asarray(indices, np.int64)]
        numbers = numbers[numbers >= 0]
        if self._records is not None and len(numbers):
            self._records.announce(numbers)


AnyRecords = Records | PartialRecords


def records_of_samples(
    store: Store,
    modality: Modality,
    keys: Sequence[str],
    present: npt.NDArray[np.bool_],
    bands: BandNames = None,
    fill: int = 0,
) -> AnyRecords:
    """The record of each sample; plain ones if none lacks one.

    Args:
        store: that has them.
        modality: of the records.
        keys: of each sample, also of those that have none.
        present: for each sample whether it has one.
        bands: as `Store.records` takes them.
        fill: the value of each pixel of those that are not there.
    """
    if present.all():
        return store.records(keys, bands)
    there = [key for key, has in zip(keys, present.tolist(), strict=True) if has]
    records = store.records(there, bands) if there else None
    return PartialRecords(modality, records, present, bands, fill)
