"""The pages of an LMDB data file, made without LMDB: one value after the other, and a tree.

This works for values that come in ascending order of their keys and that are too large to lie in
the tree itself: then keys and lengths alone decide where each value lies, and a value can be
written to the disk from the memory where it is.

The file has, in this order: two meta pages (written last); the values, each on pages of its own,
and among them the leaves of the tree, each written when it has no room for one more key; at the
end the last leaf and the branches. `patchpress.readers.format.btree` describes each kind of page.
"""

from collections.abc import Iterator, Sequence
from mmap import mmap
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from patchpress.converter.encoding.frame import PAGE_BYTES, pages_of
from patchpress.readers.access.files import open_file
from patchpress.readers.errors import StoreError
from patchpress.readers.format.btree import BIG, BRANCH, LEAF, NODE, OVERFLOW, Tree
from patchpress.readers.format.metapages import MAGIC, META, NO_PAGE, PAGE, TAIL, TREE, VERSION

TRANSACTION = 2
"""Number of the last transaction that the meta pages made here name; LMDB's next one is 3."""
_VALUE_HEAD = Struct("<QHHI")  # number, pad, flags, count of pages: PAGE for what takes several
_METAS = 2
_META_FLAG = 0x08  # flag of a meta page (mdb.c: P_META)
_INTEGER_KEYS = 0x08  # flag of the tree of free pages (lmdb.h: MDB_INTEGERKEY)
_NUMBER = Struct("<Q")
_POINTER = 2  # bytes: where a node begins in its page


class Page(NamedTuple):
    """A page of the file, or several that lie together."""

    number: int
    data: bytes

    @property
    def offset(self) -> int:
        """The byte of the file where it begins."""
        return self.number * PAGE_BYTES


class _Child(NamedTuple):
    """A page of the tree as the branch above it names it."""

    first_key: bytes
    number: int


def put_head(frame: memoryview, number: int) -> None:
    """Write the 16 bytes before a value: they say that its pages begin with this number."""
    _VALUE_HEAD.pack_into(frame, 0, number, 0, OVERFLOW, len(frame) // PAGE_BYTES)


def aligned(page: bytes) -> memoryview:
    """A copy that begins at the start of a page of memory: direct writes ask for that."""
    memory = mmap(-1, len(page))
    memory[:] = page
    return memoryview(memory)


def is_closed(path: Path) -> bool:
    """Whether a file has both meta pages: what is written here has them only at its end."""
    try:
        file = open_file(path)
        return bool(file.size) and Tree(file.pages, path).is_whole
    except StoreError:
        return False


class Pages:
    """Gives each value of one file its pages, and makes the pages of the tree.

    The values themselves stay with the caller.
    """

    def __init__(self) -> None:
        self.end = _METAS
        """Number of the next page."""
        self._values = self._value_pages = self._leaf_count = self._branch_count = 0
        self._nodes: list[bytes] = []
        self._room = PAGE_BYTES - PAGE.size
        self._first_key = b""
        self._leaves: list[_Child] = []

    def add(self, key: bytes, length: int) -> tuple[int, Page | None]:
        """Give pages to the next value: the number of its first page.

        If the leaf had no room for its key, that leaf is returned, too: it lies before the value.
        """
        leaf = None
        size = _node_size(key, _NUMBER.size)
        if size + _POINTER > self._room:
            leaf = self._close_leaf()
        if not self._nodes:
            self._first_key = key
        number, count = self.end, pages_of(length)
        self.end += count
        self._values += 1
        self._value_pages += count
        head = NODE.pack(length & 0xFFFF, length >> 16, BIG, len(key))
        self._nodes.append(_even(head + key + _NUMBER.pack(number)))
        self._room -= size + _POINTER
        return number, leaf

    def finish(self, map_size: int) -> tuple[list[Page], bytes]:
        """The last pages of the tree, and both meta pages, which make a data file of all others.

        `map_size` is the size of the memory map that LMDB takes from the meta pages, in bytes.
        """
        pages = [self._close_leaf()] if self._nodes else []
        level, depth = self._leaves, min(len(self._leaves), 1)
        while len(level) > 1:
            above: list[_Child] = []
            for children in _split_level(level):
                above.append(_Child(children[0].first_key, self.end))
                pages.append(Page(self.end, _tree_page(self.end, BRANCH, _branch_nodes(children))))
                self.end += 1
                self._branch_count += 1
            level, depth = above, depth + 1
        root = level[0].number if level else NO_PAGE
        counts = (self._branch_count, self._leaf_count, self._value_pages, self._values)
        free = TREE.pack(PAGE_BYTES, _INTEGER_KEYS, 0, 0, 0, 0, 0, NO_PAGE)
        trees = free + TREE.pack(0, 0, depth, *counts, root)
        # LMDB writes meta page N % 2 in transaction N, so page 0 is that of the last one.
        metas = [
            _meta(number, map_size, trees + TAIL.pack(self.end - 1, TRANSACTION - number))
            for number in range(_METAS)
        ]
        return pages, b"".join(metas)

    def _close_leaf(self) -> Page:
        leaf = Page(self.end, _tree_page(self.end, LEAF, self._nodes))
        self._leaves.append(_Child(self._first_key, self.end))
        self.end += 1
        self._leaf_count += 1
        self._nodes, self._room = [], PAGE_BYTES - PAGE.size
        return leaf


def _split_level(level: Sequence[_Child]) -> Iterator[Sequence[_Child]]:
    """The children of each branch: as many as it has room for, but never a single one."""
    begin = 0
    while begin < len(level):
        room, end = PAGE_BYTES - PAGE.size, begin
        while end < len(level):
            room -= _POINTER + _node_size(level[end].first_key if end > begin else b"", 0)
            if room < 0:
                break
            end += 1
        if end == len(level) - 1:
            end -= 1
        yield level[begin:end]
        begin = end


def _branch_nodes(children: Sequence[_Child]) -> list[bytes]:
    """One node a child. The first has no key: it stands for all keys below the second's."""
    keys = [b"", *(child.first_key for child in children[1:])]
    return [
        _even(NODE.pack(number & 0xFFFF, number >> 16 & 0xFFFF, number >> 32, len(key)) + key)
        for key, (_, number) in zip(keys, children, strict=True)
    ]


def _node_size(key: bytes, value_bytes: int) -> int:
    size = NODE.size + len(key) + value_bytes
    return size + size % 2


def _even(node: bytes) -> bytes:
    """A node with a zero byte after it if its length is odd: nodes begin at even bytes."""
    return node + bytes(len(node) % 2)


def _tree_page(number: int, kind: int, nodes: Sequence[bytes]) -> bytes:
    """A page of the tree: pointers to its nodes from the front, the nodes from the back."""
    upper, pointers = PAGE_BYTES, bytearray()
    for node in nodes:
        upper -= len(node)
        pointers += upper.to_bytes(_POINTER, "little")
    lower = PAGE.size + len(pointers)
    head = PAGE.pack(number, 0, kind, lower, upper)
    return head + pointers + bytes(upper - lower) + b"".join(reversed(nodes))


def _meta(number: int, map_size: int, trees: bytes) -> bytes:
    content = META.pack(MAGIC, VERSION, 0, map_size) + trees
    return (PAGE.pack(number, 0, _META_FLAG, 0, 0) + content).ljust(PAGE_BYTES, b"\0")
