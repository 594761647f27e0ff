"""The limit: one flat file, mapped by NumPy, copied into the reused buffer. No checks, no names."""

from collections.abc import Sequence

import numpy as np

from benchmarks.adapters.protocol import Arrays, FlatFile, Pixels, Reader, Sources

RGB = ("B04", "B03", "B02")


class Memmap(FlatFile, Reader):
    """Rows of a .npy file (patches, 12, 120, 120) uint16."""

    name = "NumPy memmap"
    note = "the limit: a copy and nothing else"

    def __init__(self) -> None:
        super().__init__()
        self.flat: Pixels = np.empty(0, np.uint16)

    def prepare(self, sources: Sources) -> None:
        """Map the file."""
        super().prepare(sources)
        self.flat = np.load(self.path, mmap_mode="r").view(np.ndarray)

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        """Gather rows. The mode is "clip" because the default one needs a second buffer."""
        np.take(self.flat, [self.row[key] for key in keys], axis=0, out=out, mode="clip")
        return out


class MemmapRGB(Memmap):
    """Three bands of each row. They lie next to one another: one copy a patch."""

    name = "NumPy memmap, B04 B03 B02"
    note = "one slice a patch"
    bands = RGB

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        """Copy B04, B03 and B02, which are 3, 2 and 1 of the twelve."""
        for slot, key in enumerate(keys):
            out[slot] = self.flat[self.row[key], 3:0:-1]
        return out
