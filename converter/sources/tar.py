"""The files of a tar archive as a stream: read once, from front to back, and never unpacked.

`.tar`, `.tar.gz` and `.tar.zst`, whole or split into several files that are read as one.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.sources.readahead import ArchiveReader, ThreadReader
from patchpress.converter.sources.unpacker import Unpacker
from patchpress.readers.errors import SourceError

BLOCK = 512  # bytes of a tar block: headers and files begin at a multiple of it
NAME_LIMIT = 64 << 10  # bytes of a GNU long name or a pax header: more is damage
HEADERS_KEPT = 64
# Kinds of entries (POSIX.1-1988 ustar, pax, and GNU tar).
_FOLDER = b"5"
_LONG_NAME, _LONG_LINK = b"L", b"K"
_PAX, _PAX_GLOBAL = b"x", b"g"
_ABOUT_NEXT = (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL)
_FILES = (b"0", b"\0", b"7")  # a regular file, one of an old archive, a contiguous one
_REFUSED = {
    b"1": "a link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}


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
        """Open an archive.

        Args:
            paths: its files, which are read as one.
            md5: whether the MD5 of each file is taken on the way.
            unpacker: the process that decompresses it; None decompresses in a thread.

        Raises:
            SourceMissing, SourceError: a file is not there, is empty, or cannot be read.
        """
        self.path = paths[0]
        self._reader: ArchiveReader = (
            unpacker.read(paths, md5=md5) if unpacker else ThreadReader(paths, md5=md5)
        )
        self._chunk = memoryview(b"")
        self._at = 0  # how far the chunk has been read
        self._left = 0  # bytes of the current file that were not read yet
        # The bands of a patch often have the same header block: a long name is written before the
        # block, which has the name's beginning only.
        self._headers: dict[bytes, _Header] = {}
        self.last = ""
        """Path of the last file that came whole."""
        self.last_patch = ""
        """The last whole patch, set by the caller for the sentence about an early end."""

    def close(self) -> None:
        """Stop decompressing, and close the files."""
        self._reader.close()

    @property
    def consumed(self) -> int:
        """Bytes of the archive read from the disk, those read ahead included."""
        return self._reader.consumed

    def __iter__(self) -> Iterator[Member]:
        """Each file, with its whole path; folders are left out.

        Raises:
            SourceError: a link, a device, a path that leads out, damage, or an early end.
        """
        path, size = "", -1  # of the next entry, if an entry before it tells
        while True:
            block = self._take(BLOCK)
            header = self._headers.get(block)
            if header is None:
                if not any(block):
                    self._read_to_end()
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
            member = Member(self._inside(name), nbytes if size < 0 else size)
            path, size = "", -1
            if kind in _REFUSED:
                raise SourceError(
                    f"{self.path} has {_REFUSED[kind]} in it ({name}): no published archive has, "
                    "so it is refused"
                )
            self._left = member.size
            if kind != _FOLDER and not name.endswith("/"):
                if kind not in _FILES:
                    raise self._damaged(f"an entry of the unknown kind {kind!r} ({name})")
                yield member
            self._pass(self._left + -member.size % BLOCK)
            self._left = 0
            self.last = member.path

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
            given = self._next(nbytes - done)
            buffer[done : done + len(given)] = given
            done += len(given)

    def digests(self) -> dict[Path, str]:
        """The MD5 of each file, in hexadecimal, after the last member of the archive.

        Bytes that the files have after the end of the archive are read for it, too.
        """
        return self._reader.digests()

    def _pass(self, nbytes: int) -> None:
        """Skip the next bytes."""
        if self._at + nbytes <= len(self._chunk):
            self._at += nbytes
            return
        while nbytes:
            nbytes -= len(self._next(nbytes))

    def _take(self, nbytes: int) -> bytes:
        """Exactly so many of the next bytes."""
        at, end = self._at, self._at + nbytes
        if end <= len(self._chunk):
            self._at = end
            return bytes(self._chunk[at:end])
        taken = bytearray()
        while len(taken) < nbytes:
            taken += self._next(nbytes - len(taken))
        return bytes(taken)

    def _next(self, most: int) -> memoryview:
        """The next bytes, at least one and at most so many; valid until the next call."""
        if self._at == len(self._chunk):
            self._chunk, self._at = self._read_chunk(), 0
            if not len(self._chunk):
                raise SourceError(f"{self.path} ends early: {self._what_came()}; download it again")
        given = self._chunk[self._at : self._at + most]
        self._at += len(given)
        return given

    def _read_chunk(self) -> memoryview:
        try:
            return self._reader.next()
        except SourceError as error:
            raise SourceError(f"{error}: {self._what_came()}; download it again") from None

    def _read_to_end(self) -> None:
        """Read what is left, so that a checksum of all bytes is compared and a cut is noticed."""
        self._at = len(self._chunk)
        while len(self._read_chunk()):
            pass

    def _parse(self, block: bytes) -> _Header:
        self._check_sum(block)
        header = _Header(block[156:157], self._number(block[124:136]), _name(block))
        if len(self._headers) >= HEADERS_KEPT:
            self._headers.clear()
        self._headers[block] = header
        return header

    def _text(self, nbytes: int) -> bytes:
        """The contents of an entry that tells about the next one."""
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
        """A number of a header: octal text, or in GNU archives, from 8 GiB on, a binary number.

        The first bit is set before a binary number.
        """
        if digits[0] & 0x80:
            return int.from_bytes(digits, "big") & ((1 << (8 * len(digits) - 1)) - 1)
        try:
            return int(digits.strip(b" \0") or b"0", 8)
        except ValueError:
            raise self._damaged(f"a size that is no number ({digits!r})") from None

    def _check_sum(self, header: bytes) -> None:
        # It is the sum of all bytes, in which its own eight bytes count as blanks.
        found = sum(header) - sum(header[148:156]) + 8 * 32
        if found != self._number(header[148:156]):
            raise self._damaged("a header with a wrong checksum")

    def _inside(self, name: str) -> str:
        """A path without a leading `./`.

        Raises:
            SourceError: it leads out of the folder to which the archive would be unpacked.
        """
        if ".." not in name and "./" not in name and "//" not in name and name[:1] != "/":
            return name.rstrip("/")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts:
            raise SourceError(f"{self.path} has the path {name}, which leads out of it: refused")
        return "/".join(parts)

    def _what_came(self) -> str:
        if self.last_patch:
            return f"the last whole patch is {self.last_patch}"
        return f"the last whole file is {self.last}" if self.last else "it has no whole file"

    def _damaged(self, what: str) -> SourceError:
        after = f" after {self.last}" if self.last else ""
        return SourceError(f"{self.path} is damaged: it has {what}{after}; download it again")


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0":  # POSIX; GNU uses the bytes of the prefix for other things
        prefix = header[345:500].partition(b"\0")[0]
        name = prefix + b"/" + name if prefix else name
    return name.decode(errors="surrogateescape")
