"""A published archive as a stream of its files: read once, from front to back, never unpacked.

`.tar`, `.tar.gz` and `.tar.zst`, whole or split in parts that are read as one. Decompression runs
in a thread of its own: zlib, isal and zstd let Python go on meanwhile.
"""

import hashlib
import io
import threading
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import zstandard

from readers.errors import SourceError, SourceMissing

BLOCK = 512  # of tar
CHUNK = 1 << 20  # decompressed at a time: large enough to let other threads run for long
CHUNKS_AHEAD = 8
READ = 1 << 20
NAME_LIMIT = 64 << 10  # bytes of a GNU long name or a pax header: more is damage
_FOLDER, _LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"5", b"L", b"K", b"x", b"g"
_REFUSED = {
    b"1": "a link", b"2": "a link", b"3": "a device", b"4": "a device", b"6": "a pipe",
    b"S": "a sparse file",
}  # fmt: skip


class Member(NamedTuple):
    """One file of an archive: its path, and how many bytes it has."""

    path: str
    size: int


class TarStream:
    """The files of one archive in their order; each is read, or passed over, before the next."""

    def __init__(self, paths: Sequence[Path], *, md5: bool = False) -> None:
        """Open the parts of an archive.

        Raises:
            SourceMissing, SourceError: a part is not there, or it is no such archive.
        """
        self.path = paths[0]
        self._raw = _Parts(paths, md5=md5)
        self._bytes = _Ahead(_decompressed(self._raw, self.path), self.path)
        self._left = 0
        self._padding = 0
        self.last = ""
        """Path of the last file that was read whole."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the thread and close the files."""
        self._bytes.close()
        self._raw.close()

    def __iter__(self) -> Iterator[Member]:
        """Each file, with its whole path; folders are passed over.

        Raises:
            SourceError: a link, a device, a path that leads out, damage, or an early end.
        """
        path, size = "", -1
        while True:
            self._pass_rest()
            header = self._take(BLOCK)
            if not any(header):
                self._end()
                return
            kind = header[156:157]
            self._check_sum(header)
            nbytes = self._number(header[124:136])
            if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
                text = self._text(nbytes)
                if kind == _LONG_NAME:
                    path = text.rstrip(b"\0").decode(errors="surrogateescape")
                elif kind == _PAX:
                    path, size = self._pax(text, path, size)
                continue
            name = path or _name(header)
            found = Member(self._inside(name), nbytes if size < 0 else size)
            path, size = "", -1
            if kind in _REFUSED:
                raise SourceError(
                    f"{self.path} has {_REFUSED[kind]} in it ({name}): no published archive has, "
                    "so it is refused"
                )
            self._left, self._padding = found.size, -found.size % BLOCK
            if kind == _FOLDER or name.endswith("/"):
                continue
            if kind not in (b"0", b"\0", b"7"):  # regular, in old archives, contiguous
                raise self._damaged(f"an entry of the unknown kind {kind!r} ({name})")
            yield found
            self.last = found.path

    def read_into(self, buffer: memoryview) -> None:
        """Fill a buffer with the next bytes of the file that came last.

        Raises:
            SourceError: the archive ends early; the message names the last whole file.
            ValueError: the file has fewer bytes left.
        """
        if len(buffer) > self._left:
            raise ValueError(f"{len(buffer)} bytes asked of a file that has {self._left} left")
        at = 0
        while at < len(buffer):
            chunk = self._bytes.some(len(buffer) - at)
            if not len(chunk):
                raise self._cut()
            buffer[at : at + len(chunk)] = chunk
            at += len(chunk)
        self._left -= at

    def digest(self) -> str:
        """The MD5 of all parts together, in hexadecimal, once the archive is at its end.

        What lies behind the end of the archive is read for it, too.
        """
        return self._raw.digest()

    def _pass_rest(self) -> None:
        nbytes, self._left, self._padding = self._left + self._padding, 0, 0
        while nbytes:
            chunk = self._bytes.some(nbytes)
            if not len(chunk):
                raise self._cut()
            nbytes -= len(chunk)

    def _take(self, nbytes: int) -> bytes:
        chunk = self._bytes.some(nbytes)
        if len(chunk) == nbytes:
            return bytes(chunk)
        parts = [bytes(chunk)]
        missing = nbytes - len(chunk)
        while missing:
            chunk = self._bytes.some(missing)
            if not len(chunk):
                raise self._cut()
            parts.append(bytes(chunk))
            missing -= len(chunk)
        return b"".join(parts)

    def _text(self, nbytes: int) -> bytes:
        if nbytes > NAME_LIMIT:
            raise self._damaged(f"a name of {nbytes:,} bytes")
        text = self._take(nbytes)
        self._padding = -nbytes % BLOCK
        return text

    def _pax(self, text: bytes, path: str, size: int) -> tuple[str, int]:
        """The path and size that a pax header gives (POSIX.1-2001, pax Extended Header)."""
        while text:
            length, space, _ = text.partition(b" ")
            if not space or not length.isdigit() or not len(length) < int(length) <= len(text):
                raise self._damaged("a pax header that does not parse")
            entry, text = text[len(length) + 1 : int(length) - 1], text[int(length) :]
            key, _, value = entry.partition(b"=")
            if key == b"path":
                path = value.decode(errors="surrogateescape")
            elif key == b"size":
                size = self._number(b"%o" % int(value) if value.isdigit() else b"?")
            elif key.startswith(b"GNU.sparse"):
                raise self._damaged("a sparse file, which no published archive has")
        return path, size

    def _number(self, digits: bytes) -> int:
        """A number of a header: octal text, or (GNU, from 8 GiB on) binary behind a set bit."""
        if digits[0] & 0x80:
            return int.from_bytes(digits, "big") & ((1 << (8 * len(digits) - 1)) - 1)
        try:
            return int(digits.strip(b" \0") or b"0", 8)
        except ValueError:
            raise self._damaged(f"a size that is no number ({digits!r})") from None

    def _check_sum(self, header: bytes) -> None:
        # The sum of all bytes, its own eight counted as blanks.
        found = sum(header) - sum(header[148:156]) + 8 * 32
        if found != self._number(header[148:156]):
            raise self._damaged("a header with a wrong checksum")

    def _inside(self, name: str) -> str:
        """The path without a leading `./`, if it stays inside the folder it is unpacked to."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts:
            raise SourceError(f"{self.path} has the path {name}, which leads out of it: refused")
        return "/".join(parts)

    def _end(self) -> None:
        """Read what is left, so that a checksum covers it and a cut frame is noticed."""
        while len(self._bytes.some(CHUNK)):
            pass

    def _cut(self) -> SourceError:
        last = f"the last whole file is {self.last}" if self.last else "it has no whole file"
        return SourceError(f"{self.path} ends early: {last}; download it again")

    def _damaged(self, what: str) -> SourceError:
        behind = f" behind {self.last}" if self.last else ""
        return SourceError(f"{self.path} is damaged: it has {what}{behind}; download it again")


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0":  # POSIX; GNU has other things in the place of the prefix
        prefix = header[345:500].partition(b"\0")[0]
        name = prefix + b"/" + name if prefix else name
    return name.decode(errors="surrogateescape")


class _Parts(io.RawIOBase):
    """Files read as one, their MD5 taken on the way."""

    def __init__(self, paths: Sequence[Path], *, md5: bool) -> None:
        self._waiting = deque(paths)
        self._file: io.FileIO | None = None
        self._start = b""
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
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
                self._file = io.FileIO(self._waiting.popleft())
            got = self._file.readinto(buffer) or 0
            if got:
                if self._md5 is not None:
                    self._md5.update(memoryview(buffer)[:got])
                return got
            self._file.close()
            self._file = None

    def digest(self) -> str:
        """Of what was read."""
        if self._md5 is None:
            raise ValueError("the archive was opened without md5")
        buffer = bytearray(READ)
        while self.readinto(buffer):
            pass
        return self._md5.hexdigest()

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


class _Readable(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


def _decompressed(raw: _Parts, path: Path) -> _Readable:
    start = raw.start(6)
    buffered = io.BufferedReader(raw, READ)
    if start[:4] == b"\x28\xb5\x2f\xfd" or start[1:4] == b"\x2a\x4d\x18":
        # A window of long distance matching (zstd --long) is taken, too.
        context = zstandard.ZstdDecompressor(max_window_size=1 << 31)
        return context.stream_reader(buffered, read_size=READ, read_across_frames=True)
    if start[:2] == b"\x1f\x8b":
        try:
            from isal import igzip
        except ModuleNotFoundError:
            import gzip

            return gzip.GzipFile(fileobj=buffered)
        return igzip.IGzipFile(fileobj=buffered)  # type: ignore[no-any-return]
    if not start:
        raise SourceError(f"{path} is empty: download it again")
    return buffered


class _Ahead:
    """A stream read ahead by a thread, into a ring of reused chunks."""

    def __init__(self, source: _Readable, path: Path) -> None:
        self._source, self._path = source, path
        self._chunk = memoryview(b"")
        self._spare: bytearray | None = None
        self._empty = deque(bytearray(CHUNK) for _ in range(CHUNKS_AHEAD))
        self._full: deque[tuple[bytearray, int] | BaseException] = deque()
        self._changed = threading.Condition()
        self._closed = self._ended = False
        self._thread = threading.Thread(target=self._run, name="patchpress-archive", daemon=True)
        self._thread.start()

    def some(self, most: int) -> memoryview:
        """The next bytes, at most so many; none at the end. Valid until the next call.

        Raises:
            SourceError: the compressed data is damaged or cut.
        """
        if not len(self._chunk) and not self._ended:
            self._next()
        found, self._chunk = self._chunk[:most], self._chunk[most:]
        return found

    def _next(self) -> None:
        with self._changed:
            if self._spare is not None:
                self._empty.append(self._spare)
                self._spare = None
                self._changed.notify_all()
            while not self._full:
                self._changed.wait()
            entry = self._full.popleft()
        if isinstance(entry, BaseException):
            self._ended = True
            raise entry
        self._spare, length = entry
        self._ended = length == 0
        self._chunk = memoryview(self._spare)[:length]

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._empty and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                chunk = self._empty.popleft()
            entry: tuple[bytearray, int] | BaseException
            try:
                entry = chunk, self._fill(memoryview(chunk))
            except (OSError, EOFError, zlib.error, zstandard.ZstdError, ValueError) as error:
                entry = SourceError(
                    f"{self._path} cannot be decompressed to its end ({error}): download it again"
                )
            with self._changed:
                self._full.append(entry)
                self._changed.notify_all()
            if isinstance(entry, BaseException) or entry[1] == 0:
                return

    def _fill(self, chunk: memoryview) -> int:
        at = 0
        while at < len(chunk) and not self._closed:
            got = self._source.readinto(chunk[at:])
            if not got:
                break
            at += got
        return at

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
