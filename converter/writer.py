"""Records to one LMDB environment, in a fixed order, with commits at fixed places.

The places depend on the records alone, and so do all bytes of data.mdb: not on the number of
workers, nor on when they finished.
"""

import ctypes
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lmdb

from converter.target import writing
from readers.errors import PatchError
from readers.manifest import DATA
from readers.scan import Headers

COMMIT_BYTES = 4 << 20  # dirty pages wait in memory until then: few enough to stay in the caches
FIRST_MAP = 64 << 20
PAGE = 4096
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


class ShardWriter:
    """Writes records in ascending order of their keys, so that each page is written once.

    Raises `TargetError` where the folder cannot be written or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = 0
        self.headers = Headers()
        self._map = FIRST_MAP
        self._written = 0
        self._pending = 0
        _keep_freed_memory()
        with writing(folder / DATA):
            # No sync a commit: nothing counts before the manifest, and `finish` syncs before it.
            self._environment = lmdb.open(
                str(folder), map_size=self._map, sync=False, metasync=False, **_plain_format()
            )
            self._transaction: Any = self._environment.begin(write=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._transaction.abort()
        self._environment.close()

    def put(self, key: str, record: memoryview) -> None:
        """Store one record.

        Raises:
            PatchError: the key is there already.
            TargetError: the disk is full.
        """
        if self._written + self._pending + 2 * len(record) + COMMIT_BYTES > self._map:
            self._commit(len(record))
        with writing(self.folder / DATA):
            stored = self._transaction.put(key.encode(), record, overwrite=False, append=True)
        if not stored:
            raise PatchError(f"the patch {key} is there twice; remove one of the two")
        self.records += 1
        self.headers.note(record)
        self._pending += (len(record) // PAGE + 1) * PAGE
        if self._pending >= COMMIT_BYTES:
            self._commit()

    def finish(self) -> None:
        """Commit what is left and flush all of it to the disk."""
        self._commit()
        with writing(self.folder / DATA):
            self._environment.sync(True)

    def _commit(self, coming: int = 0) -> None:
        """Write what is pending, and make room for as much again and a record of `coming` bytes."""
        with writing(self.folder / DATA):
            self._transaction.commit()
            self._written += self._pending
            self._pending = 0
            # Ahead of need, as a full map would cost the transaction. Never a map of 100 TB:
            # machines with a limited address space refuse it.
            while self._map < 2 * (self._written + coming) + 4 * COMMIT_BYTES:
                self._map *= 2
            self._environment.set_mapsize(self._map)
            self._transaction = self._environment.begin(write=True)


def _keep_freed_memory() -> None:
    """Let glibc keep what LMDB frees at each commit.

    LMDB allocates the pages of every value and frees them when they are written. glibc would give
    them back to the kernel, and each commit would fault them in anew, which costs several times the
    write itself. Other C libraries have no `mallopt`, and go without.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the largest that glibc takes
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)


def _plain_format() -> dict[str, Any]:
    """The option that keeps to the file format of LMDB 0.9, which every client reads."""
    version = int(lmdb.__version__.split(".")[0])
    return {"lib_version": 0} if version >= 3 else {}
