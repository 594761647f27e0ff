"""WebDataset: tar shards of 256 patches, each a .npy, read in order."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.adapters.protocol import (
    KeyedBatch,
    Loader,
    OwnForm,
    Pixels,
    Sequential,
    Sources,
)
from benchmarks.adapters.torch_loader import Epochs, worker_options

SHARD = 256


class WebDataset(OwnForm):
    """A folder of tar files; a sample's name is its row."""

    environment = "peers"
    needs = ("webdataset",)
    file = "webdataset"

    def __init__(self) -> None:
        super().__init__()
        self.shards: list[str] = []

    def write_form(self, path: Path, flat: Pixels) -> None:
        """Write the shards."""
        import webdataset

        path.mkdir()
        pattern = str(path / "%05d.tar")
        with webdataset.ShardWriter(pattern, maxcount=SHARD, verbose=0) as out:
            for row, image in enumerate(flat):
                out.write({"__key__": f"{row:09d}", "npy": np.asarray(image)})

    def prepare(self, sources: Sources) -> None:
        """List the shards."""
        super().prepare(sources)
        self.shards = sorted(str(path) for path in self.path.glob("*.tar"))

    def open(self, shuffle: int = 0) -> Any:
        """Open the shards: (name, pixels) of each sample, shuffled in a buffer if asked for."""
        import webdataset

        data = webdataset.WebDataset(
            self.shards,
            shardshuffle=len(self.shards) if shuffle else 0,
            empty_check=False,  # with fewer shards than workers, some have nothing to do
        )
        if shuffle:
            data = data.shuffle(shuffle)
        return data.decode().to_tuple("__key__", "npy")


class WebDatasetSequential(WebDataset, Sequential):
    """In order."""

    name = "WebDataset, in order"
    note = "sequential: tar shards of .npy, decoded, copied into the reused buffer"

    def samples(self) -> Iterator[tuple[int, Pixels]]:
        """Iterate once."""
        for name, image in self.open():
            yield int(name), image


class WebDatasetLoader(WebDataset, Loader):
    """Its loader over batches made in the pipeline; shards and a buffer of a batch are shuffled."""

    name = "WebDataset, WebLoader"
    note = "sequential: shuffles shards, and samples only within a buffer of one batch"

    def epochs(self, batch: int, workers: int) -> Iterable[KeyedBatch]:
        """Shuffle, batch, collate."""
        import webdataset

        batched = self.open(shuffle=batch).batched(batch)
        loader = webdataset.WebLoader(batched, batch_size=None, **worker_options(workers))
        return Epochs(loader, lambda sample: ([int(name) for name in sample[0]], sample[1]))
