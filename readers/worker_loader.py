"""`WorkerLoader`: batches of a `PatchDataset` read by worker processes, with a loader's epochs.

A stock `DataLoader` does the work. Which samples an epoch has, and how far it has come, is known
here, so that a training goes on in the middle of an epoch, and every process finds its share.

Needs torch (the extra ``torch``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from patchpress.readers.epochs import EpochLoader
from patchpress.readers.order import Indices
from patchpress.readers.torch_dataset import PatchDataset


@dataclass(frozen=True, slots=True)
class WorkerBatch:
    """A batch that workers have read, and its place in the epoch."""

    content: Any
    epoch: int
    number: int
    """How many batches of the epoch have been drawn with this one."""


class WorkerLoader(EpochLoader):
    """An iterable of batches, each in the form of a sample; one pass is one epoch.

    The state of random augmentation in the workers is not part of the loader's state: after going
    on from one, the samples are the same, and what is drawn for them is not.
    """

    def __init__(
        self,
        data: PatchDataset,
        *,
        batch_size: int = 64,
        shuffle: bool = False,
        sampler: Iterable[Any] | None = None,
        seed: int | None = None,
        drop_last: bool = False,
        num_workers: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        """Work out the order; workers begin with the first pass and live on until `close`.

        Args:
            data: what is read, and transformed.
            num_workers: processes that read; with 0 this one does.
            batch_size: as `PatchLoader` has it, and so are all others.
            shuffle: as there.
            sampler: as there.
            seed: as there; it also decides the random numbers of the workers.
            drop_last: as there.
            rank: as there.
            world_size: as there.
        """
        super().__init__(
            data.samples,
            batch_size=batch_size,
            shuffle=shuffle,
            sampler=sampler,
            seed=seed,
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
        )
        self._data, self._num_workers = data, num_workers
        self._coming: list[Indices] = []
        self._loader: DataLoader[Any] | None = None

    def close(self) -> None:
        """End the worker processes; the next pass begins new ones."""
        self._loader = None  # whose iterator ends its workers when it is gone

    def _stock_loader(self) -> "DataLoader[Any]":
        if self._loader is None:
            self._loader = DataLoader(
                self._data,
                batch_sampler=_Coming(self._coming),
                num_workers=self._num_workers,
                persistent_workers=self._num_workers > 0,
                generator=self._generator(),
                collate_fn=self._data.collate,
            )
        return self._loader

    def _generator(self) -> Any:
        """What seeds the workers: torch's default generator if no seed was given or needed."""
        if self._seed_source == "unused":
            return None
        # Workers of different processes must not draw the same augmentations.
        origin = np.random.SeedSequence([self.order.seed, self.order.rank])
        return torch.Generator().manual_seed(int(origin.generate_state(1)[0]))

    def __iter__(self) -> Iterator[Any]:
        """Batches of one epoch. One pass at a time: a second one ends the first."""
        for batch in self.counted(self._draw()):
            yield batch.content

    def _draw(self) -> Iterator[WorkerBatch]:
        epoch, first, self._coming[:] = self.begin()
        for number, content in enumerate(self._stock_loader(), first + 1):
            yield WorkerBatch(content, epoch, number)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loader": None}

    def __repr__(self) -> str:
        lines = [f"  {line}" for line in self.told()]
        return "\n".join([f"<WorkerLoader of {self.samples.summary()}", *lines]) + ">"


class _Coming:
    """The batches of indices that workers read next; a batch sampler of a `DataLoader`."""

    def __init__(self, batches: list[Indices]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return (indices.tolist() for indices in list(self._batches))
