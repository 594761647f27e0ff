"""Values to a data file by LMDB itself, with commits that the values alone decide.

So all bytes of the file follow from the values: it does not matter how many workers there are, when
they finish, or where a conversion was interrupted.
"""

import ctypes
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from patchpress.converter.encoding.frame import PAGE_BYTES
from patchpress.readers.access.files import open_file
from patchpress.readers.errors import StoreError, TargetError
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import DATA

LMDB_09: dict[str, Any] = {"lib_version": 0} if int(lmdb.__version__.split(".")[0]) >= 3 else {}
"""The options of `lmdb.open` that ask for LMDB 0.9, whose data format stores have: py-lmdb 3 has
LMDB 1.0, too, and earlier versions have 0.9 only."""
# Bytes of one transaction. LMDB keeps its pages in memory until the commit: so few stay in the
# caches of the CPU.
COMMIT_BYTES = 4 << 20
FIRST_MAP = 64 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


class Mark(NamedTuple):
    """How far a data file is written."""

    written: int = 0
    """Bytes of the values, each counted in whole pages; without LMDB, the length of the file."""
    transaction: int = 0
    """Number of LMDB's last transaction; 0 for a file in pages that LMDB has not changed yet."""
    map_size: int = 0
    """Size of the memory map that LMDB was opened with; 0 if it was not."""
    removed: tuple[str, ...] = ()
    """Keys of the records that this transaction took out."""


def map_size(begin: int, nbytes: int) -> int:
    """A size of the memory map for a file of `nbytes`, not below `begin`.

    It has room for as much again and a few commits: a map that is full costs the transaction. It is
    never 100 TB, as others choose it, because machines with a limited address space refuse that.
    """
    size = max(begin, FIRST_MAP)
    while size < 2 * nbytes + 4 * COMMIT_BYTES:
        size *= 2
    return size


def require_lmdb_09() -> None:
    """Make sure that py-lmdb here can write and read the data format of LMDB 0.9.

    Every LMDB client reads that format, and only it is read by all of them. py-lmdb has the engine
    that writes it unless somebody built it on LMDB 1.0 of the system alone.

    Raises:
        TargetError: it has no such engine.
    """
    try:
        version = lmdb.version(**LMDB_09)
    except lmdb.Error:
        version = ()
    if version[:1] != (0,):
        raise TargetError(
            f"the Python package lmdb {lmdb.__version__} is built without LMDB 0.9, whose format "
            "stores have: install it from PyPI, as `pip install --force-reinstall lmdb` does"
        )


class Transactions:
    """A data file that is open in LMDB, with a transaction under way.

    Raises OSError and lmdb.Error as LMDB does.
    """

    def __init__(self, folder: Path, mark: Mark, note: Callable[[Mark], None]) -> None:
        """Open the data file of a folder, or make it; `mark` says how far it is.

        `note` is called just before each commit with how far the file is after it.

        Raises:
            TargetError: the file that is there is damaged.
        """
        self._folder, self._note = folder, note
        self._written = mark.written
        self._map = map_size(mark.map_size, mark.written) if mark.written else FIRST_MAP
        self._pending = 0
        require_lmdb_09()
        _keep_freed_memory()
        _require_sound_tree(folder / DATA)
        self._open()

    def put(self, key: bytes, value: memoryview, *, last: bool) -> bool:
        """Store a value if its key is not there; returns whether it was stored.

        `last` says that the key is higher than all others.
        """
        if self._written + self._pending + 2 * len(value) + COMMIT_BYTES > self._map:
            self.commit(coming=len(value))
        return bool(self._transaction.put(key, value, overwrite=False, append=last))

    def count(self, nbytes: int) -> None:
        """Count the bytes of a value that was stored, and commit if they are enough."""
        self._pending += (nbytes // PAGE_BYTES + 1) * PAGE_BYTES
        if self._pending >= COMMIT_BYTES:
            self.commit()

    def remove(self, keys: Iterable[str]) -> list[str]:
        """Take values out, in a transaction of their own; returns the keys that were there."""
        self.commit()
        gone = [key for key in keys if self._transaction.delete(key.encode())]
        self.commit(removed=gone)
        return gone

    def commit(self, coming: int = 0, removed: Sequence[str] = ()) -> None:
        """Write what is pending; make room for as much again and a value of `coming` bytes."""
        self._written += self._pending
        self._map = map_size(self._map, self._written + coming)
        changed = bool(self._pending or removed)
        if changed:
            number = self._transaction.id()
            self._note(
                Mark(
                    written=self._written,
                    transaction=number,
                    map_size=self._map,
                    removed=tuple(removed),
                )
            )
        self._pending = 0
        if changed:
            self._transaction.commit()
        else:
            self._transaction.abort()
        # What LMDB remembers of free pages decides where later values go. A conversion that goes on
        # after an interruption remembers nothing, so nobody may: open the file anew.
        self._environment.close()
        self._open()

    def sync(self) -> None:
        """Commit what is left and flush all of it to the disk."""
        self.commit()
        self._environment.sync(True)

    def close(self) -> None:
        """Close the file; what is pending is lost."""
        self._transaction.abort()
        self._environment.close()

    def _open(self) -> None:
        _refuse_link(self._folder / DATA)
        # Commits do not wait for the disk: the file counts only after `sync`, when there is a
        # manifest. There is no lock file: the folder is locked for this process.
        self._environment = lmdb.open(
            # By its folder, not its name: LMDB notes in the file which of the two it was.
            str(self._folder),
            map_size=self._map,
            sync=False,
            metasync=False,
            lock=False,
            **LMDB_09,
        )
        self._transaction: Any = self._environment.begin(write=True)


def _require_sound_tree(data: Path) -> None:
    """Make sure that LMDB finds its way in a data file, if there is one.

    LMDB trusts the pages of a file, and ends the process if one leads nowhere.

    Raises:
        TargetError: it is damaged.
    """
    if not data.exists() or not data.stat().st_size:
        return
    try:
        Tree(open_file(data).pages, data).check_pages(with_values=False)
    except StoreError as error:
        raise TargetError(f"{error}, or give --overwrite to begin anew") from None


def _refuse_link(path: Path) -> None:
    """LMDB would write what a link points to.

    Raises:
        OSError: it is one.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _keep_freed_memory() -> None:
    """Let glibc keep the memory that LMDB frees at each commit.

    LMDB allocates the pages of every value and frees them when they are written. glibc would give
    them back to the kernel, and each commit would have to get them anew, page by page, which costs
    several times the write itself. Other C libraries have no `mallopt`, and go without.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the largest that glibc takes
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)
