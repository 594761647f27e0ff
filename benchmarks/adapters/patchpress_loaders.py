"""Patchpress for torch: PatchLoader, a stock DataLoader over PatchDataset, and the bare loop.

All that the benchmarks know of `loader` and `patchpress.readers.torch_dataset` stands here.
"""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.adapters.protocol import KeyedBatch, Loader, Pixels, StackedStore
from benchmarks.adapters.torch_loader import Epochs, torch_loader

# All Sentinel-2 patches, pixels and names: everyone's samples say which patch they are.
CHOICE: dict[str, Any] = {"modalities": "s2", "dtype": None, "target": None, "with_key": True}


def patch_dataset(store: Path) -> Any:
    """A map-style data set."""
    from patchpress.readers.torch_dataset import PatchDataset

    return PatchDataset(str(store), **CHOICE)


def patch_loader(store: Path, batch: int, **options: Any) -> Any:
    """Shuffled batches in memory that is used again, page-locked if there is a GPU."""
    from patchpress.readers.loader import PatchLoader

    options = {"batch_size": batch, "shuffle": True, "seed": 0, **CHOICE, **options}
    return PatchLoader(str(store), **options)


def keyed(batch: Any) -> KeyedBatch:
    """Turn a batch of either into (keys, pixels)."""
    image, keys = batch
    return keys, image


class BareLoop(StackedStore, Loader):
    """What a loop without torch does."""

    name = "Patchpress, bare read_batch loop"
    note = "one thread, one reused buffer, no torch: what a loader of ours is compared with"
    needs = ("lmdb", "patchpress")
    workers = (0,)

    def epochs(self, batch: int, workers: int) -> Iterable[KeyedBatch]:
        """Shuffle, read."""
        from patchpress import open_store

        store = open_store(self.path)
        return ReadBatches(store, store.keys("s2"), batch)


class ReadBatches:
    """Batches of a store in a new random order each time."""

    def __init__(self, store: Any, keys: list[str], batch: int) -> None:
        self.store, self.keys, self.batch = store, keys, batch
        self.out: Pixels = np.empty((batch, 12, 120, 120), np.uint16)
        self.rng = np.random.default_rng(0)

    def __iter__(self) -> Iterator[KeyedBatch]:
        order = self.rng.permutation(len(self.keys)).tolist()
        for first in range(0, len(order), self.batch):
            keys = [self.keys[row] for row in order[first : first + self.batch]]
            yield keys, self.store.read_batch(keys, out=self.out[: len(keys)])


class DatasetLoader(StackedStore, Loader):
    """A stock DataLoader over PatchDataset, with its collate."""

    name = "Patchpress, stock DataLoader"
    note = "over PatchDataset, collate_fn=data.collate"
    needs = ("lmdb", "patchpress", "torch")

    def epochs(self, batch: int, workers: int) -> Iterable[KeyedBatch]:
        """Shuffle, read a batch at a time."""
        data = patch_dataset(self.path)
        return Epochs(torch_loader(data, batch, workers, collate_fn=data.collate), keyed)


class PatchLoaderEpochs(StackedStore, Loader):
    """PatchLoader over the same data set."""

    name = "Patchpress, PatchLoader"
    note = "threads, and memory that is filled again when nobody holds the batch"
    needs = ("lmdb", "patchpress", "torch")
    workers = (0,)

    def epochs(self, batch: int, workers: int) -> Iterable[KeyedBatch]:
        """Shuffle, read ahead."""
        return Epochs(patch_loader(self.path, batch), keyed)


class StagedLoaderEpochs(PatchLoaderEpochs):
    """PatchLoader over a store that is staged in its first epoch."""

    name = "Patchpress, PatchLoader, staged"
    note = "nothing is staged before its first epoch, which ends when all is"

    def epochs(self, batch: int, workers: int) -> Iterable[KeyedBatch]:
        """Shuffle, read ahead: at first from the store, then from the copy."""
        stage = self.path.parent / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        return StagedEpochs(patch_loader(self.path, batch, stage=stage))


class StagedEpochs:
    """Epochs of a loader, the first of which waits until all is staged."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.staged = loader, False

    def __iter__(self) -> Iterator[KeyedBatch]:
        yield from map(keyed, self.loader)
        if not self.staged:
            self.loader.samples.store.stage()
            self.staged = True
