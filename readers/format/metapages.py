"""The meta pages of an LMDB data file, which say where its tree begins, and of which format it is.

The layout is that of LMDB 0.9 with 64-bit page numbers, which LMDB calls data format 1 (``mdb.c``:
``MDB_meta``, ``MDB_db``, ``MDB_page``). Whoever writes such pages takes the layout from here, too.
"""

from pathlib import Path
from struct import Struct
from typing import NamedTuple, Protocol

MAGIC, VERSION = 0xBEEFC0DE, 1
META = Struct("<IIQQ")  # magic, data format, address, map size; they follow the page header
TREE = Struct("<IHHQQQQQ")  # the fields of `TreeHead`
TAIL = Struct("<QQ")  # last page, transaction
PAGE = Struct("<QHHHH")  # number, pad, flags, lower, upper
NO_PAGE = (1 << 64) - 1
_HEAD = 64  # bytes of a data file that tell its format
_SMALLEST, _LARGEST = 512, 1 << 16  # bytes of a page; LMDB takes the size of the system's own
_LMDB = {1: "LMDB 0.9", 2: "a version of LMDB before 1.0", 3: "LMDB 1.0"}


class Bytes(Protocol):
    """The bytes of a data file: in memory, on a map, or read slice by slice."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, part: slice, /) -> memoryview:
        """Some of them."""
        ...


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


class MetaPage(NamedTuple):
    """What a meta page says (``MDB_meta``)."""

    free: TreeHead
    main: TreeHead
    last_page: int
    transaction: int


def meta_pages(data: Bytes) -> list[MetaPage]:
    """The meta pages of a data file: two, fewer if it is damaged."""
    first = _meta_page(data, 0)
    # If the first page was never written, the size of a page is not known.
    second = [first.free.page_size] if first else [4096, 8192, 16384, 32768, 65536]
    return [page for offset in (0, *second) if (page := _meta_page(data, offset))]


def _meta_page(data: Bytes, offset: int) -> MetaPage | None:
    """The meta page at an offset, or None if there is none."""
    trees = PAGE.size + META.size
    tail = trees + 2 * TREE.size
    page = data[offset : offset + tail + TAIL.size]
    if len(page) < tail + TAIL.size:
        return None
    magic, version, _, _ = META.unpack_from(page, PAGE.size)
    free = TreeHead._make(TREE.unpack_from(page, trees))
    main = TreeHead._make(TREE.unpack_from(page, trees + TREE.size))
    last_page, transaction = TAIL.unpack_from(page, tail)
    size = free.page_size
    if (magic, version) != (MAGIC, VERSION):
        return None
    if not _SMALLEST <= size <= _LARGEST or size & (size - 1):
        return None
    return MetaPage(free=free, main=main, last_page=last_page, transaction=transaction)


def other_format(data: Bytes, path: Path) -> str:
    """The sentence about a data file of another format, told by its first bytes; else empty."""
    head = data[:_HEAD]
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
