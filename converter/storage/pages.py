"""The pages of an LMDB data file, made without LMDB: values one behind the other, a tree above.

For values that come in ascending order of their keys and are too large to lie in the tree: then
where each lies follows from keys and lengths alone, and its bytes can go to the disk from where
they are. The leaves of the tree lie among the values, each where the next had no room for one more
key; branches and meta pages come last. Layout: `patchpress.readers.format.btree`.
"""

from collections.abc import Iterator, Sequence
from mmap import mmap
from pathlib import Path
from struct import Struct

from patchpress.converter.encoding.frame import PAGE_BYTES, pages_of
from patchpress.readers.access.files import open_file
from patchpress.readers.errors import StoreError
from patchpress.readers.format.btree import (
    BIG,
    BRANCH,
    LEAF,
    MAGIC,
    META,
    NO_PAGE,
    NODE,
    OVERFLOW,
    PAGE,
    TAIL,
    TREE,
    VERSION,
    Tree,
)

CLOSING = 2
"""Transactions that LMDB counts in a file made here: both meta pages say the same."""
_VALUE_HEAD = Struct("<QHHI")  # number, pad, flags, count of pages: PAGE for what takes several
_METAS = 2
_META_FLAG = 0x08  # of a page
_INTEGER_KEYS = 0x08  # of the tree of free pages
_NUMBER = Struct("<Q")

Numbered = tuple[int, bytes]
"""A page's number and its bytes."""


def put_head(frame: memoryview, number: int) -> None:
    """Write what stands before a value: that its pages begin with this number."""
    _VALUE_HEAD.pack_into(frame, 0, number, 0, OVERFLOW, len(frame) // PAGE_BYTES)


def aligned(page: bytes) -> memoryview:
    """The same bytes at the begin of a page of memory, as direct writes want them."""
    memory = mmap(-1, len(page))
    memory[:] = page
    return memoryview(memory)


def is_closed(path: Path) -> bool:
    """Whether a file has both meta pages: those made here come last."""
    try:
        file = open_file(path)
        return bool(file.size) and Tree(file.bytes, path).is_whole
    except StoreError:
        return False


class Pages:
    """The pages of one file so far; the values themselves are the caller's."""

    def __init__(self) -> None:
        self.end = _METAS
        """Number of the next page."""
        self._values = self._value_pages = self._leaf_count = self._branch_count = 0
        self._nodes: list[bytes] = []
        self._room = PAGE_BYTES - PAGE.size
        self._first = b""
        self._leaves: list[tuple[bytes, int]] = []

    def add(self, key: bytes, length: int) -> tuple[int, Numbered | None]:
        """The number of a value's first page; before it a leaf, where the last one is full."""
        leaf = None
        size = _node_size(key, _NUMBER.size)
        if size + 2 > self._room:
            leaf = self._close_leaf()
        if not self._nodes:
            self._first = key
        number, count = self.end, pages_of(length)
        self.end += count
        self._values += 1
        self._value_pages += count
        head = NODE.pack(length & 0xFFFF, length >> 16, BIG, len(key))
        self._nodes.append(_even(head + key + _NUMBER.pack(number)))
        self._room -= size + 2
        return number, leaf

    def finish(self, map_size: int) -> tuple[list[Numbered], bytes]:
        """The last pages of the tree, and both meta pages, which make a file of all others."""
        pages = [self._close_leaf()] if self._nodes else []
        level, depth = self._leaves, min(len(self._leaves), 1)
        while len(level) > 1:
            above: list[tuple[bytes, int]] = []
            for children in _grouped(level):
                nodes = [_branch_node(number, key if place else b"")
                         for place, (key, number) in enumerate(children)]  # fmt: skip
                above.append((children[0][0], self.end))
                pages.append((self.end, _page(self.end, BRANCH, nodes)))
                self.end += 1
                self._branch_count += 1
            level, depth = above, depth + 1
        root = level[0][1] if level else NO_PAGE
        counts = (self._branch_count, self._leaf_count, self._value_pages, self._values)
        free = TREE.pack(PAGE_BYTES, _INTEGER_KEYS, 0, 0, 0, 0, 0, NO_PAGE)
        trees = free + TREE.pack(0, 0, depth, *counts, root)
        # The newer one first, as LMDB has it: each transaction takes the place of the last but one.
        metas = [
            _meta(number, map_size, trees + TAIL.pack(self.end - 1, CLOSING - number))
            for number in range(_METAS)
        ]
        return pages, b"".join(metas)

    def _close_leaf(self) -> Numbered:
        number = self.end
        leaf = number, _page(number, LEAF, self._nodes)
        self._leaves.append((self._first, number))
        self.end += 1
        self._leaf_count += 1
        self._nodes, self._room = [], PAGE_BYTES - PAGE.size
        return leaf


def _grouped(level: Sequence[tuple[bytes, int]]) -> Iterator[Sequence[tuple[bytes, int]]]:
    """The children of each branch: as many as it has room for, and never a single one."""
    begin = 0
    while begin < len(level):
        room, end = PAGE_BYTES - PAGE.size, begin
        while end < len(level):
            room -= 2 + _node_size(level[end][0] if end > begin else b"", 0)
            if room < 0:
                break
            end += 1
        if end == len(level) - 1:
            end -= 1
        yield level[begin:end]
        begin = end


def _branch_node(child: int, key: bytes) -> bytes:
    return _even(NODE.pack(child & 0xFFFF, child >> 16 & 0xFFFF, child >> 32, len(key)) + key)


def _node_size(key: bytes, behind: int) -> int:
    size = NODE.size + len(key) + behind
    return size + size % 2


def _even(node: bytes) -> bytes:
    return node + bytes(len(node) % 2)


def _page(number: int, kind: int, nodes: Sequence[bytes]) -> bytes:
    """A page of a tree: places of its nodes from the front, the nodes from the back."""
    place, places = PAGE_BYTES, bytearray()
    for node in nodes:
        place -= len(node)
        places += place.to_bytes(2, "little")
    lower = PAGE.size + len(places)
    head = PAGE.pack(number, 0, kind, lower, place)
    return head + places + bytes(place - lower) + b"".join(reversed(nodes))


def _meta(number: int, map_size: int, trees: bytes) -> bytes:
    content = META.pack(MAGIC, VERSION, 0, map_size) + trees
    return (PAGE.pack(number, 0, _META_FLAG, 0, 0) + content).ljust(PAGE_BYTES, b"\0")
