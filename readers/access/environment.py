"""LMDB as readers use it: one environment a file and process, never closed, no lock file."""

import threading
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb

from patchpress.readers.errors import StoreDamaged, StoreMissing

KEY_LIMIT = 511  # bytes, of LMDB as it is built

# LMDB allows one open environment a file and process, so stores of one path share it. Readers
# never close it: an inherited or shared mapping stays valid until the process ends.
_environments: dict[tuple[int, int], Any] = {}
_environments_lock = threading.Lock()


def open_environment(path: Path, *, readahead: bool = False) -> Any:
    """The process's LMDB environment of a store's folder; shared, so never to be closed.

    Raises:
        StoreMissing: the data file is gone.
        StoreDamaged: LMDB refuses it.
    """
    try:
        status = (path / "data.mdb").stat()
    except FileNotFoundError:
        raise StoreMissing(f"there is no data.mdb in {path}: the store was moved") from None
    identity = (status.st_dev, status.st_ino)
    with _environments_lock:
        if identity not in _environments:
            # Random access: readahead would fetch megabytes around every record.
            try:
                _environments[identity] = lmdb.open(
                    str(path), readonly=True, lock=False, readahead=readahead, max_spare_txns=64
                )
            except lmdb.Error as error:
                raise StoreDamaged(damage(path, error)) from None
        return _environments[identity]


def damage(path: Path, error: Exception) -> str:
    """The sentence about a data file that LMDB cannot make sense of."""
    return f"{path / 'data.mdb'} is damaged ({error}): copy or convert the store again"


class Environment:
    """The values of one LMDB environment by key; each thread keeps one transaction open.

    That is sound as a finished store never changes.
    """

    def __init__(self, path: Path, *, readahead: bool = False) -> None:
        self.path, self._readahead = path, readahead
        self._thread = threading.local()

    def value(self, key: str) -> memoryview | None:
        """The stored bytes of a key, on the mapped file, or None where there are none.

        Raises:
            StoreMissing, StoreDamaged: the data file is gone or damaged.
        """
        try:
            found: memoryview | None = self.transaction().get(key.encode()) if key else None
        except (AttributeError, UnicodeEncodeError):
            return None  # no text, or none that could be stored
        except lmdb.Error as error:
            raise StoreDamaged(damage(self.path, error)) from None
        return found

    def has(self, key: str) -> bool:
        """Whether there is such a key, without a look at its value.

        Raises:
            StoreMissing, StoreDamaged: as `value`.
        """
        try:
            return bool(key) and bool(self.transaction().cursor().set_key(key.encode()))
        except UnicodeEncodeError:
            return False
        except lmdb.Error as error:
            raise StoreDamaged(damage(self.path, error)) from None

    def near(self, key: str, count: int) -> list[str]:
        """The keys before and behind the place of a key that is not there, `count` each way."""
        cursor = self.transaction().cursor()
        name = key.encode(errors="replace")[:KEY_LIMIT]
        found: list[bytes] = []
        if name and cursor.set_range(name):
            found += islice(cursor.iternext(values=False), count)
            cursor.set_range(name)
            back = cursor.iterprev(values=False)
        else:
            cursor.last()
            back = cursor.iterprev(values=False)
        found += islice(back, count)
        return [bytes(one).decode(errors="replace") for one in found]

    def transaction(self) -> Any:
        """This thread's read transaction."""
        try:
            return self._thread.transaction
        except AttributeError:
            environment = open_environment(self.path, readahead=self._readahead)
            self._thread.transaction = environment.begin(buffers=True)
            return self._thread.transaction
