"""Feeding a GPU: the bare copy of pinned memory, and PatchLoader with cast and normalisation.

Without a GPU the same code runs on the CPU, and nothing is pinned.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from benchmarks.adapters.patchpress_loaders import keyed, patch_loader
from benchmarks.adapters.protocol import Feed, FlatFile, KeyedBatch, Pixels, StackedStore
from benchmarks.tree import S2_BANDS

MEAN, SCALE = 1000.0, 1.0 / 1024.0  # exact in float32, so that equality can be asserted


def normalised(image: Any) -> Any:
    """What a patch must have become."""
    return image.float().sub_(MEAN).mul_(SCALE)


class PinnedCopy(FlatFile, Feed):
    """One pinned batch, filled once, copied again and again: nothing is read."""

    name = "bare pinned copy"
    note = "the limit: the same bytes from one pinned buffer, neither read nor cast"
    needs = ("torch",)

    def epochs(self, batch: int, device: Any) -> Iterable[KeyedBatch]:
        """Copy as many batches as an epoch has."""
        return Copies(np.load(self.path, mmap_mode="r"), batch, device)


class Copies:
    """The first patches, as often as an epoch has batches."""

    def __init__(self, flat: Pixels, batch: int, device: Any) -> None:
        import torch

        self.patches = len(flat)
        pinned = torch.from_numpy(np.array(flat[:batch]))
        self.pinned = pinned.pin_memory() if device.type == "cuda" else pinned
        self.target = torch.empty_like(self.pinned, device=device)

    def __iter__(self) -> Iterator[KeyedBatch]:
        size = len(self.pinned)
        for first in range(0, self.patches, size):
            count = min(size, self.patches - first)
            self.target[:count].copy_(self.pinned[:count], non_blocking=True)
            yield range(count), self.target[:count]


class GpuPatchLoader(StackedStore, Feed):
    """`to_device`: PatchLoader's page-locked memory, copied on a stream of its own, normalised."""

    name = "Patchpress, PatchLoader and to_device"
    note = "from the page cache to normalised float32 on the device"
    needs = ("lmdb", "patchpress", "torch")

    def epochs(self, batch: int, device: Any) -> Iterable[KeyedBatch]:
        """Bring over and normalise what the loader reads; a batch crosses while one is drawn."""
        return OnDevice(patch_loader(self.path, batch), device)


class OnDevice:
    """An epoch of `to_device` each time."""

    def __init__(self, loader: Any, device: Any) -> None:
        self.loader, self.device = loader, device
        self.statistics = statistics()

    def __iter__(self) -> Iterator[KeyedBatch]:
        from patchpress import to_device

        return map(keyed, to_device(self.loader, self.device, self.statistics))


def statistics() -> Any:
    """Made-up statistics, alike for all bands."""
    from patchpress.readers.statistics import PERCENTILES, BandStatistics, Statistics

    percentiles = tuple(float(percentile) for percentile in PERCENTILES)
    bands = tuple(
        BandStatistics(name, 1, 0, MEAN, 1 / SCALE, 0.0, 65535.0, percentiles) for name in S2_BANDS
    )
    return Statistics("s2", "all", 1, bands)
