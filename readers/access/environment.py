"""LMDB as readers use it: one environment a file and process, never closed, no lock file."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb

from patchpress.readers.access.files import open_file
from patchpress.readers.errors import (
    NO_DESCRIPTORS,
    FormatUnknown,
    StoreDamaged,
    StoreError,
    StoreMissing,
    StoreUnreadable,
    cannot_read,
)
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import DATA

_log = logging.getLogger(__name__)

KEY_LIMIT = 511  # bytes, of LMDB as it is built
LMDB_09: dict[str, Any] = {"lib_version": 0} if int(lmdb.__version__.split(".")[0]) >= 3 else {}
"""The options of `lmdb.open` that ask for LMDB 0.9, whose data format stores have: py-lmdb 3 has
LMDB 1.0, too, and earlier versions have 0.9 only."""

# py-lmdb allows one open environment a file and process, so stores of one path share it. Readers
# never close it: an inherited or shared mapping stays valid until the process ends.
_environments: dict[tuple[int, int], Any] = {}
_lent: set[tuple[int, int]] = set()  # those that only `lent_environment` has, and will close
_environments_lock = threading.Lock()


def open_environment(folder: Path, *, readahead: bool = False) -> Any:
    """The process's LMDB environment of a store's folder; shared, so never to be closed.

    Raises:
        StoreMissing: the data file is gone.
        StoreUnreadable: another library has the file open in this process, there are no file
            descriptors left, or the installed LMDB does not read the format of stores.
        FormatUnknown: the data file has the format of another LMDB.
        StoreDamaged: LMDB refuses it for another reason.
    """
    with _environments_lock:
        identity = _identity(folder)
        if identity not in _environments:
            _environments[identity] = _open(folder, readahead)
        _lent.discard(identity)
        return _environments[identity]


@contextmanager
def lent_environment(folder: Path) -> Iterator[Any]:
    """The environment of a folder for a while: closed again unless readers of the process have it.

    Raises:
        StoreMissing, StoreUnreadable, FormatUnknown, StoreDamaged: as `open_environment`; what LMDB
            raises meanwhile is StoreDamaged, too.
    """
    with _environments_lock:
        identity = _identity(folder)
        if identity not in _environments:
            _environments[identity] = _open(folder, readahead=True)
            _lent.add(identity)
        environment = _environments[identity]
    try:
        yield environment
    except lmdb.Error as error:
        raise damaged(folder, error) from None
    finally:
        with _environments_lock:
            if identity in _lent:
                _lent.remove(identity)
                _environments.pop(identity).close()


def _identity(folder: Path) -> tuple[int, int]:
    """Which file the data file of a folder is.

    Raises:
        StoreMissing: it is gone.
    """
    try:
        status = (folder / DATA).stat()
    except FileNotFoundError:
        raise StoreMissing(f"there is no {DATA} in {folder}: the store was moved") from None
    return status.st_dev, status.st_ino


def _open(folder: Path, readahead: bool) -> Any:
    # Without `readahead` the kernel does not fetch megabytes around every record.
    try:
        environment = lmdb.open(
            str(folder),
            readonly=True,
            lock=False,
            readahead=readahead,
            max_spare_txns=64,
            **LMDB_09,
        )
    except lmdb.Error as error:
        raise _refusal(folder, error) from None
    _log.debug("%s: an LMDB environment was opened, by py-lmdb %s", folder, lmdb.__version__)
    return environment


def _refusal(folder: Path, error: lmdb.Error) -> StoreError:
    """What it means that LMDB does not open a data file."""
    data, text = folder / DATA, str(error)
    without_lmdb = f"`patchpress index {folder}`, after which the store is read without LMDB"
    if "already open in this process" in text:
        return StoreUnreadable(
            f"{data} is open in this process already, or was when the process was forked, by "
            f"another library: close it there, or run {without_lmdb}"
        )
    for number in NO_DESCRIPTORS:
        if os.strerror(number) in text:
            return cannot_read(data, OSError(number, os.strerror(number)))
    try:
        file = open_file(data)
        if not file.size or not Tree(file.bytes, data).is_whole:
            return damaged(folder, error)
    except FormatUnknown as reason:
        return reason
    except StoreError:
        return damaged(folder, error)
    if isinstance(error, lmdb.InvalidError) or "no LMDB" in text:
        return StoreUnreadable(
            f"{data} has the format of LMDB 0.9, which the LMDB {_version()} of this py-lmdb does "
            f"not read: install one from its wheels (`pip install --force-reinstall --only-binary "
            f":all: lmdb`), or run {without_lmdb}"
        )
    return StoreUnreadable(f"LMDB does not open {data} ({error}): run {without_lmdb}")


def _version() -> str:
    return ".".join(str(number) for number in lmdb.version())


def damaged(folder: Path, error: lmdb.Error) -> StoreDamaged:
    """The error for a data file in which LMDB does not find its way."""
    return StoreDamaged(f"{folder / DATA} is damaged ({error}): copy or convert the store again")


class Environment:
    """The values of one LMDB environment by key; each thread keeps one transaction open.

    A transaction that stays open sees the data as they were when it began. That does no harm, since
    a finished store never changes.
    """

    def __init__(self, folder: Path, *, readahead: bool = False) -> None:
        self._folder, self._readahead = folder, readahead
        self._thread = threading.local()

    def value(self, key: str) -> memoryview | None:
        """The stored bytes of a key, on the mapped file, or None if there are none.

        Raises:
            StoreMissing, StoreUnreadable, FormatUnknown: as `open_environment`.
            StoreDamaged: LMDB does not find its way in the data file.
        """
        try:
            found: memoryview | None = self._transaction().get(key.encode()) if key else None
        except (AttributeError, UnicodeEncodeError):
            return None  # no text, or none that could be stored
        except lmdb.Error as error:
            raise damaged(self._folder, error) from None
        return found

    def has(self, key: str) -> bool:
        """Whether there is such a key; its value is not read.

        Raises:
            StoreMissing, StoreUnreadable, FormatUnknown, StoreDamaged: as `value`.
        """
        try:
            return bool(key) and bool(self._transaction().cursor().set_key(key.encode()))
        except UnicodeEncodeError:
            return False
        except lmdb.Error as error:
            raise damaged(self._folder, error) from None

    def near(self, key: str, count: int) -> list[str]:
        """The keys next to one that is not there: `count` after it and `count` before it."""
        cursor = self._transaction().cursor()
        name = key.encode(errors="replace")[:KEY_LIMIT]
        found: list[bytes] = []
        if name and cursor.set_range(name):
            found += islice(cursor.iternext(values=False), count)
            cursor.set_range(name)
        else:
            cursor.last()
        found += islice(cursor.iterprev(values=False), count)
        return [bytes(one).decode(errors="replace") for one in found]

    def _transaction(self) -> Any:
        """This thread's read transaction."""
        try:
            return self._thread.transaction
        except AttributeError:
            environment = open_environment(self._folder, readahead=self._readahead)
            self._thread.transaction = environment.begin(buffers=True)
            return self._thread.transaction
