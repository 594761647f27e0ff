"""The files of a tar archive as a stream: read once, from front to back, and never unpacked.

Plain, in gzip or in zstd, whole or split into several files that are read as one. Archives that
were put one after the other are read to the end of the last, as by `tar --ignore-zeros`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.sources.compression import WINDOW
from patchpress.converter.sources.contents import ZEROS, content, is_tar_header
from patchpress.converter.sources.decompress import ArchiveDamaged, DecompressedArchive, Leftover
from patchpress.converter.sources.readahead import ArchiveReader, ThreadReader
from patchpress.converter.sources.tar_header import (
    ABOUT_NEXT,
    CONTINUED,
    FILES,
    FOLDERS,
    LABEL,
    LONG_LINK,
    LONG_NAME,
    PATH_LIMIT,
    PAX_GLOBAL,
    REFUSED,
    VOLUME,
    Header,
    HeaderDamaged,
    HeaderRefused,
    inside,
    is_header,
    parse_header,
    parse_pax,
)
from patchpress.converter.sources.unpacker import Unpacker
from patchpress.converter.text import size
from patchpress.readers.errors import SourceError

BLOCK = 512  # bytes of a tar block: headers and files begin at a multiple of it
RECORD = 20 * BLOCK  # bytes that an archive without files has
ZEROS_LIMIT = 1 << 30  # zeros after the end of an archive: a tape's record has a few MB of them
UNFOLDED, UNFOLDED_RATIO = 1 << 30, 500
"""An archive may unfold to so many times its size, and so many bytes besides. Published maps, which
are mostly one class, unfold to 56 times theirs."""
HEADERS_KEPT = 64
NAME_LIMIT = 64 << 10  # bytes of a GNU long name or a pax header: more is damage


class Member(NamedTuple):
    """One file of an archive: its path, and how many bytes it has."""

    path: str
    size: int


class TarStream:
    """The files of one archive in their order; each is read, or passed over, before the next."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        md5: bool = False,
        window: int = WINDOW,
        unpacker: Unpacker | None = None,
        most: int | None = None,
    ) -> None:
        """Open an archive.

        Args:
            paths: its files, which are read as one.
            md5: whether the MD5 of each file is taken on the way.
            window: bytes that a zstd frame may ask to be kept in memory.
            unpacker: the process that decompresses it; None decompresses in a thread.
            most: bytes after which the archive is taken to end early, on the disk and unfolded;
                None for all. Without `unpacker` only.

        Raises:
            SourceMissing, SourceError: a file is not there, is empty, or cannot be read.
        """
        self.path = paths[0]
        self._reader: ArchiveReader = (
            unpacker.read(paths, md5=md5, window=window)
            if unpacker
            else ThreadReader(paths, md5=md5, window=window, most=most)
        )
        self._most = most
        self._unfolded = 0  # bytes that the reader gave
        self._chunk = memoryview(b"")
        self._at = 0  # how far the chunk has been read
        self._left = 0  # bytes of the current file that were not read yet
        # The bands of a patch often have the same header block: a long name is written before the
        # block, which has the name's beginning only.
        self._headers: dict[bytes, Header] = {}
        self.last = ""
        """Path of the last file that came whole."""
        self.last_patch = ""
        """The last whole patch, set by the caller for the sentence about an early end."""
        self.archives = 0
        """How many archives have come to their end: more than one if they were put together."""
        self.leftover: Leftover | None = None
        """The bytes after the last archive that belong to none, at the end; None for none."""

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
        try:
            yield from self._members()
        except HeaderDamaged as error:
            raise self._damaged(str(error)) from None
        except HeaderRefused as error:
            raise SourceError(f"{self.path} {error}") from None

    def _members(self) -> Iterator[Member]:
        path, size = "", -1  # of the next entry, if an entry before it tells
        next_block: bytes | None = None
        headers = self._headers
        while True:
            block, next_block = next_block or self._take(BLOCK), None
            header = headers.get(block)
            if header is None:
                if not any(block):
                    next_block = self._next_archive()
                    if next_block is None:
                        return
                    continue
                header = self._parse(block)
            kind, nbytes, name = header
            if kind in ABOUT_NEXT:
                text = self._text(nbytes)
                if kind == LONG_NAME:
                    path = text.rstrip(b"\0").decode(errors="surrogateescape")
                elif kind == PAX_GLOBAL:
                    parse_pax(text, "", -1)  # of its values only those are looked at that refuse it
                elif kind != LONG_LINK:
                    path, size = parse_pax(text, path, size)
                continue
            if path:
                if len(path) > PATH_LIMIT:
                    raise HeaderDamaged(f"a path of {len(path):,} characters")
                name, path = path, ""
            if size >= 0:
                nbytes, size = size, -1
            if kind in FILES and name[-1:] != "/":
                name = inside(name)
                self._left = nbytes
                yield Member(name, nbytes)
                self._pass(self._left + -nbytes % BLOCK)
                self._left = 0
                self.last = name
            else:
                self._pass_other(kind, name, nbytes)

    def _pass_other(self, kind: bytes, name: str, nbytes: int) -> None:
        """Pass over an entry that is no file, or refuse it."""
        if kind == CONTINUED:
            raise HeaderRefused(VOLUME)
        if kind != LABEL:
            path = inside(name)
            if kind in REFUSED:
                raise HeaderRefused(
                    f"has {REFUSED[kind]} in it ({name}): no published archive has, so it is "
                    "refused"
                )
            if kind not in FOLDERS and not name.endswith("/"):
                raise HeaderDamaged(f"an entry of the unknown kind {kind!r} ({name})")
        self._pass(nbytes + -nbytes % BLOCK)
        if kind != LABEL:
            self.last = path

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
            chunk = self._reader.next()
        except ArchiveDamaged as error:
            raise SourceError(f"{error}: {self._what_came()}; download it again") from None
        self._unfolded += len(chunk)
        if self._most is not None and self._unfolded > self._most:
            return chunk[:0]
        consumed = self._reader.consumed
        if self._unfolded > UNFOLDED + UNFOLDED_RATIO * consumed:
            raise SourceError(
                f"{self.path} unfolds to more than {UNFOLDED_RATIO} times its size, as no archive "
                f"of patches does ({size(self._unfolded)} of {size(consumed)}): "
                f"{self._what_came()}; download it again, or unpack it and give the folder"
            )
        return chunk

    def _next_archive(self) -> bytes | None:
        """The first block of the next archive, after the zeros at the end of one; None if none is.

        What is left is read all the same, so that a checksum of all bytes is compared, and a cut is
        noticed. Bytes that are no archive are counted in `leftover`.
        """
        self.archives += 1
        zeros = count = 0  # before the next byte that is none, in its block and in all
        while True:
            rest = bytes(self._chunk[self._at :])
            found = len(rest) - len(rest.lstrip(b"\0"))
            self._at += found
            zeros, count = (zeros + found) % BLOCK, count + found
            if count > ZEROS_LIMIT:
                raise SourceError(
                    f"{self.path} has more than {size(ZEROS_LIMIT)} of zeros after its end: "
                    f"{self._what_came()}; cut them off, or download it again"
                )
            if found < len(rest):
                break
            self._chunk, self._at = self._read_chunk(), 0
            if not len(self._chunk):
                self.leftover = self._reader.leftover
                if not self._headers and self._reader.consumed > RECORD:
                    raise SourceError(f"{self.path} is {ZEROS.name}: {ZEROS.way_out}")
                return None
        block = bytes(zeros) + self._take_at_most(BLOCK - zeros)
        if is_tar_header(block):
            return block
        start = block[zeros:]
        count = len(start) + len(self._chunk) - self._at
        while len(chunk := self._read_chunk()):
            count += len(chunk)
        self.leftover = Leftover(count, start)
        return None

    def _take_at_most(self, nbytes: int) -> bytes:
        """So many of the next bytes, or all that are left."""
        taken = bytearray()
        while len(taken) < nbytes:
            if self._at == len(self._chunk):
                self._chunk, self._at = self._read_chunk(), 0
                if not len(self._chunk):
                    break
            given = self._chunk[self._at : self._at + nbytes - len(taken)]
            self._at += len(given)
            taken += given
        return bytes(taken)

    def _parse(self, block: bytes) -> Header:
        if not is_header(block):
            if self.last or self._headers:
                raise HeaderDamaged("a header with a wrong checksum")
            raise _no_tar(self.path, block)
        header = parse_header(block)
        if len(self._headers) >= HEADERS_KEPT:
            self._headers.clear()
        self._headers[block] = header
        return header

    def _text(self, nbytes: int) -> bytes:
        """The contents of an entry that tells about the next one."""
        if nbytes > NAME_LIMIT:
            raise HeaderDamaged(f"a name of {nbytes:,} bytes")
        return self._take(nbytes + -nbytes % BLOCK)[:nbytes]

    def _what_came(self) -> str:
        if self.last_patch:
            return f"the last whole patch is {self.last_patch}"
        return f"the last whole file is {self.last}" if self.last else "it has no whole file"

    def _damaged(self, what: str) -> SourceError:
        after = f" after {self.last}" if self.last else ""
        return SourceError(f"{self.path} is damaged: it has {what}{after}; download it again")


def require_tar(paths: Sequence[Path], window: int = WINDOW) -> None:
    """Refuse an archive that does not begin as one.

    Args:
        paths: its files, which are read as one.
        window: bytes that a zstd frame may ask to be kept in memory.

    Raises:
        SourceMissing, SourceError: it is something else, cannot be read, or needs more memory.
    """
    archive = DecompressedArchive(paths, window=window)
    try:
        start = bytearray(BLOCK)
        count, error = archive.fill(memoryview(start))
    finally:
        archive.close()
    if error is not None and not isinstance(error, ArchiveDamaged):
        raise error  # of damage, reading all of it tells more
    block = bytes(start[:count])
    if any(block) and not is_tar_header(block) and (count == BLOCK or content(block) is not None):
        raise _no_tar(paths[0], block)


def _no_tar(path: Path, block: bytes) -> SourceError:
    """The error of an archive that begins with this block."""
    found = content(block)
    what = found.name if found is not None else "other data"
    way_out = found.way_out if found is not None and found.way_out else "download it again"
    return SourceError(f"{path} is no tar archive: it has {what} in it; {way_out}")
