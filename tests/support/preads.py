"""What a process reads by `preadv`, and what it announces to the kernel before."""

import os
from collections.abc import Iterable
from typing import Any

import pytest


class Requests:
    """Every preadv of the process, passed on: (bytes, offset)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: int = 1 << 40) -> None:
        self.made: list[tuple[int, int]] = []
        self.announced: list[tuple[int, int]] = []
        self._limit = limit
        self._preadv, self._fadvise = os.preadv, os.posix_fadvise
        monkeypatch.setattr(os, "preadv", self._read)
        monkeypatch.setattr(os, "posix_fadvise", self._announce)

    @property
    def nbytes(self) -> int:
        return sum(nbytes for nbytes, _ in self.made)

    def _read(self, descriptor: int, buffers: Iterable[Any], offset: int) -> int:
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        wanted = sum(map(len, views))
        left = min(wanted, self._limit)
        short = []
        for view in views:
            short.append(view[:left])
            left -= len(short[-1])
        got = self._preadv(descriptor, short, offset)
        self.made.append((got, offset))
        return got

    def _announce(self, descriptor: int, offset: int, length: int, advice: int) -> None:
        if advice == os.POSIX_FADV_WILLNEED:
            self.announced.append((length, offset))
        self._fadvise(descriptor, offset, length, advice)
