"""gzip and zstd data decompressed: all members or frames of a file, and what comes after the last.

Both give the bytes that come before damage, and tell a file that is cut.
"""

import re
from typing import IO, Any, cast

import zstandard

from patchpress.converter.sources.streams import READ, Source, StreamDecompressor, Streams

WINDOW = 128 << 20
"""Bytes that a zstd frame may ask to be kept in memory: what the zstd program takes by default."""
WIDEST = 2 << 30
"""The largest window that zstd itself can decompress."""
_GZIP = 16 + 15  # wbits of zlib: a gzip header, and the largest window
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# A frame that has no data: any of 16 first bytes, these three, and its length in four bytes.
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)
_FRAME_START = 8  # bytes that tell how long the header of a frame is, or a frame without data
_FRAME_HEADER = 18  # bytes of the longest header
_DICTIONARY = (0, 1, 2, 4)  # bytes of a dictionary's number, by two bits of the header
_BLOCK_HEADER = 3
_REPEATED = 1  # the kind of a block that has one byte, whatever its length


class GzipReader(Streams):
    """Decompressed gzip, with all members of a file and zeros between and after them."""

    magic = _GZIP_MAGIC

    def _next_stream(self) -> StreamDecompressor:
        return _GzipMember()


class _GzipMember:
    """Decompresses one member, and keeps what it was given and did not take yet."""

    def __init__(self) -> None:
        self._member = _gzip_decompressor()
        self._left = b""

    @property
    def eof(self) -> bool:
        """Whether the member has come to its end."""
        return bool(self._member.eof)

    @property
    def needs_input(self) -> bool:
        """Whether it gives nothing more before it gets more."""
        return not self._left

    @property
    def unused_data(self) -> bytes:
        """What came after the end of the member."""
        return bytes(self._member.unused_data)

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """The next bytes."""
        given = self._member.decompress(self._left or data, max_length)
        self._left = self._member.unconsumed_tail
        return bytes(given)


def _gzip_decompressor() -> Any:
    """What decompresses one gzip member and checks it: isal, in a third of zlib's time, or zlib."""
    try:
        from isal import isal_zlib
    except ModuleNotFoundError:
        import zlib

        return zlib.decompressobj(_GZIP)
    return isal_zlib.decompressobj(_GZIP)


class WindowTooLarge(Exception):
    """A zstd frame asks for more memory than is allowed."""

    def __init__(self, window: int) -> None:
        super().__init__(window)
        self.window = window
        """The bytes that it asks for."""


def _window(header: bytes) -> int:
    """The bytes that a frame asks to be kept; 0 if its header is not whole, or has no data.

    The library tells it only of windows that it takes itself.
    """
    if not header.startswith(_ZSTD_MAGIC) or len(header) < _FRAME_START:
        return 0
    said = header[4]
    if not said >> 5 & 1:
        exponent, eighths = header[5] >> 3, header[5] & 7
        return (8 + eighths << exponent + 10) // 8
    # A frame in one piece, which is kept whole.
    at, size = 5 + _DICTIONARY[said & 3], (1, 2, 4, 8)[said >> 6]
    return int.from_bytes(header[at : at + size], "little") + (256 if size == 2 else 0)


class ZstdReader:
    """Decompressed zstd, with all frames of a file and zeros between and after them."""

    def __init__(self, source: Source, window: int = WINDOW) -> None:
        """`window` is how many bytes a frame may ask to be kept in memory."""
        self._frames = _ZstdFrames(source, window)
        context = zstandard.ZstdDecompressor(max_window_size=window)
        frames = cast("IO[bytes]", self._frames)
        self._stream = context.stream_reader(frames, READ, read_across_frames=True)

    @property
    def leftover(self) -> bytes:
        """Bytes after the last frame, as far as they were read; empty if there are none."""
        return self._frames.leftover

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer as far as one piece gives bytes for it; gives 0 at the end.

        Raises:
            EOFError: the last frame is cut.
            WindowTooLarge: a frame needs more memory than is allowed; what comes before it was
                given.
        """
        got = self._stream.readinto(buffer)
        if not got and self._frames.too_large:
            raise WindowTooLarge(self._frames.too_large)
        if not got and self._frames.is_inside:
            raise EOFError("it is cut")
        return got


class _ZstdFrames:
    """The frames of zstd data without what lies between and after them (RFC 8878).

    The library that decompresses does not tell where a frame ended. So the lengths of its blocks
    are followed here, of which each has up to 128 KiB: nothing but their headers is looked at.
    """

    def __init__(self, source: Source, window: int) -> None:
        self._source, self._window = source, window
        self._data = b""  # read, and not given yet
        self._left = 0  # bytes of the header or block that were not followed yet
        self._has_checksum = self._is_last = False
        self.is_inside = False
        """Whether a frame has begun that has not come to its end."""
        self.leftover = b""
        """Bytes after the last frame, as far as they were read; empty if there are none."""
        self.too_large = 0
        """Bytes that the next frame asks to be kept, if that is more than is allowed; else 0."""

    def read(self, size: int = READ) -> bytes:
        """The next bytes of frames, `size` at most; none at the end, or before one too large."""
        while not (self.leftover or self.too_large):
            more = self._source.read(max(1, size - len(self._data)))
            data = self._data + more
            if not self.is_inside:
                data = data.lstrip(b"\0")
            end = self._follow(data, is_all=not more)
            self._data = data[end:]
            if end:
                return data[:end]
            if not more:
                break
        return b""

    def _follow(self, data: bytes, *, is_all: bool) -> int:
        """How many of these bytes belong to frames, as far as their headers are whole."""
        at, size = 0, len(data)
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                if not self._left and self._is_last:
                    self.is_inside = self._is_last = False
                    if at < size and not data[at]:
                        break  # zeros, which are removed before the next frame
            elif self.is_inside:
                if size - at < _BLOCK_HEADER:
                    break
                self._begin_block(int.from_bytes(data[at : at + _BLOCK_HEADER], "little"))
            else:
                start = data[at : at + _FRAME_START]
                if not (start.startswith(_ZSTD_MAGIC) or _SKIPPABLE.match(start)):
                    if is_all or len(start) >= len(_ZSTD_MAGIC):
                        self.leftover = data[at:]
                    break
                header = data[at : at + _FRAME_HEADER]
                if len(start) < _FRAME_START or (len(header) < _FRAME_HEADER and not is_all):
                    self.is_inside = is_all  # then it is cut
                    break
                if (window := _window(header)) > self._window:
                    self.too_large = window
                    break
                self._begin_frame(start)
        return at

    def _begin_frame(self, start: bytes) -> None:
        self.is_inside = True
        if not start.startswith(_ZSTD_MAGIC):
            self._left = _FRAME_START + int.from_bytes(start[4:], "little")
            self._is_last = True
            return
        said = start[4]
        is_single = said >> 5 & 1
        sizes = (is_single, 2, 4, 8)  # bytes of the size of the contents
        self._left = 6 - is_single + _DICTIONARY[said & 3] + sizes[said >> 6]
        self._has_checksum = bool(said & 4)

    def _begin_block(self, header: int) -> None:
        is_last, kind, length = header & 1, header >> 1 & 3, header >> 3
        self._left = _BLOCK_HEADER + (1 if kind == _REPEATED else length)
        if is_last:
            self._is_last = True
            self._left += 4 * self._has_checksum
