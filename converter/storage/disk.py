"""How many bytes a store takes on its disk, and how many are free there."""

import os
import re
from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM, pages_of
from patchpress.converter.storage.folder import OWN_FILES
from patchpress.readers.errors import TargetError

_NODE, _POINTER, _NUMBER = 8, 2, 8  # bytes: of a node, its place, a page number
# A node with its key and value beyond this has its value on pages of its own (me_nodemax).
_IN_NODE = ((PAGE_BYTES - ROOM) // 2 & ~1) - _POINTER
_METAS = 2
# Those that store every byte they are given. Others compress, or a server behind them may.
_PLAIN_DISKS = {"ext2", "ext3", "ext4", "xfs", "jfs", "tmpfs", "vfat", "exfat"}


class RecordSizes(NamedTuple):
    """RecordSizes of one modality: how many, and lengths that stand for all."""

    number: float
    lengths: Sequence[int]
    key: float
    """Bytes of a key."""


def data_bytes(kinds: Iterable[RecordSizes]) -> int:
    """The size of data.mdb with these records, its pages as full as keys in order make them."""
    pages, leaves, keys = 0.0, 0.0, 1.0
    for number, lengths, key in kinds:
        for length in lengths:
            share = number / len(lengths)
            own = _NODE + key + length > _IN_NODE
            pages += share * pages_of(length) if own else 0
            leaves += share * (_POINTER + _NODE + key + (_NUMBER if own else length))
        keys = max(keys, key)
    level = ceil(leaves / (PAGE_BYTES - ROOM))
    tree = level
    while level > 1:
        level = ceil(level * (_POINTER + _NODE + keys) / (PAGE_BYTES - ROOM))
        tree += level
    return PAGE_BYTES * (_METAS + tree + ceil(pages))


class Disk(NamedTuple):
    """The disk that a store is on, or will be."""

    free: int
    """Bytes that anybody may use."""
    most: int
    """Bytes that this process may use, as far as is known."""
    plain: bool
    """Whether it is known to store every byte that it is given."""


def disk_of(store: Path) -> Disk:
    """The disk of a store, whether the store is there or not.

    Raises:
        TargetError: the system does not tell.
    """
    path = store.absolute()
    while not path.exists():
        path = path.parent
    try:
        found = os.statvfs(path)
    except OSError as error:
        raise TargetError(
            f"{path} cannot be asked for its free room ({error.strerror}): choose another place"
        ) from None
    free = found.f_bavail * found.f_frsize
    # What a file system keeps back is kept for the superuser.
    most = found.f_bfree * found.f_frsize if os.geteuid() == 0 else free
    # Some that are no disks at all say 0 of 0.
    return Disk(free, most, found.f_blocks > 0 and _kind(path.resolve()) in _PLAIN_DISKS)


def _kind(path: Path) -> str:
    """The kind of file system that a path is on; empty where the system does not tell."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    kind, longest = "", -1
    for mount in mounts:
        fields, _, further = mount.partition(" - ")
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields.split(" ")[4])
        # Of several at one place the last counts.
        if path.is_relative_to(point) and len(point) >= longest:
            kind, longest = further.split(" ")[0], len(point)
    return kind


def room_there(store: Path) -> int:
    """Bytes on the disk that a store has already, to be used again or removed."""
    return sum(
        (store / name).stat().st_blocks * 512 for name in OWN_FILES if (store / name).is_file()
    )
