"""Where the values of an LMDB data file lie, read from its pages: no library tells.

Only what a store needs of the format: the main database, plain keys, no duplicates. The layout is
that of LMDB 0.9 with 64-bit page numbers (``mdb.c``: ``MDB_meta``, ``MDB_page``, ``MDB_node``);
converters that make such pages take it from here.
Nothing is trusted: every page and every value is checked to lie inside the file.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from patchpress.readers.errors import StoreDamaged

MAGIC, VERSION = 0xBEEFC0DE, 1
META = Struct("<IIQQ")  # magic, version, address, map size; behind the page header
TREE = Struct("<IHHQQQQQ")  # pad (of the first: page size), flags, depth, pages by kind, root
TAIL = Struct("<QQ")  # last page, transaction
PAGE = Struct("<QHHHH")  # number, pad, flags, lower, upper
NODE = Struct("<HHHH")  # two halves of a size or page number, flags or its top, size of the key
BRANCH, LEAF, OVERFLOW = 0x01, 0x02, 0x04
BIG, _SUBTREE, _DUPLICATES = 0x01, 0x02, 0x04
NO_PAGE = (1 << 64) - 1
_DEPTH = 32  # mdb.c: CURSOR_STACK


@dataclass(frozen=True, slots=True)
class Value:
    """One value: its key, and where its bytes lie in the data file."""

    key: bytes
    offset: int
    length: int


class _Meta(NamedTuple):
    """What a meta page says: of the main database, and where that of the free pages is."""

    page_size: int
    flags: int
    depth: int
    entries: int
    root: int
    transaction: int
    last_page: int
    free_depth: int
    free_root: int


class Tree:
    """The main database of a data file, as bytes; read-only, and only as far as it is asked for."""

    def __init__(self, data: memoryview, path: Path) -> None:
        """Find the newest meta page.

        Raises:
            StoreDamaged: the bytes are no LMDB data file of this format.
        """
        self._data, self._path = data, path
        metas = [meta for at in self._meta_places() if (meta := self._meta(at))]
        if not metas:
            raise self._damage("it has no meta page of LMDB 0.9")
        newest = max(metas, key=lambda meta: meta.transaction)
        if newest.flags:
            raise self._damage("its keys are not plain ones, or may have duplicates")
        self.page_size, self.entries = newest.page_size, newest.entries
        self.transaction = newest.transaction
        self._root, self._depth = newest.root, min(newest.depth, _DEPTH)
        self._metas, self._newest = len(metas), newest

    @property
    def is_whole(self) -> bool:
        """Whether both meta pages are there: LMDB opens no file that lacks one."""
        return self._metas == 2

    def identity(self) -> str:
        """SHA-256 over the meta pages and the root of the tree, in hexadecimal.

        LMDB never writes a page of a tree anew in its place, so whatever moves a value changes one
        of these: a write, a compaction, another file. What they do not tell is damage.
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
                raise self._damage(f"key {value.key!r} comes behind {last!r}")
            found, last = found + 1, value.key
            yield value
        if found != self.entries:
            raise self._damage(f"its tree has {found} of {self.entries} records")

    def check_pages(self) -> None:
        """Make sure that no page of the file has two owners: trees, values, and the free ones.

        LMDB trusts what it finds here, and writes into whatever is said to be free.

        Raises:
            StoreDamaged: a page has two owners, or one of them is damaged.
        """
        if not self.is_whole:
            raise self._damage("one of its two meta pages is lost")
        owned = bytearray(self._newest.last_page + 1)
        for number in (0, 1, *self._owned(self._root, self._depth)):
            self._own(owned, number)
        depth = min(self._newest.free_depth, _DEPTH)
        for number in self._owned(self._newest.free_root, depth):
            self._own(owned, number)
        for value in self._walk(self._newest.free_root, depth):
            free = self._data[value.offset : value.offset + value.length]
            count = int.from_bytes(free[:8], "little")
            if len(free) < 8 or len(free) < 8 * (count + 1):
                raise self._damage("a list of its free pages is cut")
            for number in free[8 : 8 * (count + 1)].cast("Q"):
                self._own(owned, number)

    def _own(self, owned: bytearray, number: int) -> None:
        if number >= len(owned) or owned[number]:
            raise self._damage(f"its page {number} is used twice, or beyond its end")
        owned[number] = 1

    def _owned(self, number: int, depth: int) -> Iterator[int]:
        """The pages of a tree, and those of its values that have pages of their own."""
        if number == NO_PAGE:
            return
        yield number
        page, flags, count = self._page(number)
        if bool(flags & LEAF) != (depth == 1):
            raise self._damage(f"its page {number} has no place in the tree")
        for index in range(count):
            if flags & BRANCH:
                yield from self._owned(self._child(page, index), depth - 1)
            elif self._node(page, index)[1] & BIG:
                value = self._value(page, number, index)
                first = value.offset // self.page_size
                pages = -(-(PAGE.size + value.length) // self.page_size)
                head = first * self.page_size
                own, _, kind, low, high = PAGE.unpack_from(self._data, head)
                if (own, kind & OVERFLOW, low | high << 16) != (first, OVERFLOW, pages):
                    raise self._damage(f"its page {first} is not what it should be")
                yield from range(first, first + pages)

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
                low = self._bound(page, number, count, key, 0)
                found = self._value(page, number, low) if low < count else None
                return found if found and found.key == key else None
            # The first key of a branch is empty: it stands for all that is lower than the second.
            low = self._bound(page, number, count, key, 1)
            equal = low < count and self._node(page, low)[2] == key
            number = self._child(page, low if equal else low - 1)
        raise self._damage("its tree is too deep")

    def _bound(self, page: memoryview, number: int, count: int, key: bytes, low: int) -> int:
        """The first node from `low` whose key is not below `key`."""
        high = count
        while low < high:
            middle = (low + high) // 2
            if self._node(page, middle)[2] < key:
                low = middle + 1
            else:
                high = middle
        return low

    def _walk(self, number: int, depth: int) -> Iterator[Value]:
        if number == NO_PAGE:
            return
        page, flags, count = self._page(number)
        # All leaves lie at one depth: without this a page that is its own child has no end.
        if bool(flags & LEAF) != (depth == 1) or not count:
            raise self._damage(f"its page {number} has no place in the tree")
        for index in range(count):
            if flags & LEAF:
                yield self._value(page, number, index)
            else:
                yield from self._walk(self._child(page, index), depth - 1)

    def _value(self, page: memoryview, number: int, index: int) -> Value:
        size, flags, key, behind = self._node(page, index)
        if flags & (_SUBTREE | _DUPLICATES):
            raise self._damage("it has named databases or duplicate keys, which no store has")
        if not flags & BIG:
            if behind + size > len(page):
                raise self._damage(f"record {key!r} reaches beyond its page")
            return Value(key, number * self.page_size + behind, size)
        if behind + 8 > len(page):
            raise self._damage(f"record {key!r} reaches beyond its page")
        first = int.from_bytes(page[behind : behind + 8], "little")
        # The page itself is not looked at: an index of a million records would read a million.
        offset = first * self.page_size + PAGE.size
        if offset + size > len(self._data):
            raise self._damage(f"record {key!r} reaches beyond its end")
        return Value(key, offset, size)

    def _child(self, page: memoryview, index: int) -> int:
        low, high, top, _ = NODE.unpack_from(page, self._place(page, index))
        return int(low | high << 16 | top << 32)

    def _node(self, page: memoryview, index: int) -> tuple[int, int, bytes, int]:
        """(size of the value, flags, key, place behind the key) of a node."""
        place = self._place(page, index)
        low, high, flags, length = NODE.unpack_from(page, place)
        behind = place + NODE.size + length
        if behind > len(page):
            raise self._damage("a key reaches beyond its page")
        return low | high << 16, flags, bytes(page[place + NODE.size : behind]), behind

    def _place(self, page: memoryview, index: int) -> int:
        at = PAGE.size + 2 * index
        place = int.from_bytes(page[at : at + 2], "little")
        if place + NODE.size > len(page):
            raise self._damage("a node lies beyond its page")
        return place

    def _page(self, number: int) -> tuple[memoryview, int, int]:
        """(bytes, flags, nodes) of a page of the tree."""
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

    def _meta_places(self) -> list[int]:
        """Where the two meta pages may begin: the second one page behind the first."""
        first = self._meta(0)
        # A first page that was never written whole leaves the size of a page to be guessed.
        return [0, first.page_size] if first else [4096, 8192, 16384, 32768, 65536]

    def _meta(self, at: int) -> _Meta | None:
        """The meta page there, or None where there is none."""
        place = at + PAGE.size
        if place + META.size + 2 * TREE.size + TAIL.size > len(self._data):
            return None
        magic, version, _, _ = META.unpack_from(self._data, place)
        free = TREE.unpack_from(self._data, place + META.size)
        main = TREE.unpack_from(self._data, place + META.size + TREE.size)
        last, transaction = TAIL.unpack_from(self._data, place + META.size + 2 * TREE.size)
        size = free[0]
        if (magic, version) != (MAGIC, VERSION) or size < 512 or size & (size - 1):
            return None
        main_of = (main[1], main[2], main[6], main[7])
        return _Meta(size, *main_of, transaction, last, free[2], free[7])

    def _damage(self, what: str) -> StoreDamaged:
        return StoreDamaged(
            f"{self._path} is no data file that can be indexed ({what}): copy or convert it again"
        )
