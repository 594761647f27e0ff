"""The masks of samples: maps, whose codes become indices of classes as they are read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.images import Field
from patchpress.readers.partial_records import AnyRecords, PartialRecords
from patchpress.readers.targets import CodeTable

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Mask:
    """The maps of some samples, and how their codes become classes."""

    field: Field
    records: AnyRecords
    table: CodeTable

    def read(self, indices: Array, out: npt.NDArray[np.int64]) -> None:
        """Class indices (N, height, width); a map that is not there is ignored pixels."""
        if isinstance(self.records, PartialRecords):
            absent = self.records.absent(indices)
            out[absent] = self.table.ignored
            indices, there = indices[~absent], np.flatnonzero(~absent)
            if not len(there):
                return
            if len(there) < len(absent):
                found = np.empty((len(there), *out.shape[1:]), out.dtype)
                self._read(indices, found)
                out[there] = found
                return
        self._read(indices, out)

    def _read(self, indices: Array, out: npt.NDArray[np.int64]) -> None:
        codes = self.records.read(indices)[:, 0]
        keys = [self.records.key(int(index)) for index in indices]
        self.table.apply(codes, out, keys)
