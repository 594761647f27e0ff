"""Records to zstd frames and back: one frame a record, with its size and its checksum."""

import zstandard

from patchpress.readers.errors import StoreDamaged

# RFC 8878, 3.1.1. As the length of a header it would be above the limit: no record begins so.
MAGIC = b"\x28\xb5\x2f\xfd"


def is_frame(value: memoryview | bytes) -> bool:
    """Whether stored bytes are a zstd frame."""
    return value[:4] == MAGIC


class FrameCompressor:
    """Records to zstd frames; one a process, not safe between threads."""

    def __init__(self, level: int) -> None:
        # The checksum (XXH64 of the record) makes reading some 5 % slower. Without it most
        # flipped bits give other pixels and no error.
        self._zstd = zstandard.ZstdCompressor(
            level=level, write_content_size=True, write_checksum=True
        )

    def __call__(self, record: memoryview | bytes) -> bytes:
        """One frame, with the record's size in its header and its checksum at the end."""
        return self._zstd.compress(record)


class FrameDecompressor:
    """zstd frames to records; not safe between threads."""

    def __init__(self, limit: int) -> None:
        """`limit` is how many bytes a record may have; a frame that promises more is refused."""
        self._zstd = zstandard.ZstdDecompressor()
        self._limit = limit

    def __call__(self, value: memoryview | bytes) -> memoryview:
        """The record inside a frame.

        A frame's own checksum is compared; frames of other writers may have none.

        Raises:
            StoreDamaged: the value is no whole zstd frame, or differs from its checksum.
        """
        try:
            size = zstandard.frame_content_size(value)
            if size < 0:
                raise zstandard.ZstdError("a frame without its size")
            if size > self._limit:
                raise zstandard.ZstdError(f"it promises {size:,} bytes, not {self._limit:,}")
            # At once, since a stream gives all bytes before it has seen the checksum.
            record = self._zstd.decompress(value, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise StoreDamaged(f"a record is no whole zstd frame ({error})") from None
        if len(record) != size:
            raise StoreDamaged(f"a zstd frame has {len(record)} bytes, not {size}")
        return memoryview(record)
