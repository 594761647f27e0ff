"""The bytes of an archive: its parts read as one, decompressed, and read ahead by a thread.

zlib, isal and zstd let Python go on meanwhile; `apart` has a process in the place of the thread.
"""

import hashlib
import io
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, cast

import zstandard

from patchpress.readers.errors import SourceError, SourceMissing

CHUNK = 1 << 20  # decompressed at a time: large enough to let other threads run for long
CHUNKS_AHEAD = 8
READ = 128 << 10  # compressed at a time: memory of that size is used again, and not faulted in anew
PIECE = 128 << 10  # asked for at once: so much is lost at most of what stands before damage
_GZIP = 16 + 15  # wbits: gzip, with the largest window
PATIENCE = 1.0  # seconds for a thread to end that may wait for a disk


class Parts(io.RawIOBase):
    """Files read as one, the MD5 of each taken on the way."""

    def __init__(self, paths: Sequence[Path], *, md5: bool) -> None:
        self._waiting = deque(paths)
        self._file: io.FileIO | None = None
        self._start = b""
        self._buffer = bytearray()
        self._hash: Any = None
        self._digests: dict[Path, str] = {}
        self._md5 = md5
        self.consumed = 0
        for path in paths:
            if not path.is_file():
                raise SourceMissing(f"there is no file {path}")

    def readable(self) -> bool:
        """Always."""
        return True

    def start(self, nbytes: int) -> bytes:
        """The first bytes, which are read again by who reads next."""
        start = bytearray(nbytes)
        at = 0
        while at < nbytes and (got := self._read(memoryview(start)[at:])):
            at += got  # a part may be shorter than that
        self._start = bytes(start[:at])
        return self._start

    def read(self, size: int = READ) -> bytes:
        """The next bytes, none at the end of the last file."""
        if len(self._buffer) != size:
            self._buffer = bytearray(size)
        return bytes(memoryview(self._buffer)[: self.readinto(self._buffer)])

    def readinto(self, buffer: Any) -> int:
        """Fill what one file gives; 0 at the end of the last."""
        if self._start:
            given = self._start[: len(buffer)]
            self._start = self._start[len(given) :]
            memoryview(buffer)[: len(given)] = given
            return len(given)
        return self._read(buffer)

    def _read(self, buffer: Any) -> int:
        while True:
            if self._file is None:
                if not self._waiting:
                    return 0
                self._file = _opened(self._waiting.popleft())
                self._hash = hashlib.md5(usedforsecurity=False) if self._md5 else None
            try:
                got = self._file.readinto(buffer) or 0
            except OSError as error:
                raise _unreadable(self._file.name, error) from None
            if got:
                self.consumed += got
                if self._hash is not None:
                    self._hash.update(memoryview(buffer)[:got])
                return got
            if self._hash is not None:
                self._digests[Path(str(self._file.name))] = self._hash.hexdigest()
            self._file.close()
            self._file = None

    def digests(self) -> dict[Path, str]:
        """Of each file, when all have been read."""
        if not self._md5:
            raise ValueError("the archive was opened without md5")
        buffer = bytearray(READ)
        while self.readinto(buffer):
            pass
        return self._digests

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


def _opened(path: Path) -> io.FileIO:
    try:
        return io.FileIO(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: object, error: OSError) -> SourceError:
    return SourceError(f"{path} cannot be read ({error.strerror}): make it readable")


class _Readable(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


def decompressed(raw: Parts, path: Path) -> _Readable:
    """What is in them, by their first bytes: zstd, gzip, or plain.

    Raises:
        SourceError: they are empty, or cannot be read.
    """
    start = raw.start(6)
    if start[:4] == b"\x28\xb5\x2f\xfd" or start[1:4] == b"\x2a\x4d\x18":
        # A window of long distance matching (zstd --long) is taken, too.
        context = zstandard.ZstdDecompressor(max_window_size=1 << 31)
        return context.stream_reader(cast("IO[bytes]", raw), READ, read_across_frames=True)
    if start[:2] == b"\x1f\x8b":
        return _Gzip(raw)
    if not start:
        raise SourceError(f"{path} is empty: download it again")
    return raw


class _Gzip:
    """Decompressed gzip, all members one behind the other; what stands before damage is given."""

    def __init__(self, source: Parts) -> None:
        self._source = source
        self._packed = b""
        self._member = _decompressor()
        self._begun = False

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill what one piece gives; 0 at the end.

        Raises:
            EOFError: the last member is cut.
        """
        while True:
            if self._member.eof:
                # Behind a member may stand another, or zeros.
                self._packed = self._member.unused_data.lstrip(b"\0")
                self._member, self._begun = _decompressor(), False
            if not self._packed:
                self._packed = self._source.read(READ)
                if not self._packed:
                    if self._begun:
                        raise EOFError("it is cut")
                    return 0
                if not self._begun:
                    self._packed = self._packed.lstrip(b"\0")
                    continue
            self._begun = True
            given = self._member.decompress(self._packed, len(buffer))
            self._packed = self._member.unconsumed_tail
            if given:
                buffer[: len(given)] = given
                return len(given)


def _decompressor() -> Any:
    """Of gzip with its checksum: by isal, in a third of the time, or by zlib."""
    try:
        from isal import isal_zlib
    except ModuleNotFoundError:
        import zlib

        return zlib.decompressobj(_GZIP)
    return isal_zlib.decompressobj(_GZIP)


class Unpacked:
    """The decompressed bytes of an archive, piece by piece."""

    def __init__(self, paths: Sequence[Path], *, md5: bool) -> None:
        """Open its parts.

        Raises:
            SourceMissing, SourceError: a part is not there, or it is no such archive.
        """
        self._path = paths[0]
        self._raw = Parts(paths, md5=md5)
        self._source = decompressed(self._raw, self._path)

    @property
    def consumed(self) -> int:
        """Bytes of the archive taken from the disk."""
        return self._raw.consumed

    def digests(self) -> dict[Path, str]:
        """The MD5 of each part, what lies behind the end of the archive included."""
        return self._raw.digests()

    def fill(
        self, chunk: memoryview, stop: Callable[[], bool] = bool
    ) -> tuple[int, SourceError | None]:
        """How many bytes came, none at the end, and what went wrong behind them."""
        at = 0
        try:
            while at < len(chunk) and not stop():
                got = self._source.readinto(chunk[at : at + PIECE])
                if not got:
                    break
                at += got
        except SourceError as error:
            return at, error
        except Exception as error:  # each library has its own, and whoever waits must hear of it
            return at, SourceError(f"{self._path} cannot be decompressed to its end ({error})")
        return at, None

    def close(self) -> None:
        """Close the files."""
        self._raw.close()


class Ahead:
    """The bytes of an archive, read ahead by a thread into a ring of reused chunks."""

    def __init__(self, paths: Sequence[Path], *, md5: bool) -> None:
        """Open its parts.

        Raises:
            SourceMissing, SourceError: a part is not there, or it is no such archive.
        """
        self._unpacked = Unpacked(paths, md5=md5)
        self._given: bytearray | None = None
        self._empty = deque(bytearray(CHUNK) for _ in range(CHUNKS_AHEAD))
        self._full: deque[tuple[bytearray, int] | SourceError] = deque()
        self._changed = threading.Condition()
        self._closed = self._ended = False
        self._thread = threading.Thread(target=self._run, name="patchpress-archive", daemon=True)
        self._thread.start()

    @property
    def consumed(self) -> int:
        """Bytes of the archive taken from the disk, those read ahead included."""
        return self._unpacked.consumed

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

    def digests(self) -> dict[Path, str]:
        """The MD5 of each part, once the archive is at its end."""
        return self._unpacked.digests()

    def close(self) -> None:
        """End the thread; one that is stuck in a disk that never answers is left alone."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(PATIENCE)
        if not self._thread.is_alive():
            self._unpacked.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._empty and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                chunk = self._empty.popleft()
            filled, error = self._unpacked.fill(memoryview(chunk), lambda: self._closed)
            with self._changed:
                if filled or error is None:
                    self._full.append((chunk, filled))
                if error is not None:
                    self._full.append(error)
                self._changed.notify_all()
            if error is not None or not filled:
                return
