"""`Archives`: the archives that a store's records lie in, opened once a process and compared.

An archive is none of the store's files: it may be moved, replaced or changed by anybody. What is
compared when it is opened is its size and a SHA-256 over 64 pieces of it, spread evenly; and before
each batch its size and the time when it was written last. What changes between the pieces, under
the same size, only the records' checksums tell: `patchpress verify`, or ``checksums=True``.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from patchpress.readers.access.archive_index import IndexedArchive
from patchpress.readers.access.files import DataFile, open_file
from patchpress.readers.errors import StoreDamaged, StoreMissing

PIECES = 64
"""Of an archive, that are compared when it is opened."""
PIECE_BYTES = 4096


def identity_of(file: DataFile) -> str:
    """What tells an archive from another one of as many bytes, in hexadecimal.

    Raises:
        StoreDamaged: it has become shorter, or its disk does not give it.
    """
    last = max(file.size - PIECE_BYTES, 0)
    starts = sorted({last * number // (PIECES - 1) for number in range(PIECES)})
    for start in starts:  # all at once: one after the other, a disk would take half a second
        file.announce(start, PIECE_BYTES)
    digest, pages = hashlib.sha256(file.size.to_bytes(8, "big")), file.pages
    for start in starts:
        digest.update(pages[start : min(start + PIECE_BYTES, file.size)])
    return digest.hexdigest()


class Archives:
    """The archives of one store; safe in threads and after a fork."""

    def __init__(
        self, store: Path, archives: Sequence[IndexedArchive], dataset: str, *, readahead: bool
    ) -> None:
        """Open and compare all of them; `dataset` is what sentences say of how to index again.

        Raises:
            StoreDamaged: one is not there, or another one than was indexed.
            StoreUnreadable: there are no file descriptors left.
        """
        self._store, self._dataset = store, dataset
        self.files: list[DataFile] = []
        self._seen: list[tuple[int, int]] = []
        self._identities = [one.identity for one in archives]
        for one in archives:
            self.files.append(self._opened(one, readahead=readahead))
            self._seen.append(_seen(self.files[-1]))

    def check(self) -> None:
        """Make sure that nothing has written to them; costs about 1 us each.

        Raises:
            StoreDamaged: one has become shorter, or another one.
        """
        for number, file in enumerate(self.files):
            if _seen(file) != self._seen[number]:
                self._look_closer(number)

    def _opened(self, one: IndexedArchive, *, readahead: bool) -> DataFile:
        path = one.at(self._store)
        try:
            file = open_file(path, readahead=readahead)
        except StoreMissing:
            raise StoreDamaged(
                f"{path} is absent, and {self._store} reads its pixels there: put it back, or say "
                f"where it is now: {self._again('ARCHIVE')}"
            ) from None
        if file.size != one.bytes:
            raise StoreDamaged(
                f"{path} has {file.size:,} bytes, and had {one.bytes:,} when it was indexed: put "
                f"the right archive back, or index this one again: {self._again(path)}"
            )
        if identity_of(file) != one.identity:
            raise StoreDamaged(
                f"{path} is not the archive that was indexed, though it has as many bytes: put the "
                f"right one back, or index this one again: {self._again(path)}"
            )
        return file

    def _again(self, archive: object) -> str:
        return f"`patchpress index {archive} --dataset {self._dataset} {self._store}`"

    def _look_closer(self, number: int) -> None:
        file = self.files[number]
        seen = _seen(file)
        if seen[0] < file.size:
            raise StoreDamaged(
                f"{file.path} ended at {seen[0]:,} of {file.size:,} bytes: it was cut since it was "
                "opened; put the whole archive back"
            )
        if identity_of(file) != self._identities[number]:
            raise StoreDamaged(
                f"{file.path} was overwritten since it was opened: put the archive back that was "
                "indexed, and open the store again"
            )
        self._seen[number] = seen


def _seen(file: DataFile) -> tuple[int, int]:
    """The size of an open file, and when it was written last, in nanoseconds."""
    status = os.fstat(file.descriptor)
    return status.st_size, status.st_mtime_ns
