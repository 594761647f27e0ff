"""`Tree`: the values of an LMDB data file by key, read from its pages, without LMDB.

Only what a store needs of the format: the main database, plain keys, no duplicates (``mdb.c``:
``MDB_page``, ``MDB_node``). Nothing is trusted: every page, node and value is checked to lie inside
of what it is in. LMDB trusts the pages of a file, and ends the process if one leads nowhere.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from struct import Struct, unpack_from
from typing import Any, NamedTuple

from patchpress.readers.errors import FormatUnknown, StoreDamaged
from patchpress.readers.format.metapages import (
    NO_PAGE,
    PAGE,
    Bytes,
    TreeHead,
    meta_pages,
    other_format,
)

NODE = Struct("<HHHH")  # two halves of a size or page number, flags or its top, size of the key
BRANCH, LEAF, OVERFLOW = 0x01, 0x02, 0x04
BIG, _SUBTREE, _DUPLICATES = 0x01, 0x02, 0x04
_IN_MEMORY = 0xC010  # flags that mean something to LMDB only while it writes
_NUMBERS, _NO_FOLDER = 0x08, 0x4000  # lmdb.h: MDB_INTEGERKEY, MDB_NOSUBDIR
_DEPTH = 32  # mdb.c: CURSOR_STACK
_BRANCHES_KEPT = 4096  # pages that were looked into: 200,000 leaves lie below so many


@dataclass(frozen=True, slots=True)
class Value:
    """One value: its key, and where its bytes lie in the data file."""

    key: bytes
    offset: int
    length: int


class _Node(NamedTuple):
    """One entry of a page: a key, and its value or the number of the page below."""

    key: bytes
    size: int
    """Bytes of the value."""
    flags: int
    data: int
    """The byte of the page at which the value begins, or its page number if the value is `BIG`."""

    @property
    def child(self) -> int:
        """The page below, if the node is one of a branch."""
        return self.size | self.flags << 32


class _Page(NamedTuple):
    """One page of a tree."""

    number: int
    is_leaf: bool
    bytes: memoryview
    nodes: list[_Node]


def _as_number(key: bytes) -> int:
    """What orders the keys in the tree of free pages (``MDB_INTEGERKEY``)."""
    return int.from_bytes(key, "little")


class Tree:
    """The main database of a data file; only the pages that a call needs are read."""

    def __init__(self, data: Bytes, path: Path) -> None:
        """Find the newest meta page.

        Raises:
            FormatUnknown: the data file is of another version of LMDB.
            StoreDamaged: the bytes are no LMDB data file.
        """
        self._data, self._path = data, path
        self._metas = metas = meta_pages(data)
        if not metas:
            other = other_format(data, path)
            raise FormatUnknown(other) if other else self._damage("it has no meta page of LMDB 0.9")
        self._newest = newest = max(metas, key=lambda meta: meta.transaction)
        if newest.main.flags:
            raise self._damage("its keys are not plain ones, or may have duplicates")
        self.page_size, self.entries = newest.free.page_size, newest.main.entries
        self.transaction = newest.transaction
        self.is_whole = len(metas) == 2
        """Whether both meta pages are there: LMDB opens no file that lacks one."""
        self._root, self._depth = newest.main.root, min(newest.main.depth, _DEPTH)
        self._branches: dict[int, tuple[list[bytes], list[int]]] = {}

    def identity(self) -> str:
        """SHA-256 over the meta pages and the root of the tree, in hexadecimal.

        LMDB never changes a page of a tree, but writes a new one. So whatever moves a value changes
        one of these pages: a write, a compaction, another file. Damage they do not show.
        """
        digest = hashlib.sha256(self._data[: 2 * self.page_size])
        if self._root != NO_PAGE:
            digest.update(self._header(self._root)[0])
        return digest.hexdigest()

    def values(self) -> Iterator[Value]:
        """Every value in the order of the keys.

        Raises:
            StoreDamaged: a page is not what the tree promises, or the count is another.
        """
        found = nbytes = 0
        for page in self._pages(self._newest.main, bytes):
            if page.is_leaf:
                for node in page.nodes:
                    value = self._value(page.bytes, page.number, node)
                    found, nbytes = found + 1, nbytes + value.length
                    if nbytes > len(self._data):
                        raise self._damage("its records together are larger than the file")
                    yield value
        if found != self.entries:
            raise self._damage(f"its tree has {found} of {self.entries} records")

    def find(self, key: bytes) -> Value | None:
        """The value of a key, or None.

        Raises:
            StoreDamaged: as `values`.
        """
        number = self._root
        if number == NO_PAGE:
            return None
        for _ in range(self._depth - 1):
            keys, children = self._branch(number)
            # The first key of a branch is empty: its child has all keys below the second.
            number = children[bisect_right(keys, key, 1) - 1]
        page, is_leaf, count = self._header(number)
        if not is_leaf:
            raise self._damage(f"its page {number} is at a wrong depth of the tree")
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if self._node(page, middle).key < key:
                low = middle + 1
            else:
                high = middle
        if low == count:
            return None
        node = self._node(page, low)
        return self._value(page, number, node) if node.key == key else None

    def near(self, key: bytes, count: int) -> list[bytes]:
        """The keys next to one that is not there: `count` from it on, and `count` before it.

        Raises:
            StoreDamaged: as `values`.
        """
        return [
            *islice(self._keys_from(key, self._root, self._depth), count),
            *islice(self._keys_before(key, self._root, self._depth), count),
        ]

    def check_pages(self, *, with_values: bool = True) -> None:
        """Make sure of all pages that LMDB would use, and that none has two owners.

        The owners are the two trees, values, and the lists of free pages. LMDB does not check this,
        and writes into whatever is said to be free. With the values, the first page of each is
        read.

        Raises:
            StoreDamaged: a page has two owners, or one of them is damaged.
        """
        owned = self._owned()
        for page in self._pages(self._newest.main, bytes):
            self._own(owned, page.number)
            for value in self._own_values(owned, page):
                if with_values:
                    self._check_head(value)
        self._own_free_pages(owned)

    def checked_values(self) -> list[Value]:
        """Every value in the order of the keys, after all pages were checked, as by `check_pages`.

        The values' own pages are not read: `is_value_head` tells whether one begins as it should.

        Raises:
            StoreDamaged: as `check_pages` and `values`.
        """
        owned, values, nbytes = self._owned(), list[Value](), 0
        for page in self._pages(self._newest.main, bytes):
            self._own(owned, page.number)
            for node in page.nodes if page.is_leaf else ():
                value = self._value(page.bytes, page.number, node)
                if node.flags & BIG:
                    self._own(owned, value.offset // self.page_size, self._pages_of(value.length))
                values.append(value)
                nbytes += value.length
        self._own_free_pages(owned)
        if nbytes > len(self._data):
            raise self._damage("its records together are larger than the file")
        if len(values) != self.entries:
            raise self._damage(f"its tree has {len(values)} of {self.entries} records")
        return values

    def require_whole(self) -> None:
        """Make sure that both meta pages are there: the older one leads to what was there before.

        Raises:
            StoreDamaged: one is lost.
        """
        if not self.is_whole:
            raise self._damage("one of its two meta pages is lost")

    def _owned(self) -> bytearray:
        """A byte for each page, 1 if it has an owner: at first only the meta pages have one."""
        self.require_whole()
        for meta in self._metas:
            if meta.free.flags & ~_NO_FOLDER != _NUMBERS or meta.free.page_size != self.page_size:
                raise self._damage("its meta pages say of the free pages what cannot be")
        last, there = self._newest.last_page, len(self._data) // self.page_size
        if last > 2 * there + (1 << 20):  # some free pages may lie beyond the end of the file
            raise self._damage(f"it promises {last + 1:,} pages, and has {there:,}")
        owned = bytearray(last + 1)
        self._own(owned, 0, 2)
        return owned

    def _own(self, owned: bytearray, number: int, count: int = 1) -> None:
        if number + count > len(owned) or any(owned[number : number + count]):
            raise self._damage(f"its page {number} is used twice, or beyond its end")
        owned[number : number + count] = b"\1" * count

    def _own_values(self, owned: bytearray, page: _Page) -> Iterator[Value]:
        """Note the pages of the values of a leaf that have pages of their own; gives these."""
        for node in page.nodes if page.is_leaf else ():
            if node.flags & BIG:
                value = self._value(page.bytes, page.number, node)
                self._own(owned, value.offset // self.page_size, self._pages_of(value.length))
                yield value

    def _pages_of(self, length: int) -> int:
        """How many pages a value of so many bytes takes that has pages of its own."""
        return -(-(PAGE.size + length) // self.page_size)

    def _check_head(self, value: Value) -> None:
        """Make sure of the header before a value that has pages of its own."""
        begin = value.offset - PAGE.size
        if not self.is_value_head(self._data[begin : value.offset], value.offset, value.length):
            raise self.wrong_head(value.offset)

    def is_value_head(self, head: memoryview, offset: int, length: int) -> bool:
        """Whether the 16 bytes before a value are what LMDB has there; true for one in a leaf."""
        first, begin = divmod(offset, self.page_size)
        if begin != PAGE.size:  # in a leaf, the header of the page and that of a node come before
            return True
        own, _, kind, low, high = PAGE.unpack(head)
        pages = self._pages_of(length)
        return (own, kind & ~_IN_MEMORY, low | high << 16) == (first, OVERFLOW, pages)

    def wrong_head(self, offset: int) -> StoreDamaged:
        """The error for a value that does not begin as `is_value_head` says."""
        return self._damage(f"its page {offset // self.page_size} is not what it should be")

    def _own_free_pages(self, owned: bytearray) -> None:
        """Note the pages of the tree of free pages, and those that it lists."""
        for page in self._pages(self._newest.free, _as_number):
            self._own(owned, page.number)
            for value in self._own_values(owned, page):
                self._check_head(value)
            for node in page.nodes if page.is_leaf else ():
                self._own_free(owned, self._value(page.bytes, page.number, node))

    def _own_free(self, owned: bytearray, value: Value) -> None:
        """Note the pages of one list of free pages."""
        numbers = self._data[value.offset : value.offset + value.length]
        count = int.from_bytes(numbers[:8], "little")
        if len(numbers) < 8 or len(numbers) < 8 * (count + 1):
            raise self._damage("a list of its free pages is cut")
        for number in numbers[8 : 8 * (count + 1)].cast("Q"):
            self._own(owned, number)

    def _pages(self, head: TreeHead, order: Callable[[bytes], Any]) -> Iterator[_Page]:
        """The pages of a tree, each before those below it, leaves in the order of their keys.

        All keys of all leaves ascend and lie between those of the branches above; so no page is
        reached twice, and a page that is its own child has an end.
        """
        last: Any = None
        left = [(head.root, min(head.depth, _DEPTH), b"")] if head.root != NO_PAGE else []
        while left:
            number, depth, least = left.pop()
            page = self._page(number)
            if page.is_leaf != (depth == 1):
                raise self._damage(f"its page {number} is at a wrong depth of the tree")
            yield page
            if not page.is_leaf:
                if not all(node.key for node in page.nodes[1:]):
                    raise self._damage(f"its page {number} has a key that is empty")
                below = [(node.child, depth - 1, node.key) for node in page.nodes]
                self._announce([number for number, *_ in below])
                below[0] = (below[0][0], depth - 1, least)
                left += reversed(below)
                continue
            bound = order(least) if least else None
            for node in page.nodes:
                key = order(node.key)
                if (last is not None and key <= last) or (bound is not None and key < bound):
                    raise self._damage(f"key {node.key!r} is out of order")
                last, bound = key, None
            if left and left[-1][2] and last >= order(left[-1][2]):
                raise self._damage(f"key {page.nodes[-1].key!r} is out of order")

    def _announce(self, numbers: list[int]) -> None:
        """Let the disk give pages at once, if they are in a file: one by one each would wait."""
        announce = getattr(self._data, "announce", None)
        if announce is None:
            return
        for number in numbers:
            if number * self.page_size < len(self._data):
                announce(number * self.page_size, self.page_size)

    def _branch(self, number: int) -> tuple[list[bytes], list[int]]:
        """(keys, numbers of the pages below) of a branch, kept for the next time."""
        found = self._branches.get(number)
        if found is None:
            page = self._page(number)
            if page.is_leaf:
                raise self._damage(f"its page {number} is at a wrong depth of the tree")
            found = [node.key for node in page.nodes], [node.child for node in page.nodes]
            if len(self._branches) < _BRANCHES_KEPT:
                self._branches[number] = found
        return found

    def _keys_from(self, key: bytes, number: int, depth: int) -> Iterator[bytes]:
        """The keys below a page, from one on."""
        if number == NO_PAGE:
            return
        if depth > 1:
            keys, children = self._branch(number)
            for child in children[bisect_right(keys, key, 1) - 1 :]:
                yield from self._keys_from(key, child, depth - 1)
            return
        keys = self._leaf_keys(number)
        yield from keys[bisect_left(keys, key) :]

    def _keys_before(self, key: bytes, number: int, depth: int) -> Iterator[bytes]:
        """The keys below a page that come before one, in descending order."""
        if number == NO_PAGE:
            return
        if depth > 1:
            keys, children = self._branch(number)
            for child in reversed(children[: bisect_right(keys, key, 1)]):
                yield from self._keys_before(key, child, depth - 1)
            return
        keys = self._leaf_keys(number)
        yield from reversed(keys[: bisect_left(keys, key)])

    def _leaf_keys(self, number: int) -> list[bytes]:
        page = self._page(number)
        if not page.is_leaf:
            raise self._damage(f"its page {number} is at a wrong depth of the tree")
        return [node.key for node in page.nodes]

    def _value(self, page: memoryview, number: int, node: _Node) -> Value:
        """The value of a node of a leaf, whose page number is given."""
        key, size, flags, data = node
        if flags & ~BIG:
            if flags & (_SUBTREE | _DUPLICATES):
                raise self._damage("it has named databases or duplicate keys, which no store has")
            raise self._damage(f"record {key!r} is of an unknown kind")
        if not flags:
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

    def _page(self, number: int) -> _Page:
        """A page of a tree with all its nodes."""
        page, is_leaf, count = self._header(number)
        return _Page(number, is_leaf, page, self._nodes(page, 0, count))

    def _node(self, page: memoryview, index: int) -> _Node:
        return self._nodes(page, index, 1)[0]

    def _nodes(self, page: memoryview, first: int, count: int) -> list[_Node]:
        """Some nodes of a page; in one loop, since a large data set has more than a million."""
        nodes, nbytes, size = [], len(page), NODE.size
        for offset in unpack_from(f"<{count}H", page, PAGE.size + 2 * first):
            begin = offset + size
            if begin > nbytes:
                raise self._damage("a node lies beyond its page")
            low, high, flags, length = NODE.unpack_from(page, offset)
            end = begin + length
            if end > nbytes:
                raise self._damage("a key reaches beyond its page")
            nodes.append(_Node(bytes(page[begin:end]), low | high << 16, flags, end))
        return nodes

    def _header(self, number: int) -> tuple[memoryview, bool, int]:
        """(bytes, whether it is a leaf, count of nodes) of a page of the tree."""
        start = number * self.page_size
        page = self._data[start : start + self.page_size]
        if len(page) < self.page_size:
            raise self._damage(f"it ends before its page {number}")
        own, _, flags, lower, upper = PAGE.unpack_from(page)
        ordered = PAGE.size <= lower <= upper <= self.page_size and not lower % 2
        kind = flags & ~_IN_MEMORY
        count = (lower - PAGE.size) // 2
        if own != number or kind not in (BRANCH, LEAF) or not ordered or not count:
            raise self._damage(f"its page {number} is not what it should be")
        return page, kind == LEAF, count

    def _damage(self, what: str) -> StoreDamaged:
        return StoreDamaged(
            f"{self._path} is no data file that can be read ({what}): copy or convert it again"
        )
