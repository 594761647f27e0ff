"""The bytes of an archive after it was decompressed, taken from its beginning to its end."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from patchpress.converter.memory import HeldChunk
from patchpress.converter.sources.decompress import ArchiveDamaged
from patchpress.converter.sources.readahead import ArchiveReader
from patchpress.converter.text import size
from patchpress.readers.errors import SourceError

UNFOLDED, UNFOLDED_RATIO = 1 << 30, 500
"""An archive may unfold to so many times its size, and so many bytes besides. Published maps, which
are mostly one class, unfold to 56 times theirs."""


class RunRoom(Protocol):
    """Where bytes that are taken in one piece are kept."""

    def stay(self, chunk: HeldChunk, at: int) -> bool:
        """Leave them where they lie in a chunk, if that can be; tells whether."""

    def room_for_run(self, nbytes: int) -> memoryview | None:
        """Memory that they are copied to; None if there is not so much."""


class Unfolded:
    """Bytes that a reader gives in chunks.

    Every method that takes some raises `SourceError` if the archive ends early or is damaged.
    """

    def __init__(
        self, path: Path, reader: ArchiveReader, what_came: Callable[[], str], most: int | None
    ) -> None:
        """Take what `reader` gives.

        Args:
            path: of the archive, for sentences.
            reader: gives its chunks.
            what_came: tells in a sentence what came last.
            most: bytes after which the archive is taken to end; None for all.
        """
        self._path, self._reader, self._what_came, self._most = path, reader, what_came, most
        self._unfolded = 0  # bytes that the reader gave
        self._chunk = memoryview(b"")
        self._at = 0  # how far the chunk has been read
        self._is_given = False  # whether the chunk is as the reader gave it
        self._failure: SourceError | None = None  # what comes after the chunk, as was found already

    @property
    def position(self) -> int:
        """Bytes before the next one."""
        return self._unfolded - len(self._chunk) + self._at

    def take(self, nbytes: int) -> bytes:
        """Exactly so many of the next bytes."""
        at, end = self._at, self._at + nbytes
        if end <= len(self._chunk):
            self._at = end
            return bytes(self._chunk[at:end])
        taken = bytearray(nbytes)
        self.fill(memoryview(taken))
        return bytes(taken)

    def fill(self, buffer: memoryview) -> None:
        """Fill a buffer with the next bytes."""
        nbytes = len(buffer)
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

    def pass_over(self, nbytes: int) -> None:
        """Skip the next bytes."""
        if self._at + nbytes <= len(self._chunk):
            self._at += nbytes
            return
        while nbytes:
            nbytes -= len(self._next(nbytes))

    def take_if(
        self, nbytes: int, fits: Callable[[memoryview], bool], room: RunRoom | None
    ) -> bool:
        """Take the next bytes, if `fits` says so and there is room; skip them if that is None.

        Bytes in several chunks are not taken without room, which they fill before `fits` looks.
        """
        at, end = self._at, self._at + nbytes
        if end > len(self._chunk):
            into = room.room_for_run(nbytes) if room is not None else None
            return into is not None and self._take_across(into, fits)
        found = self._chunk[at:end]
        if not fits(found):
            return False
        if room is not None:
            held = self._reader.hold() if self._is_given else None
            if held is None or not room.stay(held, at):
                into = room.room_for_run(nbytes)
                if into is None:
                    return False
                into[:] = found
        self._at = end
        return True

    def _take_across(self, into: memoryview, fits: Callable[[memoryview], bool]) -> bool:
        """`take_if` of bytes in several chunks; they are put back if they do not fit."""
        done = 0
        while done < len(into):
            if self._at == len(self._chunk):
                try:
                    self._chunk, self._at = self._unfold(), 0
                except SourceError as error:
                    self._chunk, self._at, self._failure = memoryview(b""), 0, error
                if not len(self._chunk):
                    break
            given = self._chunk[self._at : self._at + len(into) - done]
            into[done : done + len(given)] = given
            self._at += len(given)
            done += len(given)
        if done == len(into) and fits(into):
            return True
        self._chunk, self._at = memoryview(bytes(into[:done]) + self._chunk[self._at :]), 0
        self._is_given = False
        return False

    def pass_zeros(self, most: int) -> int | None:
        """Skip zeros, and tell how many there were; None if nothing else comes after them.

        Raises:
            SourceError: there are more than `most`.
        """
        count = 0
        while True:
            rest = bytes(self._chunk[self._at :])
            found = len(rest) - len(rest.lstrip(b"\0"))
            self._at += found
            count += found
            if count > most:
                raise SourceError(
                    f"{self._path} has more than {size(most)} of zeros after its end: "
                    f"{self._what_came()}; cut them off, or download it again"
                )
            if found < len(rest):
                return count
            self._chunk, self._at = self._read_chunk(), 0
            if not len(self._chunk):
                return None

    def take_at_most(self, nbytes: int) -> bytes:
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

    def pass_all(self) -> int:
        """Skip all that is left, and tell how many bytes it was."""
        count = len(self._chunk) - self._at
        while len(chunk := self._read_chunk()):
            count += len(chunk)
        return count

    def _next(self, most: int) -> memoryview:
        """The next bytes, at least one and at most so many; valid until the next call."""
        if self._at == len(self._chunk):
            self._chunk, self._at = self._read_chunk(), 0
            if not len(self._chunk):
                raise SourceError(
                    f"{self._path} ends early: {self._what_came()}; download it again"
                )
        given = self._chunk[self._at : self._at + most]
        self._at += len(given)
        return given

    def _read_chunk(self) -> memoryview:
        """The next chunk; empty at the end."""
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
            return self._unfold()
        except ArchiveDamaged as error:
            raise SourceError(f"{error}: {self._what_came()}; download it again") from None

    def _unfold(self) -> memoryview:
        chunk = self._reader.next()
        self._is_given = True
        self._unfolded += len(chunk)
        if self._most is not None and self._unfolded > self._most:
            return chunk[:0]
        consumed = self._reader.consumed
        if self._unfolded > UNFOLDED + UNFOLDED_RATIO * consumed:
            raise SourceError(
                f"{self._path} unfolds to more than {UNFOLDED_RATIO} times its size, as no archive "
                f"of patches does ({size(self._unfolded)} of {size(consumed)}): "
                f"{self._what_came()}; download it again, or unpack it and give the folder"
            )
        return chunk
