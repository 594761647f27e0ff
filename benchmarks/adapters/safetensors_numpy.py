"""A plain reader of a native store: lmdb, `safetensors.numpy.load`, NumPy's repeat."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.adapters.protocol import Batch, Sources, missing
from benchmarks.tree import S2_BANDS


class SafetensorsNumpy:
    """What one writes in an afternoon without torch."""

    name = "safetensors.numpy.load, repeat"
    note = "into the reused buffer"

    def __init__(self) -> None:
        self.environment: Any = None
        self.load: Any = None

    def available(self) -> str | None:
        """Say what is missing."""
        return missing("lmdb", "safetensors")

    def prepare(self, sources: Sources) -> None:
        """Open the native store as any LMDB client does."""
        import lmdb
        from safetensors.numpy import load

        self.environment = lmdb.open(str(sources.native), readonly=True, lock=False)
        self.load = load

    def read(self, keys: Sequence[str], out: npt.NDArray[np.uint16]) -> Batch:
        """Repeat every band straight into its place."""
        with self.environment.begin(buffers=True) as transaction:
            for slot, key in enumerate(keys):
                bands = self.load(bytes(transaction.get(key.encode())))
                for index, name in enumerate(S2_BANDS):
                    times = out.shape[-1] // bands[name].shape[-1]
                    out[slot, index] = bands[name].repeat(times, 0).repeat(times, 1)
        return out
