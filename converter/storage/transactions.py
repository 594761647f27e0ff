"""Values to an LMDB environment by LMDB itself, with commits at places that only they decide.

All bytes of the file depend on the values alone: not on the number of workers, nor on when they
finished, nor on where a conversion was interrupted.
"""

import ctypes
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import lmdb

from patchpress.converter.encoding.frame import PAGE_BYTES
from patchpress.readers.access.environment import LMDB_09

COMMIT_BYTES = 4 << 20  # dirty pages wait in memory until then: few enough to stay in the caches
FIRST_MAP = 64 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def map_size(begin: int, nbytes: int) -> int:
    """A size of the map that has room for what is there, as much again, and a few commits.

    Ahead of need, as a full map would cost the transaction. Never 100 TB: machines with a limited
    address space refuse that.
    """
    size = max(begin, FIRST_MAP)
    while size < 2 * nbytes + 4 * COMMIT_BYTES:
        size *= 2
    return size


class Transactions:
    """An environment with a transaction under way.

    `note` is called ahead of each commit with the size of the map, the bytes written with it, and
    the keys that it takes out. Raises OSError and lmdb.Error as LMDB does.
    """

    def __init__(
        self, folder: Path, size: int, written: int, note: Callable[[int, int, list[str]], None]
    ) -> None:
        self._folder, self._note = folder, note
        self._written, self._map = written, map_size(size, written) if written else FIRST_MAP
        self._pending = 0
        _keep_freed_memory()
        self._open()

    def put(self, key: bytes, value: memoryview, *, last: bool) -> bool:
        """Store a value if its key is not there; gives whether it was not.

        `last` says that no key is behind it.
        """
        if self._written + self._pending + 2 * len(value) + COMMIT_BYTES > self._map:
            self.commit(coming=len(value))
        return bool(self._transaction.put(key, value, overwrite=False, append=last))

    def stored(self, nbytes: int) -> None:
        """Count a value that was put, and commit where it is time."""
        self._pending += (nbytes // PAGE_BYTES + 1) * PAGE_BYTES
        if self._pending >= COMMIT_BYTES:
            self.commit()

    def remove(self, keys: Iterable[str]) -> list[str]:
        """Take values out, in a commit of their own; gives the keys that were there."""
        self.commit()
        gone = [key for key in keys if self._transaction.delete(key.encode())]
        self.commit(removed=gone)
        return gone

    def commit(self, coming: int = 0, removed: Sequence[str] = ()) -> None:
        """Write what is pending, and make room for as much again and a value of `coming` bytes."""
        self._written += self._pending
        self._map = map_size(self._map, self._written + coming)
        changed = bool(self._pending or removed)
        if changed:
            self._note(self._map, self._written, list(removed))
        self._pending = 0
        if changed:
            self._transaction.commit()
        else:
            self._transaction.abort()
        # What LMDB keeps in memory of its free pages, and the memory it uses again, decide bytes of
        # what follows. Opened anew it knows what one knows that goes on later.
        self._environment.close()
        self._open()

    def sync(self) -> None:
        """Commit what is left and flush all of it to the disk."""
        self.commit()
        self._environment.sync(True)

    def close(self) -> None:
        """Close it; what is pending is lost."""
        self._transaction.abort()
        self._environment.close()

    def _open(self) -> None:
        # No sync a commit: nothing counts before the manifest, and `sync` comes before it. No lock:
        # the folder is ours alone.
        self._environment = lmdb.open(
            str(self._folder),
            map_size=self._map,
            sync=False,
            metasync=False,
            lock=False,
            **LMDB_09,
        )
        self._transaction: Any = self._environment.begin(write=True)


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
