"""xz and bzip2 data decompressed: all streams of a file, and what comes after the last.

Both are slow: a CPU core gives some 100 MB/s of xz, and half of it of bzip2.
"""

import bz2
import lzma

from patchpress.converter.sources.compression import WINDOW
from patchpress.converter.sources.streams import Source, StreamDecompressor, Streams

_XZ_MAGIC, _BZIP2_MAGIC = b"\xfd7zXZ\0", b"BZh"
_BESIDE = 1 << 20  # bytes that a decompressor needs beside its dictionary


class DictionaryTooLarge(Exception):
    """An xz stream asks for more memory than is allowed."""


class XzReader(Streams):
    """Decompressed xz."""

    magic = _XZ_MAGIC

    def __init__(self, source: Source, window: int = WINDOW) -> None:
        """`window` is how many bytes a stream may ask to be kept in memory."""
        self._most = window + _BESIDE
        super().__init__(source)

    def _next_stream(self) -> StreamDecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=self._most)

    def _decompressed(self, most: int) -> bytes:
        """The next bytes.

        Raises:
            DictionaryTooLarge: the stream needs more memory than is allowed.
        """
        try:
            return super()._decompressed(most)
        except lzma.LZMAError as error:
            if "memory" in str(error).lower():
                raise DictionaryTooLarge from None
            raise


class Bzip2Reader(Streams):
    """Decompressed bzip2, which needs 4 MB at most."""

    magic = _BZIP2_MAGIC

    def _next_stream(self) -> StreamDecompressor:
        return bz2.BZ2Decompressor()
