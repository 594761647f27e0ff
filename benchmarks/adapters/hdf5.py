"""HDF5: one data set, a chunk a patch, not compressed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.adapters.protocol import Batch, Pixels, Reader, Sources, once


class Hdf5(Reader):
    """h5py, a patch at a time.

    `dataset[row]` is what everyone writes, and here also faster than `read_direct` into the buffer
    and than a list of rows (a hundred times slower).
    """

    name = "HDF5, a chunk a patch"
    note = "h5py, dataset[row], copied into the reused buffer"
    environment = "peers"
    needs = ("h5py",)

    def __init__(self) -> None:
        self.data: Any = None
        self.row: dict[str, int] = {}

    def files(self, sources: Sources) -> tuple[Path, ...]:
        """Name the file."""
        return (sources.forms / "patches.h5",)

    def write(self, sources: Sources) -> None:
        """Write one data set."""
        import h5py

        def write(path: Path) -> None:
            flat = np.load(sources.flat, mmap_mode="r")
            with h5py.File(path, "w", libver="latest") as file:
                chunk = (1, *flat.shape[1:])
                data = file.create_dataset("s2", flat.shape, flat.dtype, chunks=chunk)
                for row, array in enumerate(flat):
                    data[row] = array

        once(self.files(sources)[0], write)

    def prepare(self, sources: Sources) -> None:
        """Open the file."""
        import h5py

        self.data = h5py.File(self.files(sources)[0], "r")["s2"]
        self.row = {key: row for row, key in enumerate(sources.keys)}

    def read(self, keys: Sequence[str], out: Pixels) -> Batch:
        """Read patch by patch."""
        for slot, key in enumerate(keys):
            out[slot] = self.data[self.row[key]]
        return out
