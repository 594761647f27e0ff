"""Zarr v3: one array in a local folder, a chunk (a file) a patch, not compressed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.adapters.protocol import Batch, Pixels, Reader, Sources, once


class Zarr(Reader):
    """zarr-python 3, a patch at a time: asking for a whole batch (`oindex`) is slower here."""

    name = "Zarr v3, a chunk a patch"
    note = "zarr-python, array[row], not compressed, copied into the reused buffer"
    environment = "peers"
    needs = ("zarr",)

    def __init__(self) -> None:
        self.array: Any = None
        self.row: dict[str, int] = {}

    def files(self, sources: Sources) -> tuple[Path, ...]:
        """Name the folder."""
        return (sources.forms / "patches.zarr",)

    def write(self, sources: Sources) -> None:
        """Write one array."""
        import zarr

        def write(path: Path) -> None:
            flat = np.load(sources.flat, mmap_mode="r")
            array = zarr.create_array(
                store=str(path),
                shape=flat.shape,
                dtype=flat.dtype,
                chunks=(1, *flat.shape[1:]),
                compressors=None,
                filters=None,
            )
            for row, pixels in enumerate(flat):
                array[row] = pixels

        once(self.files(sources)[0], write)

    def prepare(self, sources: Sources) -> None:
        """Open the array."""
        import zarr

        self.array = zarr.open_array(str(self.files(sources)[0]), mode="r")
        self.row = {key: row for row, key in enumerate(sources.keys)}

    def read(self, keys: Sequence[str], out: Pixels) -> Batch:
        """Read patch by patch."""
        for slot, key in enumerate(keys):
            out[slot] = self.array[self.row[key]]
        return out
