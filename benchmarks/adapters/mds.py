"""MDS (mosaicml-streaming): shards of 64 MB, read by index."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.adapters.protocol import Batch, Fed, Loader, Peer, Pixels, Reader, Sources, once
from benchmarks.adapters.torch_loader import Epochs, torch_loader


def streaming() -> Any:
    """Import mosaicml-streaming without torchvision, which it wants for data sets of pictures only.

    The torchvision on PyPI is built for the CUDA torch and cannot be imported beside another one,
    so empty modules stand in for it.
    """
    import transformers.feature_extraction_utils
    import transformers.tokenization_utils_base  # noqa: F401 - before torchvision seems to be there

    for name in ("torchvision", "torchvision.datasets", "torchvision.transforms.functional"):
        sys.modules.setdefault(name, ModuleType(name))
    vars(sys.modules["torchvision.datasets"])["VisionDataset"] = object
    vars(sys.modules["torchvision.transforms.functional"])["to_tensor"] = None
    sys.modules.setdefault("torchvision.transforms", ModuleType("torchvision.transforms"))
    import streaming

    return streaming


class Mds(Peer):
    """A folder of shards with the row and the pixels of each patch."""

    environment = "peers"
    needs = ("streaming", "transformers")

    def __init__(self) -> None:
        self.data: Any = None
        self.row: dict[str, int] = {}

    def files(self, sources: Sources) -> tuple[Path, ...]:
        """Name the folder."""
        return (sources.forms / "mds",)

    def write(self, sources: Sources) -> None:
        """Write the shards."""
        writer = streaming().MDSWriter

        def write(path: Path) -> None:
            flat = np.load(sources.flat, mmap_mode="r")
            columns = {"row": "int", "image": "ndarray:uint16:12,120,120"}
            with writer(out=str(path), columns=columns) as out:
                for row, image in enumerate(flat):
                    out.write({"row": row, "image": image})

        once(self.files(sources)[0], write)

    def prepare(self, sources: Sources) -> None:
        """Open the shards as its LocalDataset, for data that are there already."""
        self.data = streaming().LocalDataset(str(self.files(sources)[0]))
        self.row = {key: row for row, key in enumerate(sources.keys)}


class MdsReader(Mds, Reader):
    """By index."""

    name = "MDS, by index"
    note = "LocalDataset[row], copied into the reused buffer"

    def read(self, keys: Sequence[str], out: Pixels) -> Batch:
        """Read patch by patch."""
        for slot, key in enumerate(keys):
            out[slot] = self.data[self.row[key]]["image"]
        return out


class MdsLoader(Mds, Loader):
    """torch's DataLoader over the same."""

    name = "MDS, DataLoader"
    note = "over LocalDataset, which is faster here than its StreamingDataset"

    def epochs(self, batch: int, workers: int) -> Iterable[Fed]:
        """Shuffle, collate."""
        loader = torch_loader(self.data, batch, workers)
        return Epochs(loader, lambda sample: (sample["row"], sample["image"]))
