"""The names of the files in a zip archive, whose encoding an archive tells or leaves open."""

import struct
import zlib
from collections.abc import Iterator

from patchpress.converter.sources.tar_header import HeaderRefused, inside

UTF_8 = 1 << 11  # of the flags
_UNICODE_PATH = 0x7075  # an extra field
_FAT = (0, 10, 11, 14)  # systems whose programs write \ between folders
_FIELD = struct.Struct("<2H")
_PATH = struct.Struct("<BL")  # of the field: version, CRC-32 of the name that it replaces


class NameRefused(Exception):
    """A name that no file can have; the message continues the archive's name to a sentence."""


def member_path(raw: bytes, flags: int, system: int, extra: bytes) -> str:
    """The path of a file as it stands in an archive.

    Args:
        raw: the name as it is stored.
        flags: those of the entry.
        system: the number of the system on which it was packed.
        extra: its extra fields.

    Raises:
        NameRefused: it leads out of the archive, or is none.
    """
    name = raw.decode("ascii") if raw.isascii() else _decoded(raw, flags, extra)
    if "\0" in name:
        raise NameRefused(f"has a name with a zero byte ({name!r}): refused")
    if system in _FAT and "\\" in name and "/" not in name:
        name = name.replace("\\", "/")
    if not name or name[1:3] in (":/", ":\\"):
        raise NameRefused(f"has the path {name!r}, which leads out of it: refused")
    try:
        path = inside(name)
    except HeaderRefused as refusal:
        raise NameRefused(str(refusal)) from None
    if not path:
        raise NameRefused(f"has a file without a name ({name!r}): refused")
    return path


def is_told(raw: bytes, flags: int, extra: bytes) -> bool:
    """Whether an archive tells in what encoding a name is."""
    return raw.isascii() or bool(flags & UTF_8) or _unicode_path(raw, extra) is not None


def _decoded(raw: bytes, flags: int, extra: bytes) -> str:
    """A name that is not ASCII.

    Raises:
        NameRefused: it is not what it says.
    """
    told = raw if flags & UTF_8 else _unicode_path(raw, extra)
    try:
        if told is not None:
            return told.decode()
    except UnicodeDecodeError:
        raise NameRefused(
            f"has a name that is not UTF-8, though it says so ({raw!r}): pack it anew"
        ) from None
    try:
        return raw.decode()  # as many programs write it, without a word
    except UnicodeDecodeError:
        return raw.decode("cp437")  # what the format says


def _unicode_path(raw: bytes, extra: bytes) -> bytes | None:
    """The name in UTF-8 that stands beside the stored one; None if there is none."""
    for kind, data in extra_fields(extra):
        if kind == _UNICODE_PATH and len(data) > _PATH.size:
            _, crc = _PATH.unpack_from(data)
            if crc == zlib.crc32(raw):  # else the name was changed by a program that knows no other
                return data[_PATH.size :]
    return None


def extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """The extra fields of an entry, as far as they are whole."""
    at = 0
    while at + _FIELD.size <= len(extra):
        kind, nbytes = _FIELD.unpack_from(extra, at)
        at += _FIELD.size
        if at + nbytes > len(extra):
            return
        yield kind, extra[at : at + nbytes]
        at += nbytes
