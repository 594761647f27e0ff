"""The files of a tar archive as a stream: read once, from front to back, and never unpacked.

Plain, in gzip or in zstd, whole or split into several files that are read as one. Archives that
were put one after the other are read to the end of the last, as by `tar --ignore-zeros`.
"""

from collections.abc import Callable, Iterator, Sequence
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
from patchpress.converter.sources.unfolded import RunRoom, Unfolded
from patchpress.converter.sources.unpacker import Unpacker
from patchpress.readers.errors import SourceError

BLOCK = 512  # bytes of a tar block: headers and files begin at a multiple of it
RECORD = 20 * BLOCK  # bytes that an archive without files has
ZEROS_LIMIT = 1 << 30  # zeros after the end of an archive: a tape's record has a few MB of them
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
        self._bytes = Unfolded(self.path, self._reader, self._what_came, most)
        self._left = 0  # bytes of the current file that were not read yet
        self._padding = 0  # bytes after it, up to the next block
        self._current = ""  # its path
        # The bands of a patch often have the same header block: a long name is written before the
        # block, which has the name's beginning only.
        self._headers: dict[bytes, Header] = {}
        self.blocks: list[bytes] = []
        """The header of the file that came last, with the entries before it that tell its name."""
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
        headers, blocks = self._headers, self.blocks
        take = self._bytes.take
        while True:
            block, next_block = next_block or take(BLOCK), None
            header = headers.get(block)
            if header is None:
                if not any(block):
                    next_block = self._next_archive()
                    if next_block is None:
                        return
                    continue
                header = self._parse(block)
            kind, nbytes, name = header
            blocks.append(block)
            if kind in ABOUT_NEXT:
                text = self._text(nbytes)
                blocks.append(text)
                if kind == LONG_NAME:
                    path = text.partition(b"\0")[0].decode(errors="surrogateescape")
                    if not path:
                        raise HeaderDamaged("an empty long name")
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
                self._current = inside(name)
                self._left, self._padding = nbytes, -nbytes % BLOCK
                yield Member(self._current, nbytes)
                self._bytes.pass_over(self._left + self._padding)
                self._left = 0
                self.last = self._current
            else:
                self._pass_other(kind, name, nbytes)
            blocks.clear()

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
        self._bytes.pass_over(nbytes + -nbytes % BLOCK)
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
        self._bytes.fill(buffer)

    @property
    def position(self) -> int:
        """Bytes of the unfolded archive before the next one that is read."""
        return self._bytes.position

    def take_run(
        self, nbytes: int, fits: Callable[[memoryview], bool], room: RunRoom | None, last: str
    ) -> bool:
        """Take, in one piece, the next bytes of the file that came last and the files after it.

        Args:
            nbytes: up to the end of the last file's last block.
            fits: tells of these bytes whether they are those files.
            room: where they are kept; None passes over them.
            last: path of the last file.

        Returns:
            Whether they were taken. If not, all files can still be read one by one.
        """
        if not self._bytes.take_if(nbytes, fits, room):
            return False
        self._left = self._padding = 0
        self._current = last
        return True

    def digests(self) -> dict[Path, str]:
        """The MD5 of each file, in hexadecimal, after the last member of the archive.

        Bytes that the files have after the end of the archive are read for it, too.
        """
        return self._reader.digests()

    def _next_archive(self) -> bytes | None:
        """The first block of the next archive, after the zeros at the end of one; None if none is.

        What is left is read all the same, so that a checksum of all bytes is compared, and a cut is
        noticed. Bytes that are no archive are counted in `leftover`.
        """
        self.archives += 1
        zeros = self._bytes.pass_zeros(ZEROS_LIMIT)
        if zeros is None:
            self.leftover = self._reader.leftover
            if not self._headers and self._reader.consumed > RECORD:
                raise SourceError(f"{self.path} is {ZEROS.name}: {ZEROS.way_out}")
            return None
        zeros %= BLOCK  # before the next byte that is none, in its block
        block = bytes(zeros) + self._bytes.take_at_most(BLOCK - zeros)
        if is_tar_header(block):
            return block
        start = block[zeros:]
        self.leftover = Leftover(len(start) + self._bytes.pass_all(), start)
        return None

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
        return self._bytes.take(nbytes + -nbytes % BLOCK)[:nbytes]

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
