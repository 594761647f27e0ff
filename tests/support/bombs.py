"""TIFFs of few bytes that promise or hold far more pixels than a patch has."""

import lzma
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import zstandard

Tag = tuple[int, str, Sequence[int]]
_TYPES = {"B": 1, "H": 3, "I": 4, "Q": 16, "d": 12}
SIZE = 120
MUCH = 1 << 28  # bytes, of zeros in few strips


def tiff(tags: Sequence[Tag], *blocks: bytes, big: bool = False) -> bytes:
    """A TIFF with these tags (number, type, values); its blocks follow the directory.

    A value of -1, -2, … stands for the offset of the first, second, … block.
    """
    word, inline, head = ("Q", 8, 16) if big else ("I", 4, 8)
    entry = 12 + 8 * big
    start = head + (8 if big else 2) + entry * len(tags) + inline
    outside, positions = b"", []
    for _, kind, values in tags:
        size = struct.calcsize(f"={len(values)}{kind}")
        positions.append(start + len(outside) if size > inline else None)
        outside += bytes(size if size > inline else 0)
    begin, places = start + len(outside), []
    for block in blocks:
        places.append(begin)
        begin += len(block)
    entries, outside = b"", b""
    for (tag, kind, values), position in zip(tags, positions, strict=True):
        known = [places[-value - 1] if value < 0 else value for value in values]
        packed = struct.pack(f"<{len(known)}{kind}", *known)
        if position is not None:
            outside += packed
            packed = struct.pack(f"<{word}", position)
        entries += struct.pack(f"<HH{word}", tag, _TYPES[kind], len(values))
        entries += packed.ljust(inline, b"\0")
    count = struct.pack("<Q" if big else "<H", len(tags))
    first = (
        struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) if big else struct.pack("<2sHI", b"II", 42, 8)
    )
    return first + count + entries + bytes(inline) + outside + b"".join(blocks)


def image(
    block: bytes,
    *more: Tag,
    size: tuple[int, int] = (SIZE, SIZE),
    compression: int = 1,
    bits: int = 16,
    blocks: int = 1,
    rows: int | None = None,
    count: int | None = None,
    big: bool = False,
) -> bytes:
    """One band in strips, all of which are the same block."""
    height, width = size
    tags: list[Tag] = [
        (256, "I", [width]),
        (257, "I", [height]),
        (258, "H", [bits]),
        (259, "H", [compression]),
        (262, "H", [1]),
        (273, "I", [-1] * blocks),
        (277, "H", [1]),
        (278, "I", [rows or height]),
        (279, "I", [len(block) if count is None else count] * blocks),
    ]
    replaced = {tag for tag, _, _ in more}
    kept = [tag for tag in tags if tag[0] not in replaced]
    return tiff(sorted([*kept, *more]), block, big=big)


def zeros(compress: Any, nbytes: int) -> bytes:
    """So many zeros, compressed piece by piece."""
    piece = bytes(1 << 20)
    packed = b"".join(compress.compress(piece) for _ in range(nbytes >> 20))
    return bytes(packed + compress.flush())


def _bombs() -> Iterator[tuple[str, bytes]]:
    large = (60_000, 60_000)
    tiny = bytes(16)
    yield "promises 7 GB in 150 bytes", image(tiny, size=large)
    yield (
        "promises it, and its directory does not parse",
        image(tiny, (259, "H", [1, 1]), size=large),
    )
    yield "BigTIFF", image(tiny, size=large, big=True)
    yield "bits", image(tiny, size=(200_000, 200_000), bits=1)
    yield "half floats", image(tiny, (339, "H", [3]), size=large)
    yield "complex", image(tiny, (339, "H", [6]), size=large, bits=64)
    yield "YCbCr", image(tiny, (262, "H", [6]), size=large, bits=8)
    yield "CIELAB", image(tiny, (262, "H", [8]), size=large, bits=8)
    yield "palette", image(tiny, (262, "H", [3]), (320, "H", [0] * 768), size=large, bits=8)
    yield "no height", image(tiny, size=(0, 120))
    yield "many bands", image(tiny, (277, "H", [65_535]), (258, "H", [16] * 65_535), size=large)
    yield "one row a strip", image(tiny, size=(2**31, 120), rows=1)
    yield (
        "strips one over another",
        image(bytes(860_000), size=(13_000, 430_000), blocks=13_000, rows=1),
    )
    yield (
        "deflate that promises 3.9 GB",
        image(zeros(zlib.compressobj(1), MUCH), size=(44_000, 44_000), compression=8),
    )
    packers = {8: zlib.compressobj(1), 50000: zstandard.ZstdCompressor(3).compressobj()}
    packers[34925] = lzma.LZMACompressor(preset=0)
    for compression, packer in packers.items():
        yield (
            f"256 MB in a strip, {compression}",
            image(zeros(packer, MUCH), compression=compression),
        )
    window = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    packed = zstandard.ZstdCompressor(compression_params=window).compressobj()
    yield "a zstd window of 2 GB", image(zeros(packed, 1 << 22), compression=50000)
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30, "preset": 0}]
    xz = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=[{**filters[0], "dict_size": 1 << 26}])
    wide = bytearray(zeros(xz, 1 << 20))
    # The byte of the filter that gives the size of its dictionary: 40 means 4 GB.
    wide[16 + 1] = 39
    wide[20:24] = zlib.crc32(bytes(wide[12:20])).to_bytes(4, "little")
    yield "an LZMA dictionary of 3 GB", image(bytes(wide), compression=34925)
    yield "LZW", image(b"\x80\x00" * 500_000, compression=5)
    yield "PackBits", image(b"\x81\x00" * 500_000, compression=32773)
    tiles: list[Tag] = [
        (322, "I", [65_536]),
        (323, "I", [65_536]),
        (324, "I", [-1]),
        (325, "I", [16]),
    ]
    yield "a huge tile", image(tiny, *tiles)
    yield "a huge deflated tile", image(zeros(zlib.compressobj(1), 1 << 26), *tiles, compression=8)
    yield "a huge tile of bits", image(tiny, *tiles, bits=1)
    yield "a million strips", image(tiny, (273, "I", [8] * 10**6), (279, "H", [16] * 10**6))
    yield (
        "a million strips of nothing",
        image(tiny, (273, "I", [0] * 10**6), (279, "H", [0] * 10**6)),
    )
    whole = image(tiny)
    at = whole.index(struct.pack("<HHI", 273, 4, 1))
    yield "a tag of 4 billion values", whole[: at + 4] + b"\xff\xff\xff\xff" + whole[at + 8 :]
    yield "60,000 tags", tiff([(tag, "H", [1]) for tag in range(1000, 61_000)])
    big = image(tiny, size=(120, 120), big=True)
    at = big.index(struct.pack("<HHQ", 273, 4, 1))
    yield "a BigTIFF tag of 2^60 values", big[: at + 4] + struct.pack("<Q", 2**60) + big[at + 12 :]
    yield "a directory beyond the end", b"II*\0" + struct.pack("<I", 0xFFFF_FFF0) + bytes(200)
    yield "a directory of itself", b"II*\0" + struct.pack("<I", 0) + bytes(200)


@cache
def bombs() -> dict[str, bytes]:
    """Name -> bytes of each; none of them is a band of 120 x 120 uint16."""
    return dict(_bombs())
