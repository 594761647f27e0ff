"""A data file that was written in pages, read through LMDB before it counts as a store."""

import logging
from collections.abc import Iterator
from pathlib import Path

import lmdb
import xxhash

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.storage.transactions import LMDB_09, require_lmdb_09
from patchpress.readers.access.files import open_file
from patchpress.readers.errors import StoreError
from patchpress.readers.format.btree import Tree

_log = logging.getLogger(__name__)
BETWEEN = 8  # records between the first and the last that are read back, at least, if there are


class ReadBackSample:
    """The first and the last record of a file and some in between, evenly spread; to be read back.

    Its size does not depend on the number of records.
    """

    def __init__(self) -> None:
        self.count = 0
        """How many records the file has."""
        self._kept: list[tuple[bytes, Encoded]] = []
        self._step = 1
        self._last: tuple[bytes, Encoded] | None = None

    def add(self, key: bytes, encoded: Encoded) -> None:
        """Take note of the next record of the file."""
        self._last = key, encoded
        if self.count % self._step == 0:
            if len(self._kept) > 2 * BETWEEN:
                del self._kept[1::2]
                self._step *= 2
            if self.count % self._step == 0:
                self._kept.append(self._last)
        self.count += 1

    def __iter__(self) -> Iterator[tuple[bytes, Encoded]]:
        """Keys, in their order, and what is known of their records."""
        yield from self._kept
        if self._last is not None and self._last is not self._kept[-1]:
            yield self._last


def refusal(path: Path, sample: ReadBackSample) -> str:
    """Why LMDB does not give what was written to a data file; empty if it does.

    Its count of records, its first and last key, and the bytes of each record of the sample are
    compared with what was written.

    Raises:
        TargetError: this py-lmdb cannot read any store.
    """
    require_lmdb_09()
    # LMDB trusts the pages of a file, and may crash if one leads nowhere. Our own reader trusts
    # nothing, so it goes first, over the same pages.
    try:
        tree = Tree(open_file(path).pages, path)
        lost = next((key for key, _ in sample if tree.find(key) is None), None)
    except StoreError as error:
        _log.debug("%s", error)
        return "its tree is damaged"
    if lost is not None:
        return f"its tree does not lead to record {lost.decode()}"
    try:
        return _refusal_by_lmdb(path, sample)
    except lmdb.Error as error:
        return str(error)


def _refusal_by_lmdb(path: Path, sample: ReadBackSample) -> str:
    keys = [key for key, _ in sample]
    with (
        lmdb.open(
            str(path), subdir=False, readonly=True, lock=False, readahead=False, **LMDB_09
        ) as environment,
        environment.begin(buffers=True) as transaction,
    ):
        count = transaction.stat()["entries"]
        if count != sample.count:
            return f"LMDB counts {count:,} records in it, not {sample.count:,}"
        cursor = transaction.cursor()
        first = cursor.first() and bytes(cursor.key())
        last = cursor.last() and bytes(cursor.key())
        if count and (first, last) != (keys[0], keys[-1]):
            return "LMDB gives another first or last key"
        for key, encoded in sample:
            value = transaction.get(key)
            if value is None:
                return f"LMDB does not find record {key.decode()}"
            if xxhash.xxh3_64_intdigest(value) != encoded.checksum:
                return f"LMDB gives other bytes for record {key.decode()}"
    return ""
