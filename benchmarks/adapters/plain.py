"""Plain reads of files, for a cold disk: `preadv` of the flat file, `get` of an LMDB."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.adapters.protocol import (
    STACKED,
    Arrays,
    FlatFile,
    Pixels,
    Reader,
    Sources,
    StackedStore,
)


class Preadv(FlatFile, Reader):
    """One `os.preadv` a patch from the flat file into the reused buffer."""

    name = "preadv, flat file"
    note = "the reference: the same bytes, one call a patch, no names and no checks"

    def __init__(self) -> None:
        super().__init__()
        self.descriptor = -1
        self.offset: dict[str, int] = {}

    def prepare(self, sources: Sources) -> None:
        """Open the file; the rows begin where its header ends."""
        super().prepare(sources)
        header = self.path.stat().st_size - len(sources.keys) * STACKED
        self.offset = {key: header + row * STACKED for key, row in self.row.items()}
        self.descriptor = os.open(self.path, os.O_RDONLY)

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        """Read patch by patch."""
        for key, array in zip(keys, out, strict=True):
            done = os.preadv(self.descriptor, [memoryview(array)], self.offset[key])
            assert done == STACKED, f"{done} bytes of {key}"
        return out


class PreadvAnnounced(Preadv):
    """The same after a batch was announced to the kernel, which then reads several at a time."""

    name = "preadv, flat file, announced"
    note = "POSIX_FADV_WILLNEED for the batch first: what a careful reader of a flat file does"

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        """Announce all, then read patch by patch."""
        for key in keys:
            os.posix_fadvise(self.descriptor, self.offset[key], STACKED, os.POSIX_FADV_WILLNEED)
        return super().read(keys, out)


class LmdbGet(StackedStore, Reader):
    """`get` of each record of the stacked store, its pixels copied into the reused buffer."""

    needs = ("lmdb",)
    note = "get, frombuffer, copy: a stacked store as any LMDB client reads it"

    def __init__(self, *, readahead: bool) -> None:
        super().__init__()
        self.readahead = readahead
        self.name = f"LMDB get, readahead {'on' if readahead else 'off'}"
        self.lmdb: Any = None

    def prepare(self, sources: Sources) -> None:
        """Open the store."""
        import lmdb

        super().prepare(sources)
        self.lmdb = lmdb.open(str(self.path), readonly=True, lock=False, readahead=self.readahead)

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        """Skip the safetensors header by its length; the one tensor is all that follows."""
        with self.lmdb.begin(buffers=True) as transaction:
            for key, array in zip(keys, out, strict=True):
                record = transaction.get(key.encode())
                pixels = np.frombuffer(record, np.uint16, offset=len(record) - STACKED)
                array.reshape(-1)[:] = pixels
        return out
