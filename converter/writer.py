"""Records to one LMDB environment, with commits at fixed places, each behind a line of a journal.

The places depend on the records alone, and so do all bytes of data.mdb: not on the number of
workers, nor on when they finished, nor on where a conversion was interrupted.
"""

import ctypes
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lmdb

from converter.encode import Encoded
from converter.journal import Journal, in_key_order
from converter.sources import Patch
from converter.target import writing
from readers.errors import PatchError
from readers.manifest import DATA, ContentDigest
from readers.scan import Headers

COMMIT_BYTES = 4 << 20  # dirty pages wait in memory until then: few enough to stay in the caches
FIRST_MAP = 64 << 20
PAGE = 4096
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


class ShardWriter:
    """Writes records, best in ascending order of their keys: then each page is written once.

    It goes on behind the last line of the journal. `headers`, `digest` and `records` tell of all
    records, in the order of the keys when `finish` is done.

    Raises `TargetError` where the folder cannot be written or the disk is full.
    """

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.folder, self.journal = folder, journal
        self.records = 0
        self.headers = Headers()
        self._digest = ContentDigest()
        self._ascending, self._last = True, b""
        self._removed: set[str] = set()
        self._map = FIRST_MAP
        self._written = 0
        self._pending = 0
        for line in journal.lines():
            self._map, self._written = line.map_size, line.written
            self.headers.repeat(line.headers, ())
            for _, key, result, form in line.entries:
                if isinstance(result, Encoded):
                    self.headers.repeat((), (form,))
                    self._count(key, result)
            self._removed.update(line.removed)
        self._headers_told = len(self.headers.forms)
        _keep_freed_memory()
        with writing(folder / DATA):
            self._open()

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

    @property
    def digest(self) -> str:
        """The digest over keys and checksums."""
        return self._digest.text()

    def put(
        self, patch: Patch, result: Encoded | PatchError, record: memoryview
    ) -> Encoded | PatchError:
        """Store a patch's record, or note that it has none; gives what became of it.

        That is the error of the patch where there is one, or a new one where its key is there
        already.

        Raises:
            TargetError: the disk is full.
        """
        if not isinstance(result, PatchError):
            if self._store(patch, result, record):
                return result
            result = PatchError(f"the patch {patch.key} is there twice; remove one of the two")
        self.journal.note_failed(patch, result)
        return result

    def remove(self, keys: Iterable[str]) -> None:
        """Take records out again, behind all others; those that are gone already are passed over.

        Raises:
            TargetError: the disk is full.
        """
        self._commit()
        wanted = sorted(set(keys) - self._removed)
        with writing(self.folder / DATA):
            gone = [key for key in wanted if self._transaction.delete(key.encode())]
        self._removed.update(gone)
        self._commit(removed=gone)

    def finish(self) -> None:
        """Commit what is left and flush all of it to the disk."""
        self._commit()
        if not self._ascending or self._removed:
            self._sort()
        with writing(self.folder / DATA):
            self._environment.sync(True)

    def _store(self, patch: Patch, encoded: Encoded, record: memoryview) -> bool:
        """Store a record if its key is not there; gives whether it was."""
        if self._written + self._pending + 2 * len(record) + COMMIT_BYTES > self._map:
            self._commit(len(record))
        key = patch.key.encode()
        with writing(self.folder / DATA):
            if not self._transaction.put(key, record, overwrite=False, append=key > self._last):
                return False
        self._count(patch.key, encoded)
        self.journal.note(patch, encoded, self.headers.note(record))
        self._pending += (len(record) // PAGE + 1) * PAGE
        if self._pending >= COMMIT_BYTES:
            self._commit()
        return True

    def _count(self, key: str, encoded: Encoded) -> None:
        name = key.encode()
        self.records += 1
        self._ascending &= name > self._last
        if self._ascending:
            self._digest.add(key, encoded.checksum)
        self._last = max(self._last, name)

    def _sort(self) -> None:
        """Make of headers and digest what they are for the records that stay, in key order."""
        ordered = in_key_order(self.journal)
        self.records = len(ordered.keys)
        self.headers = Headers(self.headers.forms, ordered.forms)
        self._digest = ContentDigest()
        for key, checksum in zip(ordered.keys.tolist(), ordered.checksums.tolist(), strict=True):
            self._digest.add(key.decode(), checksum)

    def _commit(self, coming: int = 0, removed: Iterable[str] = ()) -> None:
        """Write what is pending, and make room for as much again and a record of `coming` bytes."""
        self._written += self._pending
        # Ahead of need, as a full map would cost the transaction. Never a map of 100 TB: machines
        # with a limited address space refuse it.
        while self._map < 2 * (self._written + coming) + 4 * COMMIT_BYTES:
            self._map *= 2
        changed = bool(self._pending or removed)
        if changed:
            told, self._headers_told = self._headers_told, len(self.headers.forms)
            forms = self.headers.forms[told:]
            self.journal.append(self._map, self._written, forms, list(removed))
        self._pending = 0
        with writing(self.folder / DATA):
            if changed:
                self._transaction.commit()
            else:
                self._transaction.abort()
            # What LMDB keeps in memory of its free pages, and the memory it uses again, decide
            # bytes of what follows. Opened anew it knows what one knows that goes on later.
            self._environment.close()
            self._open()

    def _open(self) -> None:
        # No sync a commit: nothing counts before the manifest, and `finish` syncs before it. No
        # lock: the folder is ours alone.
        self._environment = lmdb.open(
            str(self.folder),
            map_size=self._map,
            sync=False,
            metasync=False,
            lock=False,
            **_plain_format(),
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


def _plain_format() -> dict[str, Any]:
    """The option that keeps to the file format of LMDB 0.9, which every client reads."""
    version = int(lmdb.__version__.split(".")[0])
    return {"lib_version": 0} if version >= 3 else {}
