"""The files of one patch in a zip archive: where they lie, and how a process reads them.

A patch carries the places of its files, so that a worker process reads them itself: as a rule one
system call a file, which puts the pixels of a stored one into the record at once. The CRC-32 of
every file is compared with the archive's directory.
"""

import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from patchpress.converter.shortage import shortage
from patchpress.converter.sources.file_run import ArchivePlaces
from patchpress.converter.sources.files import Buffer, check_size, copy_into
from patchpress.converter.sources.zip_bytes import Identity, ZipBytes
from patchpress.converter.sources.zip_directory import LOCAL_HEADER
from patchpress.converter.sources.zip_methods import STORED, MemberDamaged, crc32, unpacked
from patchpress.readers.errors import PatchError, PatchpressError, SourceError

OPENED = 32  # archives that a process holds open
_PLACE = struct.Struct("<QQQIHH")  # as zip_directory.PLACE has it
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_MAGIC = b"PK\x03\x04"
_SLACK = 4096  # bytes by which a small file may grow when it is packed


class ZippedPlace(NamedTuple):
    """Where a file lies, and how it is packed, as `zip_directory.PLACE` has it."""

    offset: int
    packed: int
    size: int
    crc: int
    method: int
    name_bytes: int


class ZippedArchive(NamedTuple):
    """The files of an archive, as they were when its directory was read."""

    files: tuple[str, ...]
    identity: tuple[Identity, ...]


class ZippedFiles:
    """The places of the files of one patch in an archive. It can be pickled, and is small."""

    __slots__ = ("_archive", "_names", "_places", "fault")

    def __init__(
        self, archive: ZippedArchive, names: tuple[str, ...], places: bytes, fault: str = ""
    ) -> None:
        """Take the names of files of one folder, and the `PLACE` of each."""
        self._archive, self._names, self._places = archive, names, places
        self.fault = fault
        """A sentence about what is wrong with the files as a whole; empty if nothing is."""

    @property
    def values(self) -> tuple[object, ...]:
        """Plain values, as JSON has them, from which another process makes the same object."""
        places = b2a_base64(self._places, newline=False).decode("ascii")
        return self._archive.files, self._archive.identity, self._names, places, self.fault

    @classmethod
    def from_values(cls, values: Sequence[Any]) -> "ZippedFiles":
        """What `values` gave."""
        files, identity, names, places, fault = values
        known = ZippedArchive(tuple(files), tuple(map(tuple, identity)))
        return cls(known, tuple(names), a2b_base64(places), fault)

    def stored_places(self) -> ArchivePlaces:
        """Where the files lie, if they are not compressed.

        Raises:
            PatchError: one is.
            SourceError: as `open`.
        """
        archive, found = _opened(self._archive), dict[str, tuple[int, int]]()
        for name, values in zip(self._names, _PLACE.iter_unpack(self._places), strict=True):
            place = ZippedPlace._make(values)
            if place.method != STORED:
                raise PatchError(
                    f"{archive.path} has {name} compressed, and nothing can be read in its place "
                    "then: `patchpress convert` makes a store of it"
                )
            head = bytearray(LOCAL_HEADER)
            archive.readv([head], place.offset)
            *_, name_bytes, extra = _LOCAL.unpack(head)
            found[name] = place.offset + LOCAL_HEADER + name_bytes + extra, place.size
        return ArchivePlaces(str(archive.path), found)

    def __reduce__(self) -> tuple[object, ...]:
        return ZippedFiles, (self._archive, self._names, self._places, self.fault)

    def announce(self) -> None:
        """Tell the disk of the files, and of their local headers.

        Raises:
            SourceMissing, SourceError: as `open`.
        """
        archive = _opened(self._archive)
        begin = end = 0  # of what is told at once: as a rule files lie one after the other
        for offset, packed, _, _, _, name_bytes in sorted(_PLACE.iter_unpack(self._places)):
            nbytes = LOCAL_HEADER + name_bytes + archive.extra + packed
            if offset - end > _SLACK:
                archive.announce(begin, end - begin)
                begin = offset
            end = offset + nbytes
        archive.announce(begin, end - begin)

    def open(self, folder: str, memory: memoryview | None) -> "FilesInZip":
        """The files, to be read.

        Args:
            folder: what sentences call the folder of the files.
            memory: is not needed, since nothing was read yet.

        Raises:
            PatchError: the files have a fault.
            SourceError: the archive is not there, or has become another one.
        """
        del memory
        if self.fault:
            raise PatchError(self.fault)
        places = map(ZippedPlace._make, _PLACE.iter_unpack(self._places))
        return FilesInZip(
            _opened(self._archive), folder, dict(zip(self._names, places, strict=True))
        )


class FilesInZip:
    """The files of one patch, read from an archive that is held open."""

    def __init__(self, archive: ZipBytes, folder: str, files: Mapping[str, ZippedPlace]) -> None:
        """Take the places of the files by name; `folder` is what sentences call their folder."""
        self._archive, self._folder, self._files = archive, folder, files

    def path(self, name: str) -> str:
        """The path of a file: that of the archive, and the one inside it."""
        return f"{self._folder}/{name}"

    def names(self) -> Iterable[str]:
        """The names of all files."""
        return self._files.keys()

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._files

    def readv(self, name: str, into: Sequence[Buffer]) -> int:
        """Fill buffers with a file; gives how many bytes of it they took."""
        place = self._place(name)
        if place.method == STORED and place.size <= sum(map(len, into)):
            return self._read_stored(name, place, into)
        return copy_into(memoryview(self._unpacked(name, place)), into)

    def read(self, name: str, most: int | None = None) -> bytes:
        """All bytes of a file."""
        place = self._place(name)
        check_size(self.path(name), place.size, most)
        return self._unpacked(name, place)

    def close(self) -> None:
        """Do nothing: the archive stays open for the next patch."""

    def _read_stored(self, name: str, place: ZippedPlace, into: Sequence[Buffer]) -> int:
        """Fill buffers, which have room for it, with a file that is not compressed."""
        if place.packed != place.size:
            raise self._damaged(name, "its two sizes differ")
        buffers: list[Buffer] = []
        left = place.size
        for buffer in into:
            if left < len(buffer):
                buffer = memoryview(buffer)[:left]
            buffers.append(buffer)
            left -= len(buffer)
        self._fill(name, place, buffers)
        crc = 0
        for buffer in buffers:
            crc = crc32(buffer, crc)
        self._check_crc(name, place, crc)
        return place.size

    def _unpacked(self, name: str, place: ZippedPlace) -> bytes:
        if place.method == STORED:
            whole = bytearray(place.size)
            self._read_stored(name, place, [whole])
            return bytes(whole)
        if place.packed > place.size + (place.size >> 3) + _SLACK:
            raise self._damaged(
                name, f"it takes {place.packed:,} bytes, more than the {place.size:,} that it has"
            )
        data = bytearray(place.packed)
        self._fill(name, place, [data])
        try:
            given = unpacked(place.method, bytes(data), place.size)
        except MemberDamaged as error:
            raise self._damaged(name, str(error)) from None
        self._check_crc(name, place, crc32(given))
        return given

    def _fill(self, name: str, place: ZippedPlace, into: Sequence[Buffer]) -> None:
        """Fill buffers with a file as it is packed; they are as long as that is."""
        archive = self._archive
        extra = archive.extra
        for _ in range(2):  # the second time with the right length of the local header
            head = bytearray(LOCAL_HEADER + place.name_bytes + extra)
            try:
                got = archive.readv([head, *into], place.offset)
            except OSError as error:
                short = shortage(error)
                if short:
                    raise PatchpressError(short) from None
                raise PatchError(f"{self.path(name)} cannot be read ({error.strerror})") from None
            if got < LOCAL_HEADER or not head.startswith(_LOCAL_MAGIC):
                raise self._damaged(name, "its local header is none")
            _, _, _, method, _, _, _, _, _, name_bytes, found = _LOCAL.unpack_from(head)
            if name_bytes != place.name_bytes or method != place.method:
                raise self._damaged(name, "its local header says something else than the directory")
            if found == extra:
                if got != len(head) + place.packed:
                    raise self._damaged(name, "the archive ends inside it")
                return
            extra = archive.extra = found
        raise self._damaged(name, "its local header changes while it is read")

    def _check_crc(self, name: str, place: ZippedPlace, crc: int) -> None:
        if crc != place.crc:
            raise self._damaged(
                name, f"its CRC-32 is {crc:08x}, and the archive says {place.crc:08x}"
            )

    def _place(self, name: str) -> ZippedPlace:
        try:
            return self._files[name]
        except KeyError:
            raise PatchError(f"{self.path(name)} is missing") from None

    def _damaged(self, name: str, what: str) -> PatchError:
        return PatchError(f"{self.path(name)} is damaged in the archive: {what}")


@lru_cache(maxsize=OPENED)
def _opened(archive: ZippedArchive) -> ZipBytes:
    """An archive that this process holds open; garbage collection closes it.

    Raises:
        SourceError: it has become another one since its directory was read.
    """
    opened = ZipBytes(archive.files)
    if opened.identity != archive.identity:
        raise SourceError(
            f"{opened.path} was changed while it was read: let it be whole, and run the same "
            "command again"
        )
    return opened
