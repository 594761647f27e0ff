"""Records to one data file: in pages as long as that is possible, then by LMDB.

Records that come in the order of their keys and are large enough (from folders, and from archives
as published) are written in pages, without LMDB. The first key out of order ends
that: the tree is closed, LMDB reads the file back, and goes on with it. After everything that is
stored there is a line in the journal, so that an interrupted conversion goes on from there.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM
from patchpress.converter.sources.patch import Patch
from patchpress.converter.storage.copying import copy_by_lmdb
from patchpress.converter.storage.directfile import Callback
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.journal import Journal, Line, sorted_records
from patchpress.converter.storage.ownership import ASIDE
from patchpress.converter.storage.pagedfile import PagedFile
from patchpress.converter.storage.pages import Pages, is_closed
from patchpress.converter.storage.readback import ReadBackSample, refusal
from patchpress.converter.storage.transactions import Mark, Transactions
from patchpress.readers.access.scan import HeaderList
from patchpress.readers.errors import PatchError
from patchpress.readers.format.manifest import DATA, ContentDigest

_log = logging.getLogger(__name__)


def _twice(patch: Patch) -> PatchError:
    return PatchError(f"the patch {patch.key} is there twice: remove one of the two")


class ShardWriter:
    """Writes the records of one data file; it goes on after the last line of the journal.

    When `finish` has returned, `headers`, `digest` and `records` tell of all records that are
    stored, in the order of their keys. A record is given in its frame (see `encoding.frame`).

    Every method raises `TargetError` if the folder cannot be written or the disk is full.
    """

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        *,
        paged: bool = False,
        twice: Callable[[Patch], PatchError] = _twice,
    ) -> None:
        """Open the file, or make it. A file that is there goes on as its journal says.

        Args:
            folder: of the store.
            journal: what is stored already.
            paged: let a new file be written in pages: no record may have fewer than
                `frame.SMALLEST` bytes.
            twice: makes the error of a patch whose key is there already.
        """
        self.folder, self.journal, self._twice = folder, journal, twice
        self.records = 0
        self.headers = HeaderList()
        self._data = folder / DATA
        self._digest = ContentDigest()
        self._ascending, self._last_key = True, b""
        self._turned = False  # from pages to LMDB, for a key that came out of order
        self._removed: set[str] = set()
        self._pages, self._sample = Pages(), ReadBackSample()
        last = self._repeat()
        self._written = self._pages.end
        self._headers_told = len(self.headers.known)
        self._paged: PagedFile | None = None
        self._lmdb: Transactions | None = None
        with writing(self._data):
            if not (last.paged if last else paged):
                self._lmdb = self._opened(last.mark if last else Mark())
            elif is_closed(self._data):
                self._lmdb = self._opened(self._read_back())
            else:
                self._paged = PagedFile(self._data, self._pages)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for medium in (self._paged, self._lmdb):
            if medium is not None:
                medium.close()

    @property
    def digest(self) -> str:
        """The digest over keys and checksums."""
        return self._digest.text()

    @property
    def in_key_order(self) -> bool:
        """Whether the file depends on its records alone: their keys came in order, and all stay.

        A patch that is there twice may come out of order, though its record is not stored again.
        """
        return self._ascending and not self._removed and not self._turned

    def put(
        self, patch: Patch, result: Encoded | PatchError, frame: memoryview
    ) -> Encoded | PatchError:
        """Store a patch's record, or note that it has none; returns what became of it.

        That is the error of the patch if it has one, or a new error if its key is there already.
        """
        if not isinstance(result, PatchError):
            if self._store(patch, result, frame):
                return result
            result = self._twice(patch)
        self.journal.note_failed(patch, result)
        return result

    def flush(self, release: Callback | None = None) -> None:
        """Hand on what was put; `release` is called when the frames are no longer needed."""
        if self._paged is None:
            if release is not None:
                release()
            return
        noted, mark = self.journal.take_noted(), Mark(self._pages.end * PAGE_BYTES)
        append = partial(self.journal.append, mark, self._new_headers(), noted)
        with writing(self._data):
            self._paged.flush(append if noted else None, release)

    def remove(self, keys: Iterable[str]) -> None:
        """Take records out again, after all others are stored; keys that are gone are no error."""
        wanted = sorted(set(keys) - self._removed)
        with writing(self._data):
            self._removed.update(self._turn_to_lmdb().remove(wanted))

    def finish(self) -> None:
        """Write the rest and flush it to the disk; let LMDB read back what was written in pages."""
        with writing(self._data):
            if self._lmdb is not None:
                self._lmdb.sync()
            else:
                self._close_tree()
                self._read_back()
        if not self._ascending or self._removed:
            self._sort()

    def _repeat(self) -> Line | None:
        """Take over what the journal tells; returns its last line."""
        last, were_paged = None, False
        for last in self.journal.lines():
            were_paged |= last.paged
            self._turned = were_paged and not last.paged
            self.headers.add_headers(last.headers)
            for entry in last.entries:
                if isinstance(entry.result, Encoded):
                    key = entry.key.encode()
                    self.headers.add_numbers((entry.header_number,))
                    if last.paged:
                        self._pages.add(key, entry.result.length)
                        self._sample.add(key, entry.result)
                    self._count(key, entry.result)
            self._removed.update(last.mark.removed)
        return last

    def _store(self, patch: Patch, encoded: Encoded, frame: memoryview) -> bool:
        """Store a record if its key is not there; returns whether it was stored."""
        key, record = patch.key.encode(), frame[ROOM : ROOM + encoded.length]
        if self._paged is not None and key > self._last_key:
            self._paged.put(key, encoded.length, frame)
            self._sample.add(key, encoded)
            self._note(patch, key, encoded, record)
            return True
        if self._paged is not None and key == self._last_key:
            return False
        with writing(self._data):
            if self._paged is not None:
                _log.info("%s comes after %s: LMDB goes on", patch.key, self._last_key.decode())
                self._turned = True
            transactions = self._turn_to_lmdb()
            if not transactions.put(key, record, last=key > self._last_key):
                return False
            self._note(patch, key, encoded, record)
            transactions.count(len(record))
        return True

    def _note(self, patch: Patch, key: bytes, encoded: Encoded, record: memoryview) -> None:
        self._count(key, encoded)
        self.journal.note(patch, encoded, self.headers.add(record))

    def _count(self, key: bytes, encoded: Encoded) -> None:
        self.records += 1
        self._ascending &= key > self._last_key
        if self._ascending:
            self._digest.add(key.decode(), encoded.checksum)
        self._last_key = max(self._last_key, key)

    def _sort(self) -> None:
        """Make headers and digest anew, of the records that are stored, in the order of keys."""
        records = sorted_records(self.journal)
        self.records = len(records.keys)
        self.headers = HeaderList(self.headers.known, records.header_numbers)
        self._digest = ContentDigest()
        for key, checksum in zip(records.keys.tolist(), records.checksums.tolist(), strict=True):
            self._digest.add(key.decode(), checksum)

    def _turn_to_lmdb(self) -> Transactions:
        """The file, open in LMDB; if it was written in pages so far, its tree is closed first."""
        if self._lmdb is None:
            self._close_tree()
            self._lmdb = self._opened(self._read_back())
        return self._lmdb

    def _opened(self, mark: Mark) -> Transactions:
        return Transactions(self.folder, mark, self._append)

    def _close_tree(self) -> None:
        """Make a whole data file of what was written in pages."""
        if self._paged is None:
            return
        self.flush()
        self._written = self._pages.end
        self._paged.close_tree()
        self._paged.close()
        self._paged = None

    def _read_back(self) -> Mark:
        """Let LMDB read the file in pages; if it does not, replace the file by a copy by LMDB.

        Returns how far the file is: an interrupted conversion goes on from there.
        """
        reason = refusal(self._data, self._sample)
        if not reason:
            return Mark(self._written * PAGE_BYTES)
        warnings.warn(
            f"LMDB does not read {self._data}, which was written in pages ({reason}): its records "
            "are written again, by LMDB",
            stacklevel=2,
        )
        # In this order: as long as the old file lies aside, the new one and its line do not count.
        aside = self.folder / ASIDE
        os.replace(self._data, aside)
        mark = copy_by_lmdb(aside, self.journal, self.folder)
        self._append(mark)
        aside.unlink()
        return mark

    def _append(self, mark: Mark) -> None:
        self.journal.append(mark, self._new_headers())

    def _new_headers(self) -> tuple[bytes, ...]:
        """The headers that no line of the journal has yet."""
        told, self._headers_told = self._headers_told, len(self.headers.known)
        return self.headers.known[told:]
