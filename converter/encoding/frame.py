"""The frame that a record is encoded into: whole pages, with free bytes before the record.

LMDB stores a value that does not fit into the tree on pages of its own: 16 bytes of a page header,
then the value. A record in a frame lies as it will lie in the file, so nobody has to copy it.
"""

from patchpress.readers.format.metapages import PAGE

PAGE_BYTES = 4096  # LMDB reads files whose pages are larger or smaller than its machine's, too
ROOM = PAGE.size
"""Free bytes before a record, for the page header."""
SMALLEST = 2048
"""A value of so many bytes or more never lies in the tree (``mdb.c``: ``me_nodemax`` is 2038)."""


def pages_of(length: int) -> int:
    """How many pages a value of so many bytes takes, if it does not lie in the tree."""
    return -(-(ROOM + length) // PAGE_BYTES)


def frame_size(length: int) -> int:
    """Bytes of these pages."""
    return pages_of(length) * PAGE_BYTES
