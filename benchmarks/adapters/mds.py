"""MDS (mosaicml-streaming): shards of 64 MB, read by index."""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.adapters.protocol import KeyedBatch, Loader, OwnForm, Pixels, RowReader, Sources
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


class Mds(OwnForm):
    """A folder of shards with the row and the pixels of each patch."""

    environment = "peers"
    needs = ("streaming", "transformers")
    file = "mds"

    def __init__(self) -> None:
        super().__init__()
        self.data: Any = None

    def write_form(self, path: Path, flat: Pixels) -> None:
        """Write the shards."""
        columns = {"row": "int", "image": "ndarray:uint16:12,120,120"}
        with streaming().MDSWriter(out=str(path), columns=columns) as out:
            for row, image in enumerate(flat):
                out.write({"row": row, "image": image})

    def prepare(self, sources: Sources) -> None:
        """Open the shards as its LocalDataset, which is for data that are already there."""
        super().prepare(sources)
        self.data = streaming().LocalDataset(str(self.path))


class MdsReader(Mds, RowReader):
    """By index."""

    name = "MDS, by index"
    note = "LocalDataset[row], copied into the reused buffer"

    def patch(self, row: int) -> Pixels:
        """Read one row."""
        pixels: Pixels = self.data[row]["image"]
        return pixels


class MdsLoader(Mds, Loader):
    """torch's DataLoader over its LocalDataset."""

    name = "MDS, DataLoader"
    note = "over LocalDataset, which is faster here than its StreamingDataset"

    def epochs(self, batch: int, workers: int) -> Iterable[KeyedBatch]:
        """Shuffle, collate."""
        loader = torch_loader(self.data, batch, workers)
        return Epochs(loader, lambda sample: (sample["row"], sample["image"]))
