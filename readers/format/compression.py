"""How records are compressed: which codec a stored value has, and what packs and unpacks it."""

from collections.abc import Iterable
from typing import Protocol

from patchpress.readers.format.blosc2_chunk import ChunkCompressor, ChunkDecompressor, is_chunk
from patchpress.readers.format.record import RECORD_LIMIT
from patchpress.readers.format.zstd_frame import FrameCompressor, FrameDecompressor, is_frame

NONE, ZSTD, BLOSC2 = CODECS = ("none", "zstd", "blosc2")


class Compressor(Protocol):
    """Records to compressed values; one a process, not safe between threads."""

    def __call__(self, record: memoryview | bytes) -> memoryview | bytes:
        """The value of a record, valid until the next call."""
        ...


def compressor_of(codec: str, level: int, item_size: int) -> Compressor | None:
    """What compresses records with pixels of so many bytes; None if they are not compressed."""
    if codec == ZSTD:
        return FrameCompressor(level)
    return ChunkCompressor(item_size) if codec == BLOSC2 else None


def codec_of(value: memoryview | bytes) -> str:
    """The codec of a stored value, by how it begins; `none` of a record as it is."""
    if is_frame(value):
        return ZSTD
    return BLOSC2 if is_chunk(value) else NONE


class Decompressor:
    """Stored values of every codec to records; not safe between threads."""

    def __init__(self, limit: int = RECORD_LIMIT) -> None:
        """`limit` is how many bytes a record may have; a value that promises more is refused."""
        self._frame, self._chunk = FrameDecompressor(limit), ChunkDecompressor(limit)

    def __call__(
        self, value: memoryview | bytes, wanted: Iterable[tuple[int, int]] | None = None
    ) -> memoryview:
        """The record inside a value, which is the value itself if it is not compressed.

        It is valid until the next call. If only some bytes of it are `wanted` (first and end of
        each part), the others may have any values.

        Raises:
            StoreDamaged: the value is not whole, or differs from its own checksum.
        """
        if is_frame(value):
            return self._frame(value)
        return self._chunk(value, wanted) if is_chunk(value) else memoryview(value)
