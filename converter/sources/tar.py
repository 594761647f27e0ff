"""A published archive as a stream of its files: read once, from front to back, never unpacked.

`.tar`, `.tar.gz` and `.tar.zst`, whole or split in parts that are read as one.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from patchpress.converter.sources.decompress import Ahead
from patchpress.converter.sources.unpacker import Unpacker
from patchpress.readers.errors import SourceError

BLOCK = 512  # of tar
NAME_LIMIT = 64 << 10  # bytes of a GNU long name or a pax header: more is damage
HEADERS_KEPT = 64
_FOLDER, _LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"5", b"L", b"K", b"x", b"g"
_ABOUT_NEXT = (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL)
_FILES = (b"0", b"\0", b"7")  # regular, in old archives, contiguous
_REFUSED = {
    b"1": "a link", b"2": "a link", b"3": "a device", b"4": "a device", b"6": "a pipe",
    b"S": "a sparse file",
}  # fmt: skip


class Member(NamedTuple):
    """One file of an archive: its path, and how many bytes it has."""

    path: str
    size: int


class _Header(NamedTuple):
    """What a header block says."""

    kind: bytes
    size: int
    name: str


class TarStream:
    """The files of one archive in their order; each is read, or passed over, before the next."""

    def __init__(
        self, paths: Sequence[Path], *, md5: bool = False, unpacker: Unpacker | None = None
    ) -> None:
        """Open the parts of an archive, to be decompressed by that process or else by a thread.

        Raises:
            SourceMissing, SourceError: a part is not there, or it is no such archive.
        """
        self.path = paths[0]
        self._bytes = unpacker.read(paths, md5=md5) if unpacker else Ahead(paths, md5=md5)
        self._chunk = memoryview(b"")
        self._at = 0
        self._left = 0
        self._padding = 0
        # The bands of one patch have long names of one beginning, and often one header.
        self._headers: dict[bytes, _Header] = {}
        self.last = ""
        """Path of the last file that came whole."""
        self.last_patch = ""
        """Where the reader notes the last whole patch, for the sentence about an early end."""

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
        """End what decompresses, and close the files."""
        self._bytes.close()

    @property
    def consumed(self) -> int:
        """Bytes of the archive taken from the disk, those read ahead included."""
        return self._bytes.consumed

    def __iter__(self) -> Iterator[Member]:
        """Each file, with its whole path; folders are passed over.

        Raises:
            SourceError: a link, a device, a path that leads out, damage, or an early end.
        """
        path, size = "", -1
        while True:
            block = self._take(BLOCK)
            header = self._headers.get(block)
            if header is None:
                if not any(block):
                    self._end()
                    return
                header = self._parse(block)
            kind, nbytes, name = header
            if kind in _ABOUT_NEXT:
                text = self._text(nbytes)
                if kind == _LONG_NAME:
                    path = text.rstrip(b"\0").decode(errors="surrogateescape")
                elif kind == _PAX:
                    path, size = self._pax(text, path, size)
                continue
            name = path or name
            found = Member(self._inside(name), nbytes if size < 0 else size)
            path, size = "", -1
            if kind in _REFUSED:
                raise SourceError(
                    f"{self.path} has {_REFUSED[kind]} in it ({name}): no published archive has, "
                    "so it is refused"
                )
            self._left, self._padding = found.size, -found.size % BLOCK
            if kind != _FOLDER and not name.endswith("/"):
                if kind not in _FILES:
                    raise self._damaged(f"an entry of the unknown kind {kind!r} ({name})")
                yield found
            self._pass(self._left + self._padding)
            self._left = 0
            self.last = found.path

    def read_into(self, buffer: memoryview) -> None:
        """Fill a buffer with the next bytes of the file that came last.

        Raises:
            SourceError: the archive ends early; the message names what came whole last.
            ValueError: the file has fewer bytes left.
        """
        nbytes = len(buffer)
        if nbytes > self._left:
            raise ValueError(f"{nbytes} bytes asked of a file that has {self._left} left")
        self._left -= nbytes
        at, end = self._at, self._at + nbytes
        if end <= len(self._chunk):
            buffer[:] = self._chunk[at:end]
            self._at = end
            return
        done = 0
        while done < nbytes:
            some = self._some(nbytes - done)
            buffer[done : done + len(some)] = some
            done += len(some)

    def digests(self) -> dict[Path, str]:
        """The MD5 of each part, in hexadecimal, once the archive is at its end.

        What lies behind the end of the archive is read for it, too.
        """
        return self._bytes.digests()

    def _pass(self, nbytes: int) -> None:
        if self._at + nbytes <= len(self._chunk):
            self._at += nbytes
            return
        while nbytes:
            nbytes -= len(self._some(nbytes))

    def _take(self, nbytes: int) -> bytes:
        at, end = self._at, self._at + nbytes
        if end <= len(self._chunk):
            self._at = end
            return bytes(self._chunk[at:end])
        taken = bytearray()
        while len(taken) < nbytes:
            taken += self._some(nbytes - len(taken))
        return bytes(taken)

    def _some(self, most: int) -> memoryview:
        """The next bytes, at least one and at most so many; valid until the next call."""
        if self._at == len(self._chunk):
            try:
                self._chunk, self._at = self._bytes.next(), 0
            except SourceError as error:
                raise SourceError(f"{error}: {self._what_came()}; download it again") from None
            if not len(self._chunk):
                raise SourceError(f"{self.path} ends early: {self._what_came()}; download it again")
        some = self._chunk[self._at : self._at + most]
        self._at += len(some)
        return some

    def _parse(self, block: bytes) -> _Header:
        self._check_sum(block)
        header = _Header(block[156:157], self._number(block[124:136]), _name(block))
        if len(self._headers) >= HEADERS_KEPT:
            self._headers.clear()
        self._headers[block] = header
        return header

    def _text(self, nbytes: int) -> bytes:
        if nbytes > NAME_LIMIT:
            raise self._damaged(f"a name of {nbytes:,} bytes")
        return self._take(nbytes + -nbytes % BLOCK)[:nbytes]

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
        if ".." not in name and "./" not in name and "//" not in name and name[:1] != "/":
            return name.rstrip("/")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts:
            raise SourceError(f"{self.path} has the path {name}, which leads out of it: refused")
        return "/".join(parts)

    def _end(self) -> None:
        """Read what is left, so that a checksum covers it and a cut frame is noticed."""
        self._at = len(self._chunk)
        try:
            while len(self._bytes.next()):
                pass
        except SourceError as error:
            raise SourceError(f"{error}: {self._what_came()}; download it again") from None

    def _what_came(self) -> str:
        if self.last_patch:
            return f"the last whole patch is {self.last_patch}"
        return f"the last whole file is {self.last}" if self.last else "it has no whole file"

    def _damaged(self, what: str) -> SourceError:
        behind = f" behind {self.last}" if self.last else ""
        return SourceError(f"{self.path} is damaged: it has {what}{behind}; download it again")


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0":  # POSIX; GNU has other things in the place of the prefix
        prefix = header[345:500].partition(b"\0")[0]
        name = prefix + b"/" + name if prefix else name
    return name.decode(errors="surrogateescape")
