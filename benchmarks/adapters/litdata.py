"""litData: chunks of 64 MB in a local folder, by index and in order."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.adapters.protocol import (
    KeyedBatch,
    Loader,
    OwnForm,
    Pixels,
    RowReader,
    Sequential,
    Sources,
)
from benchmarks.adapters.torch_loader import Epochs, worker_options


class LitData(OwnForm):
    """A folder of chunks with the row and the pixels of each patch."""

    environment = "peers"
    needs = ("litdata",)
    file = "litdata"
    options: ClassVar[dict[str, Any]] = {}  # those of StreamingDataset; none: its defaults

    def write_form(self, path: Path, flat: Pixels) -> None:
        """Write the chunks, in one process."""
        from litdata.streaming.cache import Cache

        cache = Cache(str(path), chunk_bytes="64MB")
        for row, image in enumerate(flat):
            cache[row] = {"row": row, "image": np.asarray(image)}
        cache.done()
        cache.merge()

    def open(self, **options: Any) -> Any:
        """Open the folder."""
        from litdata import StreamingDataset

        return StreamingDataset(str(self.path), **self.options, **options)


class LitDataRandom(LitData, RowReader):
    """By index, with its defaults: 256 neighbours are decoded for every patch asked for."""

    name = "litData, by index, default"
    note = "StreamingDataset[row]; decodes up to 256 neighbours along with each"

    def __init__(self) -> None:
        super().__init__()
        self.data: Any = None

    def prepare(self, sources: Sources) -> None:
        """Open the folder."""
        super().prepare(sources)
        self.data = self.open()

    def patch(self, row: int) -> Pixels:
        """Read one row."""
        pixels: Pixels = self.data[row]["image"]
        return pixels


class LitDataRandomTuned(LitDataRandom):
    """By index, a patch at a time: the fastest that we found."""

    name = "litData, by index, batch_decode=0"
    note = "StreamingDataset[row], each alone; copied into the reused buffer"
    options: ClassVar[dict[str, Any]] = {"batch_decode": 0}


class LitDataSequential(LitData, Sequential):
    """In order."""

    name = "litData, in order"
    note = "sequential: iterates over StreamingDataset; copied into the reused buffer"

    def samples(self) -> Iterator[tuple[int, Pixels]]:
        """Iterate once."""
        for sample in self.open(shuffle=False, drop_last=False):
            yield sample["row"], sample["image"]


class LitDataLoader(LitData, Loader):
    """Its loader and its shuffling; with its defaults it reaches a tenth of this."""

    name = "litData, StreamingDataLoader"
    note = "its own shuffling, batch_decode=0 and item_shuffle_window=0, faster than its defaults"
    options: ClassVar[dict[str, Any]] = {"batch_decode": 0, "item_shuffle_window": 0}

    def epochs(self, batch: int, workers: int) -> Iterable[KeyedBatch]:
        """Shuffle, collate."""
        from litdata import StreamingDataLoader

        data = self.open(shuffle=True, drop_last=False)
        loader = StreamingDataLoader(data, batch_size=batch, **worker_options(workers))
        return Epochs(loader, lambda sample: (sample["row"], sample["image"]))
