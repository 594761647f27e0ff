"""Zarr v3: one array in a local folder, a chunk (a file) a patch, not compressed."""

from pathlib import Path
from typing import Any

from benchmarks.adapters.protocol import OwnForm, Pixels, RowReader, Sources


class Zarr(OwnForm, RowReader):
    """zarr-python 3, a patch at a time: asking for a whole batch (`oindex`) is slower here."""

    name = "Zarr v3, a chunk a patch"
    note = "zarr-python, array[row], not compressed, copied into the reused buffer"
    environment = "peers"
    needs = ("zarr",)
    file = "patches.zarr"

    def __init__(self) -> None:
        super().__init__()
        self.array: Any = None

    def write_form(self, path: Path, flat: Pixels) -> None:
        """Write one array."""
        import zarr

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

    def prepare(self, sources: Sources) -> None:
        """Open the array."""
        import zarr

        super().prepare(sources)
        self.array = zarr.open_array(str(self.path), mode="r")

    def patch(self, row: int) -> Pixels:
        """Read one row."""
        pixels: Pixels = self.array[row]
        return pixels
