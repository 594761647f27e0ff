"""Archives decompressed ahead by a thread: zlib, isal and zstd let other threads run meanwhile.

`unpacker` does the same by another process.
"""

import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from patchpress.converter.memory import HeldChunk
from patchpress.converter.sources.compression import WINDOW
from patchpress.converter.sources.decompress import DecompressedArchive, Leftover
from patchpress.readers.errors import SourceError

BYTES_AT_ONCE = (
    1 << 20
)  # bytes decompressed at a time, so many that threads rarely wait for one another
CHUNKS_AHEAD = 8
PATIENCE = 1.0  # seconds to wait for the end of a thread, which may itself wait for a disk


class ArchiveReader(Protocol):
    """The decompressed bytes of one archive, which are read ahead."""

    @property
    def consumed(self) -> int:
        """Bytes of the archive read from the disk, those read ahead included."""

    def next(self) -> memoryview:
        """The next bytes, none at the end; valid until the next call.

        Raises:
            SourceError: the compressed data is damaged or cut.
        """

    def hold(self) -> HeldChunk | None:
        """What keeps the bytes that came last as they are while it lives; None if nothing can."""

    @property
    def leftover(self) -> Leftover | None:
        """The bytes after the end of the compressed data, at this end; None if there are none."""

    def digests(self) -> dict[Path, str]:
        """The MD5 of each file, after the end of the archive; the bytes after it are read, too."""

    def close(self) -> None:
        """Stop reading ahead, and close the files."""


class ThreadReader:
    """An `ArchiveReader` whose thread fills chunks of memory that are used again and again."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        md5: bool = False,
        window: int = WINDOW,
        most: int | None = None,
    ) -> None:
        """Open the files of an archive, and begin to read ahead.

        The options are those of `DecompressedArchive`.

        Raises:
            SourceMissing, SourceError: as `DecompressedArchive`.
        """
        self._decompressor = DecompressedArchive(paths, md5=md5, window=window, most=most)
        self._given: bytearray | None = None
        self._empty = deque(bytearray(BYTES_AT_ONCE) for _ in range(CHUNKS_AHEAD))
        self._full: deque[tuple[bytearray, int] | SourceError] = deque()
        self._changed = threading.Condition()
        self._closed = self._ended = False
        self._thread = threading.Thread(target=self._run, name="patchpress-archive", daemon=True)
        self._thread.start()

    @property
    def consumed(self) -> int:
        """Bytes of the archive read from the disk, those read ahead included."""
        return self._decompressor.consumed

    def next(self) -> memoryview:
        """The next bytes, none at the end; valid until the next call.

        Raises:
            SourceError: the compressed data is damaged or cut.
        """
        with self._changed:
            if self._given is not None:
                self._empty.append(self._given)
                self._given = None
                self._changed.notify_all()
            while not self._full:
                if self._ended:
                    return memoryview(b"")
                self._changed.wait()
            entry = self._full.popleft()
        if isinstance(entry, SourceError):
            self._ended = True
            raise entry
        self._given, length = entry
        self._ended = length == 0
        return memoryview(self._given)[:length]

    def hold(self) -> None:
        """Nothing: the memory is filled again after the next call."""

    @property
    def leftover(self) -> Leftover | None:
        """The bytes after the end of the compressed data, at this end; None if there are none."""
        return self._decompressor.leftover

    def digests(self) -> dict[Path, str]:
        """The MD5 of each file, after the end of the archive."""
        return self._decompressor.digests()

    def close(self) -> None:
        """End the thread; if it waits for a disk that never answers, it is left alone."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(PATIENCE)
        if not self._thread.is_alive():
            self._decompressor.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._empty and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                chunk = self._empty.popleft()
            filled, error = self._decompressor.fill(memoryview(chunk), lambda: self._closed)
            with self._changed:
                if filled or error is None:
                    self._full.append((chunk, filled))
                if error is not None:
                    self._full.append(error)
                self._changed.notify_all()
            if error is not None or not filled:
                return
