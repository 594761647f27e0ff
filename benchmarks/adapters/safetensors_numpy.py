"""A plain reader of a native store: lmdb, `safetensors.numpy.load`, NumPy's repeat."""

from collections.abc import Sequence
from typing import Any

from benchmarks.adapters.protocol import NATIVE, Arrays, NativeStore, Pixels, Reader, Sources
from benchmarks.tree import S2_BANDS


class SafetensorsNumpy(NativeStore, Reader):
    """What one writes in an afternoon without torch."""

    name = "safetensors.numpy.load, repeat"
    note = "into the reused buffer"
    needs = ("lmdb", "safetensors")
    stored = NATIVE

    def __init__(self) -> None:
        super().__init__()
        self.lmdb: Any = None
        self.load: Any = None

    def prepare(self, sources: Sources) -> None:
        """Open the native store as any LMDB client does."""
        import lmdb
        from safetensors.numpy import load

        super().prepare(sources)
        self.lmdb = lmdb.open(str(self.path), readonly=True, lock=False)
        self.load = load

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        """Repeat every band straight into the buffer."""
        with self.lmdb.begin(buffers=True) as transaction:
            for slot, key in enumerate(keys):
                bands = self.load(bytes(transaction.get(key.encode())))
                for index, name in enumerate(S2_BANDS):
                    times = out.shape[-1] // bands[name].shape[-1]
                    out[slot, index] = bands[name].repeat(times, 0).repeat(times, 1)
        return out
