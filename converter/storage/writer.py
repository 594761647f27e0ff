"""Records to one LMDB data file: in pages of our own making while that can be, then by LMDB.

Keys that ascend and records that are large and not compressed (folders, and archives as published)
go straight to their places in the file, by a thread. The first key out of order ends that: the
tree is closed, and LMDB goes on with the file as its own. Behind all that is stored stands a line
of the journal, so that a conversion goes on where it was interrupted.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM
from patchpress.converter.sources.patch import Patch
from patchpress.converter.storage.directfile import PageFile
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.journal import Journal, Line, in_key_order
from patchpress.converter.storage.pages import Pages, aligned, is_closed, put_head
from patchpress.converter.storage.transactions import Transactions, map_size
from patchpress.readers.access.scan import HeaderList
from patchpress.readers.errors import PatchError
from patchpress.readers.format.manifest import DATA, ContentDigest


class ShardWriter:
    """Writes records; it goes on behind the last line of the journal.

    `headers`, `digest` and `records` tell of all records, in the order of the keys when `finish` is
    done. A record is given as a frame: whole pages that have `pages.ROOM` bytes before it.

    Raises `TargetError` where the folder cannot be written or the disk is full.
    """

    def __init__(self, folder: Path, journal: Journal, *, paged: bool = False) -> None:
        """Open it. `paged` says that no record will be compressed or under `pages.SMALLEST`."""
        self.folder, self.journal = folder, journal
        self.records = 0
        self.headers = HeaderList()
        self._digest = ContentDigest()
        self._ascending, self._last = True, b""
        self._removed: set[str] = set()
        self._pages = Pages()
        self._parts: list[memoryview] = []
        last = self._repeat()
        self._headers_told = len(self.headers.known)
        self._begin = self._pages.end
        self._file: PageFile | None = None
        self._lmdb: Transactions | None = None
        with writing(folder / DATA):
            if (last.paged if last else paged) and not is_closed(folder / DATA):
                self._file = PageFile(folder / DATA, self._begin * PAGE_BYTES)
            else:
                size, written = (last.map_size, last.written) if last else (0, 0)
                self._lmdb = Transactions(folder, size, written, self._line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for medium in (self._file, self._lmdb):
            if medium is not None:
                medium.close()

    @property
    def digest(self) -> str:
        """The digest over keys and checksums."""
        return self._digest.text()

    def put(
        self, patch: Patch, result: Encoded | PatchError, frame: memoryview
    ) -> Encoded | PatchError:
        """Store a patch's record, or note that it has none; gives what became of it.

        That is the error of the patch where there is one, or a new one where its key is there
        already.

        Raises:
            TargetError: the disk is full.
        """
        if not isinstance(result, PatchError):
            if self._store(patch, result, frame):
                return result
            result = PatchError(f"the patch {patch.key} is there twice; remove one of the two")
        self.journal.note_failed(patch, result)
        return result

    def flush(self, release: Callable[[], object] = bool) -> None:
        """Hand on what was put; `release` is called when the frames are no longer needed.

        Raises:
            TargetError: the disk is full.
        """
        if self._file is None:
            release()
            return
        parts, self._parts = self._parts, []
        begin, self._begin = self._begin, self._pages.end
        entries, end = self.journal.take(), self._begin * PAGE_BYTES
        line = partial(self.journal.append, 0, end, self._new_forms(), (), entries)
        with writing(self.folder / DATA):
            self._file.put(begin * PAGE_BYTES, parts, line if entries else bool, release)

    def remove(self, keys: Iterable[str]) -> None:
        """Take records out again, behind all others; those that are gone already are passed over.

        Raises:
            TargetError: the disk is full.
        """
        wanted = sorted(set(keys) - self._removed)
        with writing(self.folder / DATA):
            self._removed.update(self._by_lmdb().remove(wanted))

    def finish(self) -> None:
        """Write what is left and flush all of it to the disk.

        Raises:
            TargetError: the disk is full.
        """
        if self._lmdb is None:
            self._close_tree()
        else:
            with writing(self.folder / DATA):
                self._lmdb.sync()
        if not self._ascending or self._removed:
            self._sort()

    def _repeat(self) -> Line | None:
        """Take over what the journal tells; gives its last line."""
        last = None
        for last in self.journal.lines():
            self.headers.add_headers(last.headers)
            for _, key, result, form in last.entries:
                if isinstance(result, Encoded):
                    self.headers.add_numbers((form,))
                    if last.paged:
                        self._pages.add(key.encode(), result.length)
                    self._count(key.encode(), result)
            self._removed.update(last.removed)
        return last

    def _store(self, patch: Patch, encoded: Encoded, frame: memoryview) -> bool:
        """Store a record if its key is not there; gives whether it was not."""
        key, record = patch.key.encode(), frame[ROOM : ROOM + encoded.length]
        if self._file is not None and key > self._last:
            number, leaf = self._pages.add(key, encoded.length)
            if leaf is not None:
                self._parts.append(aligned(leaf[1]))
            put_head(frame, number)
            self._parts.append(frame)
            self._note(patch, key, encoded, record)
            return True
        if self._file is not None and key == self._last:
            return False
        with writing(self.folder / DATA):
            shard = self._by_lmdb()
            if not shard.put(key, record, last=key > self._last):
                return False
            self._note(patch, key, encoded, record)
            shard.stored(len(record))
        return True

    def _note(self, patch: Patch, key: bytes, encoded: Encoded, record: memoryview) -> None:
        self._count(key, encoded)
        self.journal.note(patch, encoded, self.headers.add(record))

    def _count(self, key: bytes, encoded: Encoded) -> None:
        self.records += 1
        self._ascending &= key > self._last
        if self._ascending:
            self._digest.add(key.decode(), encoded.checksum)
        self._last = max(self._last, key)

    def _sort(self) -> None:
        """Make of headers and digest what they are for the records that stay, in key order."""
        ordered = in_key_order(self.journal)
        self.records = len(ordered.keys)
        self.headers = HeaderList(self.headers.known, ordered.forms)
        self._digest = ContentDigest()
        for key, checksum in zip(ordered.keys.tolist(), ordered.checksums.tolist(), strict=True):
            self._digest.add(key.decode(), checksum)

    def _by_lmdb(self) -> Transactions:
        """LMDB at work on the file; what was made without it is closed first."""
        if self._lmdb is None:
            self._close_tree()
            written = self._pages.end * PAGE_BYTES
            self._lmdb = Transactions(self.folder, 0, written, self._line)
        return self._lmdb

    def _close_tree(self) -> None:
        """Make a whole data file of what was written without LMDB."""
        if self._file is None:
            return
        self.flush()
        begin = self._pages.end
        with writing(self.folder / DATA):
            self._file.wait()  # what it leaves in the journal decides nothing of the tree
            pages, metas = self._pages.finish(map_size(0, begin * PAGE_BYTES))
            self._file.finish(begin * PAGE_BYTES, b"".join(page for _, page in pages), metas)
        self._file.close()
        self._file = None

    def _line(self, size: int, written: int, removed: list[str]) -> None:
        self.journal.append(size, written, self._new_forms(), removed)

    def _new_forms(self) -> tuple[bytes, ...]:
        """The headers that no line of the journal has yet."""
        told, self._headers_told = self._headers_told, len(self.headers.known)
        return self.headers.known[told:]
