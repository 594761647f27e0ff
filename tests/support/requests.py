"""How many reads a piece of work asks the system for: what a disk that is cold makes slow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class OffsetReads:
    """The reads at an offset that there were inside of a block, in this process."""

    def __init__(self) -> None:
        self.offsets: list[int] = []

    def __len__(self) -> int:
        return len(self.offsets)


@contextmanager
def counted_reads() -> Iterator[OffsetReads]:
    """Count the reads at an offset in a block; data files are read in no other way."""
    counted, pread, preadv = OffsetReads(), os.pread, os.preadv

    def one(descriptor: int, nbytes: int, offset: int) -> bytes:
        counted.offsets.append(offset)
        return pread(descriptor, nbytes, offset)

    def many(descriptor: int, buffers: Any, offset: int) -> int:
        counted.offsets.append(offset)
        return preadv(descriptor, buffers, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", one)
        patch.setattr(os, "preadv", many)
        yield counted
