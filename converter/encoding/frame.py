"""The frame that a record is encoded into: whole pages, with room before it for a page header."""

from patchpress.readers.format.btree import PAGE

PAGE_BYTES = 4096  # LMDB reads files of other page sizes than its machine's, too


ROOM = PAGE.size
"""Bytes before a value on its first page."""


SMALLEST = 2048
"""Values of so many bytes never lie in the tree (``mdb.c``: ``me_nodemax`` is 2038)."""


def pages_of(length: int) -> int:
    """How many pages a value of so many bytes takes."""
    return -(-(ROOM + length) // PAGE_BYTES)


def frame_size(length: int) -> int:
    """Bytes of these pages."""
    return pages_of(length) * PAGE_BYTES
