"""`Fetcher`: how stored bytes are got by key; with what its two classes share.

`TreeFetcher` looks into the trees of the data files, `ExtentsFetcher` goes by the extents.
"""

import threading
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.files import DataFile
from patchpress.readers.access.filling import Filling
from patchpress.readers.access.plan import Plan
from patchpress.readers.format.compression import Decompressor
from patchpress.readers.format.record import RECORD_LIMIT

Array = npt.NDArray[Any]
Handle = str | int
"""By what a fetcher gets a record: its position in the extents, or without them its key."""
Handles = Sequence[Handle] | npt.NDArray[np.int64]
ReadOne = Callable[[Filling, Handle, int], None]
"""Fills one patch of a batch, by its number there, or raises the error that says what is wrong with
its record."""


class Mode(StrEnum):
    """How records are read by extents."""

    AUTO = "auto"
    """`map` while the page cache has everything, `direct` as soon as the disk is needed."""
    MAP = "map"
    """Copied from the mapped file: fastest from the page cache, page by page from a disk."""
    DIRECT = "direct"
    """Announced to the kernel, then read with preadv: each record in one request."""


class Fetcher(Protocol):
    """One way to the stored bytes; safe in threads and after a fork."""

    def find(self, keys: Sequence[str]) -> list[Handle | None]:
        """The handle of each key, None if there is no such record."""
        ...

    def key(self, handle: Handle) -> str:
        """The key of a record."""
        ...

    def near(self, key: str, count: int) -> list[str]:
        """Keys next to one that is not there: `count` before it and `count` after it."""
        ...

    def header(self, handle: Handle) -> bytes | None:
        """The header that a record begins with, if it is known without reading the record."""
        ...

    def locate(self, handle: Handle) -> tuple[DataFile, int, int]:
        """(data file, offset, length) of a record; KeyError if there is none."""
        ...

    def value(self, handle: Handle) -> memoryview:
        """The bytes of a record as stored; valid until this thread asks again.

        Raises:
            KeyError: no such record.
        """
        ...

    def batch(self, filling: Filling, handles: Handles, read_one: ReadOne) -> None:
        """Fill a batch with records; the caller finishes it.

        A record that does not begin with the plan's header (it is compressed, of another size, of
        another modality, or damaged) is left to `read_one`.
        """
        ...

    def announce(self, plan: Plan, handles: Handles) -> None:
        """Tell the kernel that a batch will be read soon."""
        ...


class ThreadBuffers(threading.local):
    """Memory that each thread has for itself and uses again for every record."""

    def __init__(self, record_limit: int = RECORD_LIMIT) -> None:
        self.decompress = Decompressor(record_limit)
        self._scratch = bytearray()

    def scratch(self, nbytes: int) -> memoryview:
        """A buffer of so many bytes; what it held before is lost."""
        if len(self._scratch) < nbytes:
            self._scratch = bytearray(nbytes)
        return memoryview(self._scratch)[:nbytes]
