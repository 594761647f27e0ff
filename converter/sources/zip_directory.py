"""The directory of a zip archive: which files it has, where they lie, and how they are packed.

It lies at the end of the archive, is read once, and stays in memory as it is: 100 to 200 bytes a
file. What would make an archive ambiguous or dangerous is refused before any of its files is read:
two files of one name, files that lie over one another or outside of the archive, links, and paths
that lead out.
"""

import struct
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from patchpress.converter.sources.zip_bytes import ZipBytes
from patchpress.converter.sources.zip_end import LEAST_ENTRY, zip_end
from patchpress.converter.sources.zip_entries import MAGIC, entry_starts, folders_in_order
from patchpress.converter.sources.zip_names import (
    NameRefused,
    extra_fields,
    is_told,
    member_path,
)
from patchpress.readers.errors import SourceError

LOCAL_HEADER = 30  # bytes before the name
ENCRYPTED = 1 | 1 << 6 | 1 << 13  # of the flags
PLACE = np.dtype(
    [
        ("offset", "<u8"),
        ("packed", "<u8"),
        ("size", "<u8"),
        ("crc", "<u4"),
        ("method", "<u2"),
        ("name", "<u2"),
    ]
)
"""Where a file lies, and how it is packed: its local header, its bytes in the archive and unpacked,
their CRC-32, the method, and the bytes of its name as it is stored."""
_ENTRY = np.dtype(
    [
        ("magic", "<u4"),
        ("version", "u1"),
        ("system", "u1"),
        ("needed", "<u2"),
        ("flags", "<u2"),
        ("method", "<u2"),
        ("time", "<u4"),
        ("crc", "<u4"),
        ("packed", "<u4"),
        ("size", "<u4"),
        ("name", "<u2"),
        ("extra", "<u2"),
        ("comment", "<u2"),
        ("disk", "<u2"),
        ("text", "<u2"),
        ("mode", "<u4"),
        ("offset", "<u4"),
    ]
)
_MAGIC = int.from_bytes(MAGIC, "little")
_LENGTHS = struct.Struct("<3H")  # of name, extra fields and comment
_LENGTHS_AT = 28
_AT_ONCE = 1 << 14  # files whose names are looked at together
_ZIP64 = 1  # an extra field: numbers that need more than 32 bits
_MASK = 0xFFFFFFFF
_UNIX, _LINK = 3, 0xA
_KINDS = (0, 4, 8)  # of the mode of a Unix: untold, a folder, a file
_AGAIN = "download it again, or pack it anew"
Array = npt.NDArray[Any]


class ZipFolder(NamedTuple):
    """A folder of an archive that has files, and these, sorted by name."""

    path: str
    names: list[str]
    start: int
    """The number of its first file in the directory."""


class ZipDirectory:
    """The files of one archive, folder by folder."""

    def __init__(self, files: Sequence[str]) -> None:
        """Read the directory and look it over.

        Raises:
            SourceMissing: a file of the archive is not there.
            SourceError: the archive is not whole, or has something that is refused.
        """
        opened = ZipBytes(files)
        self.files, self.identity, self.path = opened.files, opened.identity, opened.path
        self._end = zip_end(opened)
        self._raw = opened.read(self._end.size, self._end.start)
        if len(self._raw) < self._end.size:
            raise SourceError(f"{self.path} became shorter while it was read: try again")
        self.untold = 0
        """How many names are in an encoding that the archive does not tell."""
        self.untold_name = ""
        """The first of them."""
        begins = entry_starts(self._raw, self._end.entries)
        every = np.asarray(self._begins()).astype(np.int64) if begins is None else begins
        entries = self._unpacked(every)
        places = self._long_places(every, entries)
        self._check_places(every, places)
        is_file = self._name_ends(every, entries) != ord("/")
        self._check_kinds(every[is_file], entries[is_file])
        self._folders: list[int] = []  # the number of the first file of each
        found = folders_in_order(self._raw, every[is_file], entries["name"][is_file])
        if found is None:
            order = np.flatnonzero(is_file)[self._in_order(every[is_file].tolist())]
        else:
            order, self._folders = np.flatnonzero(is_file), found
        self._at = every[order]
        self.places = places[order]
        """Of each file its `PLACE`."""
        self.places["offset"] += self._end.before
        self.flags = entries["flags"][order]
        """Of each file its flags."""

    def __len__(self) -> int:
        """How many files it has; folders do not count."""
        return len(self._at)

    @property
    def leftover(self) -> int:
        """Bytes after the end of the archive that belong to nothing."""
        return self._end.after

    def folders(self) -> Iterator[ZipFolder]:
        """Each folder that has files, in an order that has a folder after the one it lies in.

        Raises:
            SourceError: a path leads out of the archive, or is none.
        """
        raw, starts = self._raw, self._at + LEAST_ENTRY
        stops = starts + self.places["name"]
        begins, ends = array("q"), array("q")  # of some names, from the number `first` on
        first = 0
        for start, stop in pairwise((*self._folders, len(self._at))):
            if stop > first + len(begins):
                first, last = start, max(stop, start + _AT_ONCE)
                begins, ends = (array("q", of[first:last].tobytes()) for of in (starts, stops))
            own = slice(start - first, stop - first)
            at = begins[own.start]
            cut = raw.rfind(b"/", at, ends[own.start]) + 1
            folder = raw[at:cut] if cut else b""
            spans, skipped = zip(begins[own], ends[own], strict=True), len(folder)
            inside = b"\n".join([raw[at + skipped : end] for at, end in spans])
            if self._is_plain(folder, inside):
                names = inside.decode("ascii").split("\n")
                if len(names) == stop - start:
                    yield ZipFolder(folder[:-1].decode("ascii"), names, start)
                    continue
            paths = [self._path(number) for number in range(start, stop)]
            parent = paths[0].rpartition("/")[0]
            yield ZipFolder(parent, [path.rpartition("/")[2] for path in paths], start)

    def may_have(self, text: str) -> bool:
        """Whether the path of some file may have this text: False if none has."""
        return not text.isascii() or text.encode("ascii") in self._raw

    def find(self, path: str) -> list[int]:
        """The numbers of files whose path is this one, or ends with it after some folders."""
        name, ending = path.encode(), f"/{path}".encode()
        names = map(self._name, self._at.tolist())
        return [n for n, one in enumerate(names) if one == name or one.endswith(ending)]

    def first_paths(self, count: int) -> list[str]:
        """The paths of the first files."""
        return [self._path(number) for number in range(min(count, len(self)))]

    def _is_plain(self, folder: bytes, names: bytes) -> bool:
        """Whether a folder and the names in it, put together, need no more than to be decoded."""
        text = folder + names
        return (
            text.isascii()
            and folder[:1] != b"/"
            and b"./" not in folder
            and b"//" not in folder
            and b".." not in text
            and b"\\" not in text
            and b":" not in text
            and b"\0" not in text
        )

    def _path(self, number: int) -> str:
        """The path of a file."""
        at = int(self._at[number])
        raw, stored = self._raw, self._name(at)
        start = at + LEAST_ENTRY + len(stored)
        extra = raw[start : start + int.from_bytes(raw[at + 30 : at + 32], "little")]
        try:
            return member_path(stored, int(self.flags[number]), raw[at + 5], extra)
        except NameRefused as refusal:
            raise SourceError(f"{self.path} {refusal}") from None

    def _begins(self) -> "array[int]":
        """Where the entries begin in the directory.

        Raises:
            SourceError: it is cut, or an entry is none.
        """
        raw, end, lengths = self._raw, len(self._raw), _LENGTHS.unpack_from
        begins = array("Q")
        at = 0
        for _ in range(self._end.entries):
            if at + LEAST_ENTRY > end:
                raise self._damaged(at)
            begins.append(at)
            name, extra, comment = lengths(raw, at + _LENGTHS_AT)
            at += LEAST_ENTRY + name + extra + comment
        if at > end:
            raise self._damaged(begins[-1])
        return begins

    def _unpacked(self, begins: Array) -> Array:
        """The entries, as their first bytes have them.

        Raises:
            SourceError: one does not begin as entries do.
        """
        if not len(begins):
            return np.empty(0, _ENTRY)
        room = len(self._raw) - _ENTRY.itemsize + 1
        # As one value each: NumPy copies values with fields field by field.
        every = np.ndarray((room,), f"V{_ENTRY.itemsize}", self._raw, strides=(1,))
        entries: Array = every[begins].view(_ENTRY)
        wrong = np.flatnonzero(entries["magic"] != _MAGIC)
        if len(wrong):
            raise self._damaged(int(begins[wrong[0]]))
        return entries

    def _name_ends(self, begins: Array, entries: Array) -> Array:
        """The last byte of each name; one of a name without any is that before it."""
        raw = np.frombuffer(self._raw, np.uint8)
        ends: Array = raw[begins + (LEAST_ENTRY - 1) + entries["name"]]
        return ends

    def _check_kinds(self, begins: Array, entries: Array) -> None:
        """Refuse links, devices, and files without a name."""
        if not entries["name"].all():
            raise SourceError(f"{self.path} has a file without a name: {_AGAIN}")
        kinds = entries["mode"] >> 28
        wrong = np.flatnonzero((entries["system"] == _UNIX) & ~np.isin(kinds, _KINDS))
        if len(wrong):
            what = "a link" if kinds[wrong[0]] == _LINK else "a device"
            raise SourceError(
                f"{self.path} has {what} in it ({self._shown(int(begins[wrong[0]]))}): no "
                "published archive has, so it is refused"
            )

    def _check_places(self, begins: Array, places: Array) -> None:
        """Refuse files that lie over one another, or not before the directory."""
        start = places["offset"]
        stop = start + places["packed"] + (LOCAL_HEADER + places["name"].astype(np.uint64))
        last = self._end.start - self._end.before  # counted from where the archive begins
        outside = np.flatnonzero((stop > last) | (stop < start) | (start > last))
        if len(outside):
            shown = self._shown(int(begins[outside[0]]))
            raise SourceError(f"{self.path} has a file that lies outside of it ({shown}): {_AGAIN}")
        order = np.argsort(start, kind="stable")
        over = np.flatnonzero(stop[order][:-1] > start[order][1:])
        if len(over):
            one, other = (self._shown(int(begins[order[over[0] + step]])) for step in (0, 1))
            raise SourceError(
                f"{self.path} has files that lie over one another ({one} and {other}), as no "
                "published archive has: refused"
            )

    def _long_places(self, begins: Array, entries: Array) -> Array:
        """The places of files as the archive counts them, with those of their zip64 fields."""
        places = np.empty(len(entries), PLACE)
        for name in places.dtype.names or ():
            places[name] = entries[name]
        masked = (entries["packed"] == _MASK) | (entries["size"] == _MASK)
        masked |= entries["offset"] == _MASK
        for number in np.flatnonzero(masked).tolist():
            self._fill_long(int(begins[number]), entries[number], places, number)
        return places

    def _fill_long(self, at: int, entry: Any, places: Array, number: int) -> None:
        """Take the numbers of a file that stand in its zip64 field."""
        start = at + LEAST_ENTRY + int(entry["name"])
        for kind, data in extra_fields(self._raw[start : start + int(entry["extra"])]):
            if kind == _ZIP64:
                numbers = iter(struct.unpack_from(f"<{len(data) // 8}Q", data))
                for name in ("size", "packed", "offset"):
                    if entry[name] == _MASK:
                        places[name][number] = next(numbers, _MASK)
                return

    def _in_order(self, begins: Sequence[int]) -> Array:
        """The order of the files in which those of a folder lie together, sorted by name.

        It is noted where each folder begins, and how many names have an unknown encoding.

        Raises:
            SourceError: two files have one path.
        """
        found = self._as_they_lie(begins)
        if found is not None:
            self._folders = found
            return np.arange(len(begins))
        keys: dict[bytes, bytes] = {}
        keyed = []
        for number, at in enumerate(begins):
            folder, _, name = self._name(at).rpartition(b"/")
            # As folders are sorted: name by name.
            keyed.append((keys.setdefault(folder, folder.replace(b"/", b"\0")), name, number))
        keyed.sort()
        self._folders = []
        last_folder, last_name = b"/", b""
        for at, (folder, name, number) in enumerate(keyed):
            if folder != last_folder:
                self._folders.append(at)
            elif name == last_name:
                raise SourceError(
                    f"{self.path} has {self._shown(begins[number])} twice: pack it anew"
                )
            last_folder, last_name = folder, name
        return np.array([number for _, _, number in keyed], np.int64)

    def _as_they_lie(self, begins: Sequence[int]) -> list[int] | None:
        """Where each folder begins if the files are in order as they are; None if they are not."""
        folders: list[int] = []
        seen = set[bytes]()
        last, folder = b"", None
        is_sorted = True
        raw = self._raw
        for number, at in enumerate(begins):
            start = at + LEAST_ENTRY
            name = raw[start : start + raw[at + 28] + (raw[at + 29] << 8)]
            if not name.isascii() and not self._is_told(at, name):
                if not self.untold:
                    self.untold_name = name.decode(errors="backslashreplace")
                self.untold += 1
            if not is_sorted:
                continue
            own = name[: name.rfind(b"/") + 1]
            if own != folder:
                if own in seen:
                    is_sorted = False
                seen.add(own)
                folders.append(number)
                folder = own
            if name <= last:
                is_sorted = False
            last = name
        return folders if is_sorted else None

    def _is_told(self, at: int, name: bytes) -> bool:
        start = at + LEAST_ENTRY + len(name)
        flags = int.from_bytes(self._raw[at + 8 : at + 10], "little")
        extra = int.from_bytes(self._raw[at + 30 : at + 32], "little")
        return is_told(name, flags, self._raw[start : start + extra])

    def _name(self, at: int) -> bytes:
        start, raw = at + LEAST_ENTRY, self._raw
        return raw[start : start + raw[at + 28] + (raw[at + 29] << 8)]

    def _shown(self, at: int) -> str:
        """The path of an entry, for sentences."""
        return self._name(at).decode(errors="backslashreplace")

    def _damaged(self, at: int) -> SourceError:
        return SourceError(f"{self.path} has a damaged directory, at its byte {at:,}: {_AGAIN}")
