"""ConfigILM's way of reading a native store: a transaction, a load and an interpolation a patch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.adapters.protocol import NATIVE, Arrays, NativeStore, Pixels, Reader, Sources
from benchmarks.tree import S2_BANDS

if TYPE_CHECKING:
    import torch

SIZE = 120


class ConfigILMWay(NativeStore, Reader):
    """The steps of its BENv2 reader, its `stack_and_interpolate` and the default collate."""

    name = "ConfigILM's way"
    note = "fresh float32 tensors, twice the bytes; without its labels and its worker processes"
    needs = ("lmdb", "safetensors", "torch")
    stored = NATIVE

    def __init__(self) -> None:
        super().__init__()
        self.lmdb: Any = None
        self.load: Any = None

    def prepare(self, sources: Sources) -> None:
        """Open the native store with ConfigILM's options."""
        import lmdb
        import torch
        from safetensors.numpy import load

        super().prepare(sources)
        torch.set_num_threads(1)  # as in a worker of a DataLoader, and as everyone else here
        self.load = load
        self.lmdb = lmdb.open(
            str(self.path), readonly=True, lock=False, meminit=False, readahead=True
        )

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        """Collate patches one by one; the reused buffer is of no use to it."""
        import torch

        batch: npt.NDArray[np.float32] = torch.stack([self.read_one(key) for key in keys]).numpy()
        return batch

    def read_one(self, key: str) -> "torch.Tensor":
        """Give one patch as float32 (12, 120, 120)."""
        import torch

        with self.lmdb.begin(write=False, buffers=True) as transaction:
            value = transaction.get(key.encode())
        bands = self.load(bytes(value))
        return torch.stack([interpolate(bands[name]) for name in S2_BANDS])


def interpolate(band: npt.NDArray[np.uint16]) -> "torch.Tensor":
    """Bring one band to (120, 120) float32, by the nearest pixel."""
    import torch
    from torch.nn import functional

    tensor = torch.Tensor(np.float32(band))
    if band.shape == (SIZE, SIZE):
        return tensor
    return functional.interpolate(tensor[None, None], (SIZE, SIZE), mode="nearest").squeeze()
