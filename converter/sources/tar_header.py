"""What the header blocks of a tar archive say (POSIX.1-1988 ustar, pax, and GNU tar).

What is wrong with one is an error without the name of the archive, which `tar.TarStream` knows.
"""

import re
from typing import NamedTuple
from zlib import adler32

from patchpress.converter.sources.contents import is_tar_header
from patchpress.converter.text import shortened

PATH_LIMIT = 4096  # characters of a path, as systems have it: more is damage
# Kinds of entries.
FOLDERS = (b"5", b"D")  # GNU's incremental archives list the names in a folder after it
LONG_NAME, LONG_LINK = b"L", b"K"
PAX, PAX_GLOBAL, PAX_OF_SOLARIS = b"x", b"g", b"X"
ABOUT_NEXT = (LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL, PAX_OF_SOLARIS)
LABEL = b"V"  # the name of a volume, as `tar -V` writes it
CONTINUED = b"M"
FILES = (b"0", b"\0", b"7")  # a regular file, one of an old archive, a contiguous one
REFUSED = {
    b"1": "a link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}
VOLUME = (
    "is a part of a multi-volume archive (`tar -M`), which is not read: unpack the volumes "
    "together, and give the folder"
)
_SPARSE = "has a sparse file in it, which is not read: pack it without --sparse"
# An old writer whose field before this one is too long leaves a zero byte, as GNU tar knows.
_OCTAL = re.compile(rb" *\0? *([0-7]+)[ \0]*|[ \0]*")
_DIGITS = 20  # of a number in a pax header: more than any size or length has
_CHECKSUM = slice(148, 156)
_BLANKS = b" " * 8


class HeaderDamaged(Exception):
    """A header has something that none has; the message says what."""


class HeaderRefused(Exception):
    """An archive is of a kind that is not read; the message continues its name to a sentence."""


class Header(NamedTuple):
    """What a header block says."""

    kind: bytes
    size: int
    name: str


def is_header(block: bytes) -> bool:
    """Whether a block is a header, by its checksum; as `contents.is_tar_header`, but faster."""
    if not block.isascii():
        return is_tar_header(block)
    # The bytes of ASCII text of this length add up to less than Adler-32's modulus, so that its
    # lower half, which is one more than their sum, is exact.
    try:
        said = int(block[_CHECKSUM].strip(b" \0"), 8)
    except ValueError:
        return False
    counted = block[:148] + _BLANKS + block[156:]  # those of the sum count as blanks
    return said == (adler32(counted) & 0xFFFF) - 1


def parse_header(block: bytes) -> Header:
    """What a header block says whose checksum is right.

    Raises:
        HeaderDamaged: its size is no number.
    """
    return Header(block[156:157], _number(block[124:136]), _name(block))


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0":  # POSIX; GNU uses the bytes of the prefix for other things
        prefix = header[345:500].partition(b"\0")[0]
        name = prefix + b"/" + name if prefix else name
    return name.decode(errors="surrogateescape")


def _number(digits: bytes) -> int:
    """A number of a header: octal text, or in GNU archives, from 8 GiB on, a binary number.

    The first bit is set before a binary number.
    """
    if digits[0] & 0x80:
        return int.from_bytes(digits, "big") & ((1 << (8 * len(digits) - 1)) - 1)
    octal = _OCTAL.fullmatch(digits)
    if octal is None:
        raise _no_size(digits)
    return int(octal[1] or b"0", 8)


def _no_size(digits: bytes) -> HeaderDamaged:
    return HeaderDamaged(f"a size that is no number ({shortened(digits)})")


def parse_pax(text: bytes, path: str, size: int) -> tuple[str, int]:
    """The path and size that a pax header gives (POSIX.1-2001, pax Extended Header).

    `path` and `size` are given again if it says nothing of them.

    Raises:
        HeaderDamaged: it does not parse.
        HeaderRefused: it is of a sparse file, or of a part of an archive.
    """
    while text:
        length, space, _ = text.partition(b" ")
        is_length = space and length.isdigit() and len(length) <= _DIGITS
        if not is_length or not len(length) < int(length) <= len(text):
            raise HeaderDamaged("a pax header that does not parse")
        entry, text = text[len(length) + 1 : int(length) - 1], text[int(length) :]
        key, _, value = entry.partition(b"=")
        if key == b"path":
            path = value.decode(errors="surrogateescape")
        elif key == b"size":
            if not value.isdigit() or len(value) > _DIGITS:
                raise _no_size(value)
            size = int(value)
        elif key.startswith(b"GNU.sparse"):
            raise HeaderRefused(_SPARSE)
        elif key.startswith(b"GNU.volume") and key != b"GNU.volume.label":
            raise HeaderRefused(VOLUME)
    return path, size


def inside(name: str) -> str:
    """A path without a leading `./`.

    Raises:
        HeaderRefused: it leads out of the folder to which the archive would be unpacked.
    """
    if ".." not in name and "./" not in name and "//" not in name and name[:1] != "/":
        return name.rstrip("/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise HeaderRefused(f"has the path {name}, which leads out of it: refused")
    return "/".join(parts)
