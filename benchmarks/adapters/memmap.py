"""The limit: one flat file, mapped by NumPy, copied into the reused buffer. No checks, no names."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.adapters.protocol import Batch, Sources


class Memmap:
    """Rows of a .npy file (patches, 12, 120, 120) uint16."""

    name = "NumPy memmap"
    note = "the limit: a copy and nothing else"

    def __init__(self) -> None:
        self.flat: npt.NDArray[np.uint16] = np.empty(0, np.uint16)
        self.row: dict[str, int] = {}

    def available(self) -> str | None:
        """Always there."""
        return None

    def prepare(self, sources: Sources) -> None:
        """Map the file."""
        self.flat = np.load(sources.flat, mmap_mode="r").view(np.ndarray)
        self.row = {key: row for row, key in enumerate(sources.keys)}

    def read(self, keys: Sequence[str], out: npt.NDArray[np.uint16]) -> Batch:
        """Gather rows. "clip" because the default mode goes through a second buffer."""
        np.take(self.flat, [self.row[key] for key in keys], axis=0, out=out, mode="clip")
        return out
