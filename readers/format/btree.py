"""`Tree`: where the values of an LMDB data file lie, read from its pages. LMDB does not tell that.

Only what a store needs of the format: the main database, plain keys, no duplicates. The layout is
that of LMDB 0.9 with 64-bit page numbers, which LMDB calls data format 1 (``mdb.c``: ``MDB_meta``,
``MDB_db``, ``MDB_page``, ``MDB_node``). Whoever writes such pages takes the layout from here, too.
Nothing is trusted: every page and every value is checked to lie inside the file.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from patchpress.readers.errors import FormatUnknown, StoreDamaged

MAGIC, VERSION = 0xBEEFC0DE, 1
META = Struct("<IIQQ")  # magic, data format, address, map size; they follow the page header
TREE = Struct("<IHHQQQQQ")  # the fields of `TreeHead`
TAIL = Struct("<QQ")  # last page, transaction
PAGE = Struct("<QHHHH")  # number, pad, flags, lower, upper
NODE = Struct("<HHHH")  # two halves of a size or page number, flags or its top, size of the key
BRANCH, LEAF, OVERFLOW = 0x01, 0x02, 0x04
BIG, _SUBTREE, _DUPLICATES = 0x01, 0x02, 0x04
NO_PAGE = (1 << 64) - 1
_HEAD = 64  # bytes of a data file that tell its format
_DEPTH = 32  # mdb.c: CURSOR_STACK
_LMDB = {1: "LMDB 0.9", 2: "a version of LMDB before 1.0", 3: "LMDB 1.0"}


@dataclass(frozen=True, slots=True)
class Value:
    """One value: its key, and where its bytes lie in the data file."""

    key: bytes
    offset: int
    length: int


class TreeHead(NamedTuple):
    """What a meta page says of one tree (``MDB_db``)."""

    page_size: int
    """In the tree of free pages, which comes first; 0 in the other."""
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Meta:
    """What a meta page says (``MDB_meta``)."""

    free: TreeHead
    main: TreeHead
    last_page: int
    transaction: int


class _Node(NamedTuple):
    """One entry of a page: a key, and its value or the number of the page with its value."""

    size: int
    """Bytes of the value."""
    flags: int
    key: bytes
    data: int
    """The byte of the page at which the value begins, or its page number if the value is `BIG`."""


class Tree:
    """The main database of a data file; only the pages that a call needs are read."""

    def __init__(self, data: memoryview, path: Path) -> None:
        """Find the newest meta page.

        Raises:
            FormatUnknown: the data file is of another version of LMDB.
            StoreDamaged: the bytes are no LMDB data file.
        """
        self._data, self._path = data, path
        metas = [meta for offset in self._meta_offsets() if (meta := self._meta(offset))]
        if not metas:
            other = _other_format(data[:_HEAD], path)
            raise FormatUnknown(other) if other else self._damage("it has no meta page of LMDB 0.9")
        self._newest = newest = max(metas, key=lambda meta: meta.transaction)
        if newest.main.flags:
            raise self._damage("its keys are not plain ones, or may have duplicates")
        self.page_size, self.entries = newest.free.page_size, newest.main.entries
        self.transaction = newest.transaction
        self.is_whole = len(metas) == 2
        """Whether both meta pages are there: LMDB opens no file that lacks one."""
        self._root, self._depth = newest.main.root, min(newest.main.depth, _DEPTH)

    def identity(self) -> str:
        """SHA-256 over the meta pages and the root of the tree, in hexadecimal.

        LMDB never changes a page of a tree, but writes a new one. So whatever moves a value changes
        one of these pages: a write, a compaction, another file. Damage they do not show.
        """
        digest = hashlib.sha256(self._data[: 2 * self.page_size])
        if self._root != NO_PAGE:
            digest.update(self._page(self._root)[0])
        return digest.hexdigest()

    def values(self) -> Iterator[Value]:
        """Every value in the order of the keys.

        Raises:
            StoreDamaged: a page is not what the tree promises, or the count is another.
        """
        found, last = 0, b""
        for value in self._walk(self._root, self._depth):
            if value.key <= last:
                raise self._damage(f"key {value.key!r} follows {last!r}")
            found, last = found + 1, value.key
            yield value
        if found != self.entries:
            raise self._damage(f"its tree has {found} of {self.entries} records")

    def find(self, key: bytes) -> Value | None:
        """The value of a key, or None.

        Raises:
            StoreDamaged: as `values`.
        """
        number = self._root
        for _ in range(_DEPTH):
            if number == NO_PAGE:
                return None
            page, flags, count = self._page(number)
            if flags & LEAF:
                index = self._first_from(key, page, 0, count)
                found = self._value(page, number, index) if index < count else None
                return found if found and found.key == key else None
            # The first key of a branch is empty: its child has all keys below the second.
            index = self._first_from(key, page, 1, count)
            equal = index < count and self._node(page, index).key == key
            number = self._child(page, index if equal else index - 1)
        raise self._damage("its tree is too deep")

    def check_pages(self) -> None:
        """Make sure that no page of the file has two owners: trees, values, and the free ones.

        LMDB does not check this, and writes into whatever is said to be free.

        Raises:
            StoreDamaged: a page has two owners, or one of them is damaged.
        """
        if not self.is_whole:
            raise self._damage("one of its two meta pages is lost")
        owned = bytearray(self._newest.last_page + 1)
        for number in (0, 1, *self._pages_of(self._root, self._depth)):
            self._own(owned, number)
        free = self._newest.free
        depth = min(free.depth, _DEPTH)
        for number in self._pages_of(free.root, depth):
            self._own(owned, number)
        for value in self._walk(free.root, depth):
            numbers = self._data[value.offset : value.offset + value.length]
            count = int.from_bytes(numbers[:8], "little")
            if len(numbers) < 8 or len(numbers) < 8 * (count + 1):
                raise self._damage("a list of its free pages is cut")
            for number in numbers[8 : 8 * (count + 1)].cast("Q"):
                self._own(owned, number)

    def _own(self, owned: bytearray, number: int) -> None:
        if number >= len(owned) or owned[number]:
            raise self._damage(f"its page {number} is used twice, or beyond its end")
        owned[number] = 1

    def _pages_of(self, number: int, depth: int) -> Iterator[int]:
        """The pages of a tree, and those of its values that have pages of their own."""
        if number == NO_PAGE:
            return
        yield number
        page, flags, count = self._page(number)
        if bool(flags & LEAF) != (depth == 1):
            raise self._damage(f"its page {number} is at a wrong depth of the tree")
        for index in range(count):
            if flags & BRANCH:
                yield from self._pages_of(self._child(page, index), depth - 1)
            elif self._node(page, index).flags & BIG:
                value = self._value(page, number, index)
                first = value.offset // self.page_size
                pages = -(-(PAGE.size + value.length) // self.page_size)
                head = first * self.page_size
                own, _, kind, low, high = PAGE.unpack_from(self._data, head)
                if (own, kind & OVERFLOW, low | high << 16) != (first, OVERFLOW, pages):
                    raise self._damage(f"its page {first} is not what it should be")
                yield from range(first, first + pages)

    def _first_from(self, key: bytes, page: memoryview, low: int, high: int) -> int:
        """The first node of a page, from `low` to below `high`, whose key is not below `key`."""
        while low < high:
            middle = (low + high) // 2
            if self._node(page, middle).key < key:
                low = middle + 1
            else:
                high = middle
        return low

    def _walk(self, number: int, depth: int) -> Iterator[Value]:
        """The values of a tree, in the order of the keys."""
        if number == NO_PAGE:
            return
        page, flags, count = self._page(number)
        # All leaves lie at one depth: without this check a page that is its own child has no end.
        if bool(flags & LEAF) != (depth == 1) or not count:
            raise self._damage(f"its page {number} is at a wrong depth of the tree")
        for index in range(count):
            if flags & LEAF:
                yield self._value(page, number, index)
            else:
                yield from self._walk(self._child(page, index), depth - 1)

    def _value(self, page: memoryview, number: int, index: int) -> Value:
        """The value of a node of a leaf, whose page number is given."""
        size, flags, key, data = self._node(page, index)
        if flags & (_SUBTREE | _DUPLICATES):
            raise self._damage("it has named databases or duplicate keys, which no store has")
        if not flags & BIG:
            if data + size > len(page):
                raise self._damage(f"record {key!r} reaches beyond its page")
            return Value(key, number * self.page_size + data, size)
        if data + 8 > len(page):
            raise self._damage(f"record {key!r} reaches beyond its page")
        first = int.from_bytes(page[data : data + 8], "little")
        # The value's own page is not read: an index of a million records would read a million.
        offset = first * self.page_size + PAGE.size
        if offset + size > len(self._data):
            raise self._damage(f"record {key!r} reaches beyond its end")
        return Value(key, offset, size)

    def _child(self, page: memoryview, index: int) -> int:
        """The page number in a node of a branch."""
        low, high, top, _ = NODE.unpack_from(page, self._node_offset(page, index))
        return int(low | high << 16 | top << 32)

    def _node(self, page: memoryview, index: int) -> _Node:
        offset = self._node_offset(page, index)
        low, high, flags, length = NODE.unpack_from(page, offset)
        end = offset + NODE.size + length
        if end > len(page):
            raise self._damage("a key reaches beyond its page")
        return _Node(low | high << 16, flags, bytes(page[offset + NODE.size : end]), end)

    def _node_offset(self, page: memoryview, index: int) -> int:
        pointer = PAGE.size + 2 * index
        offset = int.from_bytes(page[pointer : pointer + 2], "little")
        if offset + NODE.size > len(page):
            raise self._damage("a node lies beyond its page")
        return offset

    def _page(self, number: int) -> tuple[memoryview, int, int]:
        """(bytes, flags, count of nodes) of a page of the tree."""
        start = number * self.page_size
        page = self._data[start : start + self.page_size]
        if len(page) < self.page_size:
            raise self._damage(f"it ends before its page {number}")
        own, _, flags, lower, upper = PAGE.unpack_from(page)
        nodes = (lower - PAGE.size) // 2
        ordered = PAGE.size <= lower <= upper <= self.page_size
        if own != number or not flags & (BRANCH | LEAF) or not ordered:
            raise self._damage(f"its page {number} is not what it should be")
        return page, flags, nodes

    def _meta_offsets(self) -> list[int]:
        """Where the two meta pages may begin: on the first page and on the second."""
        first = self._meta(0)
        # If the first page was never written, the size of a page is not known.
        return [0, first.free.page_size] if first else [4096, 8192, 16384, 32768, 65536]

    def _meta(self, offset: int) -> _Meta | None:
        """The meta page at an offset, or None if there is none."""
        start = offset + PAGE.size
        trees = start + META.size
        tail = trees + 2 * TREE.size
        if tail + TAIL.size > len(self._data):
            return None
        magic, version, _, _ = META.unpack_from(self._data, start)
        free = TreeHead._make(TREE.unpack_from(self._data, trees))
        main = TreeHead._make(TREE.unpack_from(self._data, trees + TREE.size))
        last_page, transaction = TAIL.unpack_from(self._data, tail)
        size = free.page_size
        if (magic, version) != (MAGIC, VERSION) or size < 512 or size & (size - 1):
            return None
        return _Meta(free=free, main=main, last_page=last_page, transaction=transaction)

    def _damage(self, what: str) -> StoreDamaged:
        return StoreDamaged(
            f"{self._path} is no data file that can be indexed ({what}): copy or convert it again"
        )


def _other_format(head: memoryview, path: Path) -> str:
    """The sentence about a data file of another format, told by its first bytes; else empty."""
    for pair in (Struct("<II"), Struct(">II")):
        # Page headers differ in size between formats and machines: the magic number is searched.
        for offset in range(0, len(head) - pair.size + 1, 4):
            magic, version = pair.unpack_from(head, offset)
            if magic == MAGIC and version != VERSION:
                return _of_version(path, version)
            if magic == MAGIC and (pair.format, offset) != ("<II", PAGE.size):
                return (
                    f"{path} was written on a machine of another word size or byte order: write "
                    "its records there with mdb_dump, and read them here with mdb_load"
                )
    return ""


def _of_version(path: Path, version: int) -> str:
    writer = f", that of {_LMDB[version]}" if version in _LMDB else ""
    what = (
        f"{path} has LMDB's data format {version}{writer}, where a store has format {VERSION}, "
        f"that of {_LMDB[VERSION]}"
    )
    if version == 3:
        return (
            f"{what}: with py-lmdb 3, `python -m lmdb rewrite -e {path.parent} -E NEW` writes "
            "NEW/data.mdb in that format, to be put in its place"
        )
    return f"{what}: copy its records into an environment of that format with what wrote it"
