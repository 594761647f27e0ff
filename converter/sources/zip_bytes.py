"""The bytes of a zip archive at any place: its file, or the files into which it was split."""

import errno
import os
import stat
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

from patchpress.converter.shortage import shortage
from patchpress.converter.sources.archive_names import no_file
from patchpress.converter.sources.files import TO_READ, Buffer
from patchpress.readers.access.advice import announce_bytes, fetched_at_once
from patchpress.readers.errors import PatchpressError, SourceError, SourceMissing

Identity = tuple[int, int, int]
"""What tells a file from one that has come in its place: inode, bytes, time of the last change."""


class ZipBytes:
    """Files that are held open and read as one; safe in any thread. Garbage closes them."""

    def __init__(self, files: Sequence[str]) -> None:
        """Open the files.

        Raises:
            SourceMissing: one is not there.
            SourceError: one may not be read.
        """
        self.files = tuple(files)
        self.extra = 0
        """Bytes of the extra fields of the local header that was read last: others are alike."""
        self._fds: list[int] = []
        sizes = []
        self.identity: tuple[Identity, ...] = ()
        for file in files:
            try:
                self._fds.append(os.open(file, TO_READ))
                status = os.fstat(self._fds[-1])
            except FileNotFoundError:
                raise SourceMissing(f"there is no file {file}") from None
            except OSError as error:
                raise _unreadable(file, error) from None
            if not stat.S_ISREG(status.st_mode):
                raise no_file(Path(file))
            sizes.append(status.st_size)
            self.identity += ((status.st_ino, status.st_size, status.st_mtime_ns),)
        self._begins = [0, *accumulate(sizes)]
        self.size = self._begins.pop()
        """Bytes of all files."""

    def __del__(self) -> None:
        for fd in self._fds:
            os.close(fd)

    @property
    def path(self) -> Path:
        """What sentences call it: the path of its first file."""
        return Path(self.files[0])

    def readv(self, into: Sequence[Buffer], at: int) -> int:
        """Fill buffers, one after the other; gives how many bytes there were for them.

        Raises:
            OSError: they cannot be read.
        """
        if len(self._fds) == 1:
            wanted = sum(map(len, into))
            got = os.preadv(self._fds[0], into, at)
            if got == wanted or not got:
                return got
        # Over the end of one of several files, or what the system did not give at once.
        return self._read_over_ends([memoryview(buffer) for buffer in into], at)

    def read(self, nbytes: int, at: int) -> bytes:
        """So many bytes, fewer at the end.

        Raises:
            SourceError: they cannot be read.
        """
        wanted = max(0, min(nbytes, self.size - at))
        try:
            if len(self._fds) == 1:  # as a rule: nothing is copied then
                data = os.pread(self._fds[0], wanted, at)
                if len(data) == wanted:
                    return data
            room = bytearray(wanted)
            got = self.readv([room], at)
        except OSError as error:
            raise _unreadable(self.path, error) from None
        return bytes(memoryview(room)[:got])

    def announce(self, at: int, nbytes: int) -> None:
        """Tell the disk of bytes that are read soon, if the system can; none are no matter."""
        while nbytes > 0 and at < self.size:
            number = bisect_right(self._begins, at) - 1
            ends = (*self._begins[1:], self.size)[number]
            some = min(nbytes, ends - at)
            with suppress(OSError):  # a file system that takes none
                begin = at - self._begins[number]
                fd = self._fds[number]
                announce_bytes(fd, begin, some, fetched_at_once(os.fstat(fd).st_dev))
            at, nbytes = at + some, nbytes - some

    def _read_over_ends(self, into: Sequence[memoryview], at: int) -> int:
        done = 0
        for buffer in into:
            filled = 0
            while filled < len(buffer):
                number = bisect_right(self._begins, at) - 1
                fd, begin = self._fds[number], self._begins[number]
                got = os.preadv(fd, [buffer[filled:]], at - begin)
                if not got:
                    return done
                filled, at, done = filled + got, at + got, done + got
        return done


def _unreadable(path: object, error: OSError) -> PatchpressError:
    short = shortage(error)
    if short:
        return PatchpressError(short)
    way_out = "make it readable"
    if error.errno in (errno.EIO, errno.ESTALE):
        way_out = "try again, or copy it from elsewhere to another disk"
    return SourceError(f"{path} cannot be read ({error.strerror}): {way_out}")
