"""The decompressed bytes of an archive: its files read as one, whatever compressed them."""

import errno
import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from patchpress.converter.sizes import binary_size
from patchpress.converter.sources.archive_names import no_file
from patchpress.converter.sources.compression import (
    WIDEST,
    WINDOW,
    GzipReader,
    WindowTooLarge,
    ZstdReader,
)
from patchpress.converter.sources.contents import (
    BZIP2,
    GZIP,
    START,
    TAR,
    XZ,
    ZEROS,
    ZSTD,
    content,
)
from patchpress.converter.sources.streams import READ
from patchpress.converter.sources.xz import Bzip2Reader, DictionaryTooLarge, XzReader
from patchpress.converter.text import size
from patchpress.readers.errors import SourceError, SourceMissing

_BY_HAND = "`zstd -d --long=31` first, and give the .tar"
PIECE = 128 << 10  # bytes decompressed at a time: up to so many before damage are lost


class Leftover(NamedTuple):
    """Bytes that come after the end of an archive and belong to none."""

    nbytes: int
    start: bytes
    """The first of them."""


class ArchiveDamaged(SourceError):
    """The bytes of an archive cannot be decompressed to their end: another copy may be whole."""


class JoinedFiles(io.RawIOBase):
    """Files read as one, each with its MD5 if that is asked for."""

    def __init__(self, paths: Sequence[Path], *, md5: bool, most: int | None = None) -> None:
        """Check that the files are there; each is opened when it is needed.

        Args:
            paths: of the files.
            md5: whether the MD5 of each is taken.
            most: bytes after which they are taken to end; None for all.

        Raises:
            SourceMissing: one is not.
        """
        self._waiting = deque(paths)
        self._file: io.FileIO | None = None
        self._start = b""  # bytes that `start` has read and that are to be given again
        self._buffer = bytearray()
        self._hash: Any = None
        self._digests: dict[Path, str] = {}
        self._md5, self._most = md5, most
        self.consumed = 0
        """Bytes read from the disk."""
        self.size = 0
        """Bytes of all files."""
        for path in paths:
            if os.path.lexists(path) and not path.is_file():
                raise no_file(path)
            if not path.is_file():
                raise SourceMissing(f"there is no file {path}")
            self.size += path.stat().st_size

    def readable(self) -> bool:
        """Always."""
        return True

    def start(self, nbytes: int) -> bytes:
        """The first bytes, which the next call of `read` or `readinto` gives once more."""
        start = bytearray(nbytes)
        at = 0
        while at < nbytes and (got := self._read(memoryview(start)[at:])):
            at += got  # the first file may have fewer bytes
        self._start = bytes(start[:at])
        return self._start

    def read(self, size: int = READ) -> bytes:
        """The next bytes, `size` at most; none at the end of the last file."""
        if len(self._buffer) != size:
            self._buffer = bytearray(size)
        return bytes(memoryview(self._buffer)[: self.readinto(self._buffer)])

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as one file has bytes for it; gives 0 at the end of the last."""
        if self._start:
            given = self._start[: len(buffer)]
            self._start = self._start[len(given) :]
            memoryview(buffer)[: len(given)] = given
            return len(given)
        return self._read(buffer)

    def _read(self, buffer: Any) -> int:
        while self._most is None or self.consumed < self._most:
            if self._file is None:
                if not self._waiting:
                    return 0
                self._file = _open(self._waiting.popleft())
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
        return 0

    def digests(self) -> dict[Path, str]:
        """The MD5 of each file, in hexadecimal; bytes that were not read yet are read for it."""
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


def _open(path: Path) -> io.FileIO:
    try:
        return io.FileIO(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: object, error: OSError) -> SourceError:
    way_out = "make it readable"
    if error.errno in (errno.EIO, errno.ESTALE):
        way_out = "try again, or copy it from elsewhere to another disk"
    return SourceError(f"{path} cannot be read ({error.strerror}): {way_out}")


class _Decompressing(Protocol):
    """Decompressed bytes."""

    @property
    def leftover(self) -> bytes:
        """The beginning of what comes after the compressed data; empty if nothing does."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer as far as one piece gives bytes for it; gives 0 at the end."""


class _Plain:
    """Bytes that are not compressed."""

    leftover = b""

    def __init__(self, source: JoinedFiles) -> None:
        self._source = source

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer with the next bytes; gives 0 at the end."""
        return self._source.readinto(buffer)


def _reader(files: JoinedFiles, path: Path, window: int) -> _Decompressing:
    """What decompresses files; their first bytes tell how they are compressed, not their names.

    Raises:
        SourceError: they are empty, or something that is known and no tar archive, or they cannot
            be read.
    """
    start = files.start(START)
    found = content(start)
    if found is ZSTD:
        return ZstdReader(files, window)
    if found is GZIP:
        return GzipReader(files)
    if found is XZ:
        return XzReader(files, window)
    if found is BZIP2:
        return Bzip2Reader(files)
    if found is None or found in (TAR, ZEROS):
        return _Plain(files)
    way_out = found.way_out or "unpack it and give the folder"
    raise SourceError(f"{path} is {found.name}: {way_out}")


def _never() -> bool:
    return False


class DecompressedArchive:
    """Gives the decompressed bytes of an archive, chunk by chunk."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        md5: bool = False,
        window: int = WINDOW,
        most: int | None = None,
    ) -> None:
        """Open the files of an archive.

        Args:
            paths: of the files, which are read as one.
            md5: whether the MD5 of each is taken.
            window: bytes that a zstd frame may ask to be kept in memory.
            most: bytes of the files after which they are taken to end; None for all.

        Raises:
            SourceMissing: a file is not there.
            SourceError: they are empty, or cannot be read.
        """
        self._path, self._window = paths[0], window
        self._files = JoinedFiles(paths, md5=md5, most=most)
        self._source = _reader(self._files, self._path, window)

    @property
    def consumed(self) -> int:
        """Bytes of the archive read from the disk."""
        return self._files.consumed

    @property
    def leftover(self) -> Leftover | None:
        """The bytes after the end of the compressed data, at this end; None if there are none."""
        start = self._source.leftover
        if not start:
            return None
        return Leftover(self._files.size - self._files.consumed + len(start), start[:START])

    def digests(self) -> dict[Path, str]:
        """The MD5 of each file, with the bytes after the end of the archive."""
        return self._files.digests()

    def fill(
        self, chunk: memoryview, stop: Callable[[], bool] = _never
    ) -> tuple[int, SourceError | None]:
        """Fill a chunk with the next bytes, until it is full or `stop` says so.

        Returns:
            How many bytes came, 0 at the end; and the error that comes after them, if one does: an
            `ArchiveDamaged` if the bytes are wrong, and another copy may be right.
        """
        at = 0
        try:
            while at < len(chunk) and not stop():
                got = self._source.readinto(chunk[at : at + PIECE])
                if not got:
                    break
                at += got
        except SourceError as error:
            return at, error
        except WindowTooLarge as error:
            return at, self._too_large(error.window)
        except DictionaryTooLarge:
            return at, SourceError(
                f"{self._path} needs more memory to be decompressed (its xz dictionary) than the "
                f"{size(self._window)} that are allowed: decompress it with `xz -d` first, and "
                "give the .tar"
            )
        except Exception as error:  # each library has its own; the reader that waits must get it
            if isinstance(error, MemoryError) or "Allocation" in str(error):
                return at, SourceError(
                    f"{self._path} cannot be decompressed, because there is not enough memory: "
                    f"free some, or decompress it with {_BY_HAND}"
                )
            return at, ArchiveDamaged(f"{self._path} cannot be decompressed to its end ({error})")
        return at, None

    def _too_large(self, window: int) -> SourceError:
        """The error of a zstd frame that needs more memory than is allowed."""
        need = f"{self._path} needs {size(window)} of memory to be decompressed (its zstd window)"
        if window > WIDEST:
            return SourceError(
                f"{need}, more than zstd itself can take: compress its .tar again, with no larger "
                "--long than 31"
            )
        asked = -(-window >> 20) << 20
        return SourceError(
            f"{need}, and {size(self._window)} are allowed: give --zstd-window "
            f"{binary_size(asked)}, or decompress it with {_BY_HAND}"
        )

    def close(self) -> None:
        """Close the files."""
        self._files.close()
