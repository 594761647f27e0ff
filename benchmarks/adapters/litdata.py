"""litData: chunks of 64 MB in a local folder, by index and in order."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.adapters.protocol import (
    Batch,
    Fed,
    Loader,
    Peer,
    Pixels,
    Reader,
    Sequential,
    Sources,
    once,
)
from benchmarks.adapters.torch_loader import Epochs, worker_options


class LitData(Peer):
    """A folder of chunks with the row and the pixels of each patch."""

    environment = "peers"
    needs = ("litdata",)
    options: ClassVar[dict[str, Any]] = {}  # its defaults

    def __init__(self) -> None:
        self.folder = ""
        self.row: dict[str, int] = {}

    def files(self, sources: Sources) -> tuple[Path, ...]:
        """Name the folder."""
        return (sources.forms / "litdata",)

    def write(self, sources: Sources) -> None:
        """Write the chunks, in one process."""
        from litdata.streaming.cache import Cache

        def write(path: Path) -> None:
            flat = np.load(sources.flat, mmap_mode="r")
            cache = Cache(str(path), chunk_bytes="64MB")
            for row, image in enumerate(flat):
                cache[row] = {"row": row, "image": np.asarray(image)}
            cache.done()
            cache.merge()

        once(self.files(sources)[0], write)

    def prepare(self, sources: Sources) -> None:
        """Remember the folder."""
        self.folder = str(self.files(sources)[0])
        self.row = {key: row for row, key in enumerate(sources.keys)}

    def open(self, **options: Any) -> Any:
        """Open the folder."""
        from litdata import StreamingDataset

        return StreamingDataset(self.folder, **self.options, **options)


class LitDataRandom(LitData, Reader):
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

    def read(self, keys: Sequence[str], out: Pixels) -> Batch:
        """Read patch by patch."""
        for slot, key in enumerate(keys):
            out[slot] = self.data[self.row[key]]["image"]
        return out


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

    def epochs(self, batch: int, workers: int) -> Iterable[Fed]:
        """Shuffle, collate."""
        from litdata import StreamingDataLoader

        data = self.open(shuffle=True, drop_last=False)
        loader = StreamingDataLoader(data, batch_size=batch, **worker_options(workers))
        return Epochs(loader, lambda sample: (sample["row"], sample["image"]))
