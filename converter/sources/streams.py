"""Compressed streams that follow one another in a file, whatever compressed them."""

from typing import Protocol

READ = 128 << 10  # bytes read from the disk at a time: memory of this size is used again at once


class Source(Protocol):
    """Compressed bytes."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, `size` at most; none at the end."""


class StreamDecompressor(Protocol):
    """What decompresses one stream."""

    @property
    def eof(self) -> bool:
        """Whether the stream has come to its end."""

    @property
    def needs_input(self) -> bool:
        """Whether it gives nothing more before it gets more."""

    @property
    def unused_data(self) -> bytes:
        """What came after the end of the stream."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """The next bytes."""


class Streams:
    """Decompressed streams that follow one another, with zeros between and after them."""

    magic = b""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stream = self._next_stream()
        self._packed = b""  # read, and not given to the stream yet
        self._begun, self._is_first = False, True
        self.leftover = b""
        """Bytes after the last stream, as far as they were read; empty if there are none."""

    def _next_stream(self) -> StreamDecompressor:
        raise NotImplementedError

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer as far as one piece gives bytes for it; gives 0 at the end.

        Raises:
            EOFError: the last stream is cut.
        """
        while not self.leftover:
            if self._stream.eof:
                self._packed = self._stream.unused_data.lstrip(b"\0")
                self._stream, self._begun, self._is_first = self._next_stream(), False, False
            if not self._begun and not self._find_stream():
                return 0
            if self._stream.needs_input and not self._packed:
                self._packed = self._source.read(READ)
                if not self._packed:
                    raise EOFError("it is cut")
            given = self._decompressed(len(buffer))
            if given:
                buffer[: len(given)] = given
                return len(given)
        return 0

    def _decompressed(self, most: int) -> bytes:
        packed, self._packed = self._packed, b""
        return self._stream.decompress(packed, most)

    def _find_stream(self) -> bool:
        """Read up to the next stream; gives whether there is one."""
        while len(self._packed) < len(self.magic):
            more = self._source.read(READ)
            if not more:
                break
            self._packed = (self._packed + more).lstrip(b"\0")
        if not self._packed:
            return False
        self._begun = self._is_first or self._packed.startswith(self.magic)
        if not self._begun:
            self.leftover = self._packed
        return self._begun
