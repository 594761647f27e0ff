"""A plain reader of a native store: lmdb, `safetensors.numpy.load`, NumPy's repeat."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.adapters.protocol import NATIVE, Batch, Pixels, Reader, Sources
from benchmarks.tree import S2_BANDS


class SafetensorsNumpy(Reader):
    """What one writes in an afternoon without torch."""

    name = "safetensors.numpy.load, repeat"
    note = "into the reused buffer"
    needs = ("lmdb", "safetensors")
    stored = NATIVE

    def __init__(self) -> None:
        self.lmdb: Any = None
        self.load: Any = None

    def files(self, sources: Sources) -> tuple[Path, ...]:
        """Name what it reads."""
        return (sources.native,)

    def prepare(self, sources: Sources) -> None:
        """Open the native store as any LMDB client does."""
        import lmdb
        from safetensors.numpy import load

        self.lmdb = lmdb.open(str(sources.native), readonly=True, lock=False)
        self.load = load

    def read(self, keys: Sequence[str], out: Pixels) -> Batch:
        """Repeat every band straight into its place."""
        with self.lmdb.begin(buffers=True) as transaction:
            for slot, key in enumerate(keys):
                bands = self.load(bytes(transaction.get(key.encode())))
                for index, name in enumerate(S2_BANDS):
                    times = out.shape[-1] // bands[name].shape[-1]
                    out[slot, index] = bands[name].repeat(times, 0).repeat(times, 1)
        return out
