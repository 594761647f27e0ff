"""Extents made from the data files themselves: every value found, and what it begins with."""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.extents import UNKNOWN, Extents, facts_of
from patchpress.readers.access.files import open_file
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.record import header_of, parse_header

HEADERS_AHEAD = 1024  # first pages announced together where headers have to be read
FORMS_KEPT = 256  # more are sizes of patches that vary; they stand in the header of the file


@dataclass(frozen=True)
class Scan:
    """Every value of one data file in the order of its keys, and the file's identity."""

    keys: npt.NDArray[np.bytes_]
    offset: npt.NDArray[np.uint64]
    length: npt.NDArray[np.uint64]
    facts: Mapping[str, Any]


def scan(path: Path) -> Scan:
    """Read where every value of a data file lies.

    Raises:
        StoreMissing, StoreDamaged: it is not there, no LMDB data file, or has a key that cannot be
            the name of a patch.
    """
    file = open_file(path)
    if not file.size:
        raise StoreDamaged(f"{path} is empty: copy or convert it again")
    tree = Tree(file.bytes, path)
    keys: list[bytes] = []
    offset, length = array("Q"), array("Q")
    for value in tree.values():
        if value.key.endswith(b"\0"):
            raise StoreDamaged(
                f"{path} has a key that ends in a zero byte ({value.key!r}): no store"
            )
        keys.append(value.key)
        offset.append(value.offset)
        length.append(value.length)
    return Scan(
        np.array(keys, "S"),
        np.frombuffer(offset, np.uint64),
        np.frombuffer(length, np.uint64),
        facts_of(file),
    )


class Headers:
    """What records begin with, noted in the order of their keys: the `form` column."""

    def __init__(self, forms: Iterable[bytes] = (), column: Iterable[int] = ()) -> None:
        """Begin with what is known already.

        Raises:
            StoreDamaged: one of `forms` is no header.
        """
        self._forms: dict[bytes, int] = {}
        self._sizes: list[int] = []
        self._column = array("H")
        self.repeat(forms, column)

    @property
    def forms(self) -> tuple[bytes, ...]:
        """The different headers, as they first came."""
        return tuple(self._forms)

    def repeat(self, forms: Iterable[bytes], column: Iterable[int]) -> None:
        """Take further headers, and the places of further records in all of them, as once noted.

        Raises:
            StoreDamaged: one of `forms` is no header.
        """
        for header in forms:
            self._sizes.append(parse_header(header).size)
            self._forms[header] = len(self._forms)
        self._column.extend(column)

    def note(self, record: memoryview) -> int:
        """Take the header of the next record, if it is a whole uncompressed one.

        Gives its place in `forms`, or `UNKNOWN`.
        """
        try:
            header = header_of(record)
            form = self._forms.get(header)
            if form is None:
                size = parse_header(header).size
                if len(self._forms) >= FORMS_KEPT:
                    raise StoreDamaged("too many forms")
                form = self._forms[header] = len(self._forms)
                self._sizes.append(size)
            if self._sizes[form] != len(record):
                form = UNKNOWN
        except StoreDamaged:
            form = UNKNOWN
        self._column.append(form)
        return form

    def column(self) -> npt.NDArray[np.uint16]:
        """A place in `forms` for each record, or `UNKNOWN`."""
        return np.frombuffer(self._column, np.uint16)


def build(
    store: Path,
    shards: Sequence[str],
    headers: Headers | None = None,
    told: Callable[[int], object] = bool,
) -> Extents:
    """Extents of a store's data files, named relative to it.

    `headers` has what the records of all shards begin with, one shard after the other; without it
    every record's first page is read, and `told` is called with how many more were.

    Raises:
        StoreMissing, StoreDamaged: as `scan`; a data file with other records than `headers`.
    """
    scans = [scan(store / name) for name in shards]
    if headers is None:
        headers = Headers()
        for name, one in zip(shards, scans, strict=True):
            _read_headers(store / name, one, headers, told)
    keys = np.concatenate([one.keys for one in scans])
    form = headers.column()
    if len(form) != len(keys):
        raise StoreDamaged(f"{store} has {len(keys)} records, not the {len(form)} just written")
    shard = np.repeat(np.arange(len(scans), dtype=np.uint16), [len(one.keys) for one in scans])
    order = np.argsort(keys, kind="stable")
    return Extents(
        keys[order],
        shard[order],
        np.concatenate([one.offset for one in scans])[order],
        np.concatenate([one.length for one in scans])[order],
        form[order],
        headers.forms,
        tuple({"path": n, **one.facts} for n, one in zip(shards, scans, strict=True)),
    )


def _read_headers(
    path: Path, records: Scan, headers: Headers, told: Callable[[int], object]
) -> None:
    file = open_file(path)
    offset, length = records.offset.tolist(), records.length.tolist()
    for begin in range(0, len(offset), HEADERS_AHEAD):
        some = slice(begin, begin + HEADERS_AHEAD)
        for at in offset[some]:
            file.announce(at, 1)
        for at, nbytes in zip(offset[some], length[some], strict=True):
            headers.note(file.bytes[at : at + nbytes])
        told(len(offset[some]))
