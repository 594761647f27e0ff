"""How many bytes a store takes, and whether its disk has them: asked before anything is written.

Refused is only what cannot fit: where the size is not known, or the disk may store less than it is
given, a conversion begins, and goes on when there is room again.
"""

import os
import re
from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

from converter.archives import files_size
from converter.description import ModalitySource
from converter.options import Codec, Layout, OnError
from converter.pages import PAGE_BYTES, ROOM, pages_of
from converter.request import Request
from converter.selection import Selection
from converter.tables import Tables
from converter.target import OWN_FILES
from readers.errors import TargetError
from readers.manifest import record_form

_NODE, _POINTER, _NUMBER = 8, 2, 8  # bytes: of a node, its place, a page number
# A node with its key and value beyond this has its value on pages of its own (me_nodemax).
_IN_NODE = ((PAGE_BYTES - ROOM) // 2 & ~1) - _POINTER
_METAS = 2
_TAR = 2048  # bytes beside a file in an archive at most: its header, a long name, the last block
_PART_LEFT = 0.95  # share of the patches that are whole at least, where damaged ones are left out
# Those that store every byte they are given. Others compress, or a server behind them may.
_PLAIN_DISKS = {"ext2", "ext3", "ext4", "xfs", "jfs", "tmpfs", "vfat", "exfat"}


class Records(NamedTuple):
    """Records of one modality: how many, and lengths that stand for all."""

    number: float
    lengths: Sequence[int]
    key: float
    """Bytes of a key."""


def data_bytes(kinds: Iterable[Records]) -> int:
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


class Need(NamedTuple):
    """What a conversion takes, as far as is known before it begins."""

    request: Request
    chosen: Selection
    tables: Tables | None

    def least(self, layout: Layout) -> int:
        """What a store of that layout takes at least; 0 where only its end tells."""
        options = self.request.options
        if options.compression is not Codec.none:
            return 0
        stop = options.on_error is OnError.stop
        kinds = [
            Records(count, [record_form(name, str(layout), modality.bands).size], 0)
            for name, count in self._least_counts().items()
            if not (modality := self.request.description.modalities[name]).any_size
            # Stacked records are all of one size, or an error.
            or (layout is Layout.stacked and stop)
        ]
        return int(data_bytes(kinds) * (1 if stop else _PART_LEFT))

    def _least_counts(self) -> dict[str, int]:
        """Modality -> how many patches there are at least.

        An archive may hold less than the tables name, but not less than fill its bytes.
        """
        counts, wanted = dict(self.chosen.counts), self.chosen.wanted
        for stream in self.chosen.streams:
            if self.tables is None or len(stream.modalities) > 1:
                continue
            (modality,) = stream.modalities
            least = min(self.tables.rows, stream.size // _most_in_archive(modality))
            if wanted is not None:
                least = min(least, wanted.most([modality.name])[modality.name])
            counts[modality.name] = counts.get(modality.name, 0) + least
        return counts

    def ways(self) -> list[str]:
        """What makes it less."""
        native = self.least(Layout.native)
        smaller = 0 < native < self.least(self.request.options.layout)
        layout = f" or --layout native (at least {size(native)})" if smaller else ""
        return [f"give --compression zstd{layout}", "take fewer patches by --limit or --modality"]


def _most_in_archive(modality: ModalitySource) -> int:
    """Bytes that a patch takes in an archive at most, compressed or not."""
    files = len(modality.bands) + 2  # a sidecar, and the folder
    return files_size(modality) + _TAR * files


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


def lack_of_room(store: Path, need: Need, *, begun: bool) -> str:
    """The sentence that says what lacks; empty where it is not certain that something does.

    `begun` says that an interrupted conversion goes on.
    """
    least = need.least(need.request.options.layout)
    disk, there = disk_of(store), room_there(store)
    if not disk.plain or least <= disk.most + there:
        return ""
    beside = f" beside the {size(there)} that are there already" if there else ""
    ways = ["make room and run the same command again"]
    if not begun:
        ways = ["make room", "choose another place", *need.ways()]
    return (
        f"{store} needs at least {size(least)}, but {size(disk.most)} are free on its disk{beside}"
        f": {', '.join(ways[:-1])}{', or ' if ways[1:] else ''}{ways[-1]}"
    )


def require_room(store: Path, need: Need, *, begun: bool) -> None:
    """Refuse a store for which there is no room: an earlier one, which would go, counts as room.

    Raises:
        TargetError: it cannot fit.
    """
    lack = lack_of_room(store, need, begun=begun)
    if lack:
        raise TargetError(lack)


def size(nbytes: float) -> str:
    """Bytes for people, in decimal units."""
    for unit, least in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if nbytes >= least:
            return f"{nbytes / least:,.1f} {unit}"
    return f"{nbytes / 1e3:,.1f} kB"
