"""The ways in which a file in a zip archive may be packed, and how each is undone.

Nothing gives more bytes than the archive says that a file has, so that a few bytes which unfold to
gigabytes take no memory.
"""

import struct
import zlib
from collections.abc import Callable
from typing import Any

from patchpress.converter.sources.compression import WINDOW

STORED = 0
_DEFLATE, _BZIP2, _LZMA, _ZSTD, _XZ = 8, 12, 14, 93, 95
# Those that no library here reads.
_NAMES = {
    1: "shrunk",
    6: "imploded",
    9: "Deflate64",
    10: "PKWARE's imploding",
    18: "IBM TERSE",
    19: "IBM LZ77",
    20: "zstd, under its old number",
    94: "MP3",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
    99: "encryption (AES)",
}
_LZMA_HEAD = struct.Struct("<2BH")
_LZMA_PROPERTIES = 5


class MemberDamaged(Exception):
    """Packed bytes that are wrong; the message says what is."""


def method_name(method: int) -> str:
    """What sentences call a method that is not read."""
    return _NAMES.get(method, "an unknown one") + f", method {method}"


def unpacked(method: int, data: bytes, size: int) -> bytes:
    """The bytes of a file.

    Args:
        method: how they are packed, one that is read and not `STORED`.
        data: its packed bytes.
        size: how many bytes they unfold to, as the archive says.

    Raises:
        MemberDamaged: it is damaged, or has more or fewer bytes.
    """
    try:
        given, is_whole = _METHODS[method](data, size)
    except MemoryError:
        raise
    except Exception as error:  # each library has its own
        raise MemberDamaged(f"it cannot be unpacked ({error})") from None
    if len(given) > size or (len(given) == size and not is_whole):
        raise MemberDamaged(f"it does not end after the {size:,} bytes that the archive says")
    if len(given) < size:
        raise MemberDamaged(f"it has {len(given):,} bytes, and the archive says {size:,}")
    return given


def crc32(data: bytes | bytearray | memoryview, before: int = 0) -> int:
    """The CRC-32 of bytes that come after others."""
    return int(_CRC32(data, before))


def _faster(name: str) -> Any:
    """What isal has instead of zlib, in a fraction of its time; zlib's own without isal."""
    try:
        from isal import isal_zlib
    except ModuleNotFoundError:
        return getattr(zlib, name)
    return getattr(isal_zlib, name)


_CRC32 = _faster("crc32")
_INFLATE = _faster("decompressobj")


def _deflate(data: bytes, size: int) -> tuple[bytes, bool]:
    stream = _INFLATE(-15)
    return stream.decompress(data, size + 1), stream.eof


def _bzip2(data: bytes, size: int) -> tuple[bytes, bool]:
    import bz2

    stream = bz2.BZ2Decompressor()
    return stream.decompress(data, size + 1), stream.eof


def _lzma(data: bytes, size: int) -> tuple[bytes, bool]:
    import lzma

    _, _, nbytes = _LZMA_HEAD.unpack_from(data)
    if nbytes != _LZMA_PROPERTIES:
        raise ValueError(f"{nbytes} bytes of properties")
    start = _LZMA_HEAD.size + nbytes
    # As a file of the old kind, whose header has the properties and the size: it has a limit of
    # memory. No dictionary needs to be larger than the file.
    properties = data[_LZMA_HEAD.size : start]
    dictionary = min(int.from_bytes(properties[1:], "little"), max(size, 1 << 12))
    head = properties[:1] + dictionary.to_bytes(4, "little") + b"\xff" * 8
    stream = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=WINDOW + (size << 1))
    given = stream.decompress(head + data[start:], size + 1)
    return given, True  # an end is marked only if a flag says so; the CRC-32 tells


def _zstd(data: bytes, size: int) -> tuple[bytes, bool]:
    import zstandard

    stream = zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(data)
    return stream.read(size + 1), True


def _xz(data: bytes, size: int) -> tuple[bytes, bool]:
    import lzma

    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=WINDOW)
    return stream.decompress(data, size + 1), stream.eof


_METHODS: dict[int, Callable[[bytes, int], tuple[bytes, bool]]] = {
    _DEFLATE: _deflate,
    _BZIP2: _bzip2,
    _LZMA: _lzma,
    _ZSTD: _zstd,
    _XZ: _xz,
}
READ = (STORED, *_METHODS)
"""The methods of files that can be read."""
