"""How many bytes a store will take on its disk, and how many are free there."""

import os
import re
from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM, pages_of
from patchpress.converter.storage.ownership import OWN_FILES, shard_folders
from patchpress.readers.errors import TargetError
from patchpress.readers.format.manifest import DATA

# Bytes in a page of the tree: of a node, of the pointer to it, and of a page number.
_NODE, _POINTER, _NUMBER = 8, 2, 8
# If a node, its key and its value take more bytes, the value has pages of its own (me_nodemax).
_IN_NODE = ((PAGE_BYTES - ROOM) // 2 & ~1) - _POINTER
_METAS = 2
# File systems that store every byte that they are given. Others may compress, or their servers may.
_PLAIN_DISKS = {"ext2", "ext3", "ext4", "xfs", "jfs", "tmpfs", "vfat", "exfat"}


class RecordSizes(NamedTuple):
    """How large the records of one modality are."""

    number: float
    """How many there are; an estimate need not be a whole number."""
    lengths: Sequence[int]
    """Bytes of a sample of them, which stands for all."""
    key: float
    """Bytes of a key."""


def data_bytes(modalities: Iterable[RecordSizes]) -> int:
    """The size of data.mdb with these records, whose keys come in order and so fill its leaves."""
    pages, leaves, keys = 0.0, 0.0, 1.0
    for number, lengths, key in modalities:
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
    """The disk that a store is on, or will be on."""

    free: int
    """Bytes that every user may take."""
    most: int
    """Bytes that this process may take, which is more if it is the superuser's."""
    plain: bool
    """Whether its file system is known to store every byte that it is given."""


def disk_of(store: Path) -> Disk:
    """The disk of a store; the folder of the store need not be there.

    Raises:
        TargetError: the system does not tell its free room.
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
    # Blocks that a file system reserves are for the superuser.
    most = found.f_bfree * found.f_frsize if os.geteuid() == 0 else free
    # File systems that are no disk say that 0 of 0 blocks are free.
    return Disk(free, most, found.f_blocks > 0 and _kind(path.resolve()) in _PLAIN_DISKS)


def _kind(path: Path) -> str:
    """The kind of file system that a path is on, as "ext4"; empty if the system does not tell."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    kind, longest = "", -1
    for mount in mounts:
        fields, _, further = mount.partition(" - ")
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields.split(" ")[4])
        # If several are mounted at one point, the last one counts.
        if path.is_relative_to(point) and len(point) >= longest:
            kind, longest = further.split(" ")[0], len(point)
    return kind


def room_there(store: Path) -> int:
    """Bytes that the files of a store take on the disk already; they are used again or removed."""
    folders = (store / name for name in shard_folders(store))
    files = [store / name for name in OWN_FILES] + [f / DATA for f in folders]
    return sum(file.lstat().st_blocks * 512 for file in files if file.is_file())
