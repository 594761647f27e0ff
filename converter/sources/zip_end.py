"""Where the directory of a zip archive lies, as the record at the end of the archive tells."""

import struct
from typing import NamedTuple

from patchpress.converter.sources.contents import NOTHING, START, ZIP, ZIP_EMPTY, content
from patchpress.converter.sources.zip_bytes import ZipBytes
from patchpress.readers.errors import SourceError

_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_MAGIC = b"PK\x06\x07"
_END_64 = struct.Struct("<4sQ2H2L4Q")
_END_64_MAGIC = b"PK\x06\x06"
_LONGEST_COMMENT = 0xFFFF
_UNTOLD_16, _UNTOLD_32 = 0xFFFF, 0xFFFFFFFF  # the zip64 record has the number
LEAST_ENTRY = 46  # bytes of an entry of the directory
_AGAIN = "download it again, or pack it anew"


class ZipEnd(NamedTuple):
    """What the record at the end of an archive says."""

    entries: int
    start: int
    """Where the directory begins, in the bytes of the files."""
    size: int
    """Bytes of the directory."""
    before: int
    """Bytes that were put before the archive: places that it names are counted from there."""
    after: int
    """Bytes after the end of the archive, which belong to nothing."""


def zip_end(archive: ZipBytes) -> ZipEnd:
    """Find the record at the end of an archive.

    Raises:
        SourceError: there is none, or what it says cannot be.
    """
    tail_start = max(0, archive.size - _LONGEST_COMMENT - _END.size)
    tail = archive.read(_LONGEST_COMMENT + _END.size, tail_start)
    found = _find(tail)
    if found is None:
        raise SourceError(_no_end(archive))
    at, after = found
    _, disk, first_disk, here, entries, size, offset, _ = _END.unpack_from(tail, at)
    directory_end = tail_start + at
    whole = _zip64(archive, directory_end)
    if whole is not None:
        directory_end, disk, first_disk, here, entries, size, offset = whole
    elif _UNTOLD_32 in (size, offset) or _UNTOLD_16 in (disk, first_disk):
        raise SourceError(f"{archive.path} lacks the zip64 record at its end: {_AGAIN}")
    if disk or first_disk or here != entries:
        raise SourceError(
            f"{archive.path} is one part of a zip archive that was split: join its parts with "
            f"`zip -s 0 {archive.path.name} --out whole.zip`, and give that"
        )
    start = directory_end - size
    if start < 0 or offset > start:
        lost = f", {offset - start:,} bytes are missing before it" if start >= 0 else ""
        raise SourceError(
            f"{archive.path} has its directory elsewhere than its end says{lost}: {_AGAIN}"
        )
    if entries * LEAST_ENTRY > size:
        raise SourceError(
            f"{archive.path} says that it has {entries:,} files, but its directory has no more "
            f"than {size:,} bytes: {_AGAIN}"
        )
    return ZipEnd(entries, start, size, start - offset, after)


def _find(tail: bytes) -> tuple[int, int] | None:
    """Where the record begins in the last bytes, and how many bytes follow its comment.

    One after which the archive ends is the right one: a comment may have the same first bytes.
    """
    nearest = None
    at = len(tail)
    while (at := tail.rfind(_END_MAGIC, 0, at)) >= 0:
        if at + _END.size <= len(tail):
            after = len(tail) - at - _END.size - _END.unpack_from(tail, at)[-1]
            if not after:
                return at, 0
            if after > 0 and nearest is None:
                nearest = at, after
        at += len(_END_MAGIC) - 1  # rfind takes what lies before
    return nearest


def _zip64(archive: ZipBytes, end: int) -> tuple[int, int, int, int, int, int, int] | None:
    """Where the zip64 record begins, and what it says; None if there is none."""
    at = end - _LOCATOR.size
    data = archive.read(_LOCATOR.size, at) if at >= 0 else b""
    if len(data) < _LOCATOR.size or not data.startswith(_LOCATOR_MAGIC):
        return None
    _, _, said, disks = _LOCATOR.unpack(data)
    # If something was put before the archive, the record lies after the place that is named.
    for place in (at - _END_64.size, said):
        if 0 <= place <= at - _END_64.size:
            record = archive.read(_END_64.size, place)
            if record.startswith(_END_64_MAGIC):
                _, _, _, _, disk, first, here, entries, size, offset = _END_64.unpack(record)
                disk = max(disk, disks - 1 if disks else 0)
                return place, disk, first, here, entries, size, offset
    raise SourceError(f"{archive.path} has a damaged zip64 record at its end: {_AGAIN}")


def _no_end(archive: ZipBytes) -> str:
    """The sentence about a file without the record."""
    found = content(archive.read(START, 0))
    if found is NOTHING:
        return f"{archive.path} is empty: {_AGAIN}"
    if found is not None and found not in (ZIP, ZIP_EMPTY):
        return f"{archive.path} is {found.name}: {found.way_out or 'give it its own ending'}"
    return (
        f"{archive.path} has no end of a zip archive: its download did not end, or it is one part "
        "of several; download it again"
    )
