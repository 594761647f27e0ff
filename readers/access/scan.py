"""Makes extents from the data files: reads where every value lies, and how it begins."""

from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.extents import UNKNOWN, Extents
from patchpress.readers.access.extents_file import facts_of
from patchpress.readers.access.files import ReadsFile, open_file
from patchpress.readers.access.keys import KeysInMemory, joined_names
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.metapages import PAGE, Bytes
from patchpress.readers.format.record import HEADER_LIMIT, header_of, parse_header
from patchpress.readers.format.store_files import require_inside

ANNOUNCED = 1024  # first pages of records announced to the kernel together, before they are read
FIRST = 4096 - PAGE.size  # bytes that the first page of a record has of it, if pages are small
_OBJECTS = 1 << 15  # keys that are Python's objects at a time: they take three times the memory
HEADERS_KEPT = 256  # more are sizes of patches that vary; they stand in the header of the file


@dataclass(frozen=True)
class Scan:
    """Every value of one data file in the order of its keys, and the file's identity."""

    keys: npt.NDArray[np.bytes_]
    offset: npt.NDArray[np.uint64]
    length: npt.NDArray[np.uint64]
    facts: Mapping[str, Any]
    nameless: tuple[bytes, ...] = ()
    """Keys that end in a zero byte, as numbers do: no name of a patch. They are not in `keys`."""

    def without(self, keys: Collection[bytes]) -> "Scan":
        """The same without the values of some keys, which are no records."""
        if not keys:
            return self
        kept = ~np.isin(self.keys, np.array(sorted(keys), "S"))
        return replace(
            self, keys=self.keys[kept], offset=self.offset[kept], length=self.length[kept]
        )


def scan(path: Path) -> Scan:
    """Read where every value of a data file lies.

    Raises:
        StoreMissing, StoreUnreadable: it is not there, or cannot be opened.
        FormatUnknown: it has the format of another LMDB.
        StoreDamaged: it is no LMDB data file.
    """
    return scan_file(open_file(path))


def scan_file(file: ReadsFile) -> Scan:
    """The same, of a file that is open.

    Raises:
        FormatUnknown, StoreDamaged: as `scan`.
        StoreError: it cannot be read.
    """
    if not file.size:
        raise StoreDamaged(f"{file.path} is empty: copy or convert it again")
    tree = Tree(file.pages, file.path)
    parts: list[npt.NDArray[np.bytes_]] = []
    keys: list[bytes] = []
    nameless: list[bytes] = []
    offset, length = array("Q"), array("Q")
    for value in tree.values():
        if value.key.endswith(b"\0"):
            nameless.append(value.key)
            continue
        keys.append(value.key)
        offset.append(value.offset)
        length.append(value.length)
        if len(keys) == _OBJECTS:
            parts.append(np.array(keys, "S"))
            keys.clear()
    parts.append(np.array(keys, "S"))
    return Scan(
        keys=joined_names(parts),
        offset=np.frombuffer(offset, np.uint64),
        length=np.frombuffer(length, np.uint64),
        facts=facts_of(file),
        nameless=tuple(nameless),
    )


class HeaderList:
    """How records begin: each different header once, and for each record the number of its own.

    A record has `UNKNOWN` for a number if it must be read itself to know its header: it is
    compressed, no whole safetensors, or one of more sizes than are kept.
    """

    def __init__(self, known: Iterable[bytes] = (), numbers: Iterable[int] = ()) -> None:
        """Begin with headers and records that are known already.

        Raises:
            StoreDamaged: one of `known` is no header.
        """
        self._numbers_of: dict[bytes, int] = {}
        self._sizes: list[int] = []
        self._numbers = array("H")
        self.add_headers(known)
        self.add_numbers(numbers)

    @property
    def known(self) -> tuple[bytes, ...]:
        """The different headers, in the order in which they first came."""
        return tuple(self._numbers_of)

    @property
    def numbers(self) -> npt.NDArray[np.uint16]:
        """The index in `known` of each record's header, or `UNKNOWN`."""
        return np.frombuffer(self._numbers, np.uint16)

    def add(self, record: memoryview, length: int | None = None) -> int:
        """Add the next record; gives the number of its header, or `UNKNOWN`.

        Args:
            record: its bytes, or only its beginning with the whole header.
            length: of the record, if these are not all of its bytes.
        """
        nbytes = len(record) if length is None else length
        try:
            header = header_of(record)
            number = self._numbers_of.get(header)
            if number is None:
                number = self._new(header) if len(self._sizes) < HEADERS_KEPT else UNKNOWN
            if number != UNKNOWN and self._sizes[number] != nbytes:
                number = UNKNOWN
        except StoreDamaged:
            number = UNKNOWN
        self._numbers.append(number)
        return number

    def add_unknown(self) -> None:
        """Add a record that must be read itself to know its header."""
        self._numbers.append(UNKNOWN)

    def add_headers(self, headers: Iterable[bytes]) -> None:
        """Add headers that were noted before, without their records.

        Raises:
            StoreDamaged: one of them is no header.
        """
        for header in headers:
            self._new(header)

    def add_numbers(self, numbers: Iterable[int]) -> None:
        """Add records whose headers were noted before, by the numbers of these headers."""
        self._numbers.extend(numbers)

    def _new(self, header: bytes) -> int:
        self._sizes.append(parse_header(header).size)
        self._numbers_of[header] = len(self._numbers_of)
        return self._numbers_of[header]


def build(
    store: Path,
    shards: Sequence[str],
    headers: HeaderList | None = None,
    progress: Callable[[int], None] | None = None,
    without: Collection[bytes] = (),
    opens: Callable[[str], ReadsFile] | None = None,
) -> Extents:
    """Extents of a store's data files, named relative to it.

    Args:
        store: the folder.
        shards: its data files, in the order of the manifest.
        headers: how the records of all shards begin, one shard after the other; without it the
            first page of every record is read.
        progress: called with how many more first pages were read.
        without: keys of values that are no records.
        opens: opens a data file by its name, if it does not lie in the folder.

    Raises:
        StoreMissing, StoreUnreadable, FormatUnknown: as `scan`.
        StoreDamaged: as `scan`; or a data file has other records than `headers`.
    """
    opens = opens or (lambda name: open_file(require_inside(store, name)))
    scans = [scan_file(opens(name)).without(without) for name in shards]
    if headers is None:
        headers = HeaderList()
        for name, one in zip(shards, scans, strict=True):
            _read_headers(opens(name), one, headers, progress)
    counts = [len(one.keys) for one in scans]
    numbers = headers.numbers
    if len(numbers) != sum(counts):
        raise StoreDamaged(
            f"{store} has {sum(counts)} records, not the {len(numbers)} just written"
        )
    shard = np.repeat(np.arange(len(scans), dtype=np.uint16), counts)
    keys = scans[0].keys if len(scans) == 1 else joined_names([one.keys for one in scans])
    order = np.argsort(keys, kind="stable")
    # No key is twice, so this is the same order. Of a large data set a copy takes 100 MB.
    keys.sort()
    return Extents(
        names=KeysInMemory(keys),
        shard=shard[order],
        offset=np.concatenate([one.offset for one in scans])[order],
        length=np.concatenate([one.length for one in scans])[order],
        header_number=numbers[order],
        headers=headers.known,
        files=tuple({"path": n, **one.facts} for n, one in zip(shards, scans, strict=True)),
    )


def beginning_of(data: Bytes, start: int, nbytes: int) -> memoryview:
    """The first bytes of a value of so many: its whole header, if it has one.

    Raises:
        StoreDamaged: the file has become shorter, or its disk does not give them.
    """
    begins = data[start : start + min(nbytes, FIRST)]
    size = 8 + int.from_bytes(begins[:8], "little")
    if FIRST < size <= min(nbytes, 8 + HEADER_LIMIT):
        begins = data[start : start + size]
    return begins


def _read_headers(
    file: ReadsFile, records: Scan, headers: HeaderList, progress: Callable[[int], None] | None
) -> None:
    data = file.pages  # not the map: a disk that fails is an error here, and ends no process
    offset, length = records.offset.tolist(), records.length.tolist()
    for begin in range(0, len(offset), ANNOUNCED):
        some = slice(begin, begin + ANNOUNCED)
        for start in offset[some]:
            file.announce(start, 1)
        for start, nbytes in zip(offset[some], length[some], strict=True):
            headers.add(beginning_of(data, start, nbytes), nbytes)
        if progress is not None:
            progress(len(offset[some]))
