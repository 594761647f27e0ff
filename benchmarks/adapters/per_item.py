"""The usual way to feed torch: a data set that gives one patch, and the default collate."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.adapters.protocol import FlatFile, KeyedBatch, Loader, Pixels
from benchmarks.adapters.torch_loader import Epochs, torch_loader


class PatchPerItem:
    """A map-style data set over the flat file, as many write it."""

    def __init__(self, flat: Path) -> None:
        # Mapped copy on write: torch then takes the rows as they are, without another copy.
        self.flat: Pixels = np.load(flat, mmap_mode="c")

    def __len__(self) -> int:
        return len(self.flat)

    def __getitem__(self, row: int) -> tuple[int, Pixels]:
        return row, self.flat[row]


class PerItemLoader(FlatFile, Loader):
    """torch's DataLoader over that data set."""

    name = "per item, default collate"
    note = "the usual way: a data set over NumPy memmap; rows are not copied before torch.stack"
    needs = ("torch",)

    def epochs(self, batch: int, workers: int) -> Iterable[KeyedBatch]:
        """Shuffle, collate."""
        loader = torch_loader(PatchPerItem(self.path), batch, workers)
        return Epochs(loader, lambda sample: sample)
