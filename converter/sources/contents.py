"""What a file is, by its first bytes: an archive, or one of the things that come instead of one."""

import re
from typing import NamedTuple

BLOCK = 512  # bytes of a tar header
START = BLOCK  # bytes that tell

_CHECKSUM = slice(148, 156)  # of a header: the sum of its bytes, in octal digits
_AGAIN = "download it again"
_UNPACK = "unpack it and give the folder"
_JOIN = "join its parts with `zip -s 0 NAME.zip --out whole.zip`, and give that"


class Content(NamedTuple):
    """What a file is."""

    name: str
    """What sentences call it, as in ``a web page``."""
    way_out: str = ""
    """What to do if it stands in the place of an archive; empty if it can be read as one."""


TAR = Content("a tar archive")
GZIP = Content("gzip data")
ZSTD = Content("zstd data")
XZ = Content("xz data")
BZIP2 = Content("bzip2 data")
ZIP = Content("a zip archive")
ZIP_EMPTY = Content("an empty zip archive", _AGAIN)
STREAMED = (TAR, GZIP, ZSTD, XZ, BZIP2)
"""What an archive may be that is read from its beginning to its end."""
PARQUET = Content("a Parquet file", "give it as a table, with --path")
TEXT = Content("a text", _AGAIN)
NOTHING = Content("empty", _AGAIN)
ZEROS = Content("nothing but zeros", f"its download did not end: {_AGAIN}")

_MAGIC: tuple[tuple[bytes, Content], ...] = (
    (b"\x1f\x8b", GZIP),
    (b"\x28\xb5\x2f\xfd", ZSTD),
    (b"version https://git-lfs", Content("a Git LFS pointer", "fetch it with `git lfs pull`")),
    (b"/annex/objects/", Content("a git-annex pointer", "fetch it with `git annex get`")),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP_EMPTY),
    (b"PK\x07\x08", Content("the first part of a zip archive that was split", _JOIN)),
    (b"\xfd7zXZ\0", XZ),
    (b"BZh", BZIP2),
    (b"7z\xbc\xaf\x27\x1c", Content("a 7z archive", _UNPACK)),
    (b"Rar!\x1a\x07", Content("a rar archive", _UNPACK)),
    (b"\x04\x22\x4d\x18", Content("an lz4 file", _UNPACK)),
    (b"LZIP", Content("an lzip file", _UNPACK)),
    (b"\x1f\x9d", Content("a file of `compress`", _UNPACK)),
    (b"\x89HDF\r\n\x1a\n", Content("an HDF5 file", "give the files as they were published")),
    (b"PAR1", PARQUET),
    (b"II*\0", Content("a TIFF", "give the folder that holds it")),
    (b"MM\0*", Content("a TIFF", "give the folder that holds it")),
    (b"%PDF-", Content("a PDF", _AGAIN)),
)
_TEXTS: tuple[tuple[str, Content], ...] = (
    (r"(?i)<!doctype html|<html|<head|<body", Content("a web page (HTML)", _AGAIN)),
    (r"(?i)<\?xml|<error", Content("an XML text, perhaps the answer of a server", _AGAIN)),
    (r"[\[{]\s*[\"}\]{]", Content("a JSON text, perhaps the answer of a server", _AGAIN)),
)
# A frame of zstd that has no data has any of 16 first bytes.
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)
_PRINTABLE = frozenset(b"\t\n\r\f" + bytes(range(32, 127)))


def content(start: bytes) -> Content | None:
    """What a file is that begins with these bytes (`START` of them, or all it has).

    None if nothing is known that begins so.
    """
    if not start:
        return NOTHING
    if is_tar_header(start[:BLOCK]):
        return TAR
    if _SKIPPABLE.match(start):
        return ZSTD
    for magic, found in _MAGIC:
        if start.startswith(magic):
            return found
    if not any(start):
        return ZEROS
    return _text(start)


def _text(start: bytes) -> Content | None:
    """What text a file is; None if it is no text."""
    text = start.removeprefix(b"\xef\xbb\xbf").decode("latin-1").lstrip()
    for pattern, found in _TEXTS:
        if re.match(pattern, text):
            return found
    return TEXT if _PRINTABLE.issuperset(start) else None


def is_tar_header(block: bytes) -> bool:
    """Whether a block is the header of an entry of a tar archive, by its checksum."""
    if len(block) < BLOCK or not any(block):
        return False
    try:
        said = int(block[_CHECKSUM].strip(b" \0"), 8)
    except ValueError:
        return False
    # The eight bytes of the sum itself count as blanks.
    return said == sum(block) - sum(block[_CHECKSUM]) + 8 * 32
