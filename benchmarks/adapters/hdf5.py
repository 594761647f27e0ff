"""HDF5: one data set, a chunk a patch, not compressed."""

from pathlib import Path
from typing import Any

from benchmarks.adapters.protocol import OwnForm, Pixels, RowReader, Sources


class Hdf5(OwnForm, RowReader):
    """h5py, a patch at a time.

    `dataset[row]` is what everyone writes, and here also faster than `read_direct` into the buffer
    and than a list of rows (a hundred times slower).
    """

    name = "HDF5, a chunk a patch"
    note = "h5py, dataset[row], copied into the reused buffer"
    environment = "peers"
    needs = ("h5py",)
    file = "patches.h5"

    def __init__(self) -> None:
        super().__init__()
        self.data: Any = None

    def write_form(self, path: Path, flat: Pixels) -> None:
        """Write one data set."""
        import h5py

        with h5py.File(path, "w", libver="latest") as file:
            chunk = (1, *flat.shape[1:])
            data = file.create_dataset("s2", flat.shape, flat.dtype, chunks=chunk)
            for row, array in enumerate(flat):
                data[row] = array

    def prepare(self, sources: Sources) -> None:
        """Open the file."""
        import h5py

        super().prepare(sources)
        self.data = h5py.File(self.path, "r")["s2"]

    def patch(self, row: int) -> Pixels:
        """Read one row."""
        pixels: Pixels = self.data[row]
        return pixels
