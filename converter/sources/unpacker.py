"""Archives decompressed in a child process: a thread would often wait for Python's global lock.

The child gets one archive after the other. It fills chunks of memory that both processes see, and
the workers, too; only the numbers of the chunks go through a pipe. It has `CHUNKS_AHEAD` of them to
fill. The others are spare: one of them takes the place of a chunk in which files of patches stay
until they are encoded, so that their bytes need not be copied.
"""

import os
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.memory import HeldChunk, SharedMemory
from patchpress.converter.processes import become_worker, forking, start_context
from patchpress.converter.sources.compression import WINDOW
from patchpress.converter.sources.decompress import DecompressedArchive, Leftover
from patchpress.readers.errors import PatchpressError, SourceError

UNPACKED_AT_ONCE = 4 << 20
"""Bytes of a chunk: so many that the processes rarely wait for one another, and that few patches
begin in one chunk and end in the next."""
CHUNKS_AHEAD = 3
"""Chunks that the child has to fill."""


class _Chunk(NamedTuple):
    """What the child tells of a chunk that it has filled."""

    job: int
    """Which of its archives it belongs to, counted from 1."""
    number: int
    filled: int
    """How many bytes it has."""
    consumed: int
    """Bytes of the archive read from the disk."""


class _End(NamedTuple):
    """What the child tells after the last chunk of an archive."""

    job: int
    consumed: int
    error: SourceError | None = None
    """What ended it too early, if something did."""
    digests: dict[Path, str] | None = None
    leftover: Leftover | None = None


class Unpacker:
    """A child process that decompresses, and the chunks that it fills."""

    def __init__(
        self, context: ForkContext | SpawnContext, shared: SharedMemory, start: int, chunks: int
    ) -> None:
        """Start the child in the way of `context`, with so many chunks from this byte on."""
        self.shared, self.start, self._chunks = shared, start, chunks
        self.spare = list(range(CHUNKS_AHEAD, chunks))
        """The numbers of chunks that nobody fills and nobody holds."""
        self.to_fill = set(range(CHUNKS_AHEAD))
        """Those of chunks that the child has, empty or filled."""
        self.pipe, other = context.Pipe()
        self.jobs = 0
        """How many archives it was given."""
        self._process = context.Process(
            target=_serve, args=(other, shared, start, os.getpid()), daemon=True
        )
        with forking():
            self._process.start()
        other.close()

    def read(
        self, paths: Sequence[Path], *, md5: bool = False, window: int = WINDOW
    ) -> "ProcessReader":
        """Begin with the files of an archive; the reader of the last archive must be closed.

        The options are those of `DecompressedArchive`.

        Raises:
            SourceMissing, SourceError: as `DecompressedArchive`.
            PatchpressError: the child has died.
        """
        self.jobs += 1
        return ProcessReader(self, paths, md5=md5, window=window)

    def kill(self) -> None:
        """End the child, whatever it does, and free the memory."""
        self._process.kill()
        self._process.join()
        self.pipe.close()
        self.shared.free(self.start, self._chunks * UNPACKED_AT_ONCE)


def start_unpackers(
    count: int, shared: SharedMemory, start: int = 0, chunks: int = CHUNKS_AHEAD
) -> list[Unpacker]:
    """Start so many child processes.

    Call it before this process starts threads: then the children can be forked.

    Args:
        count: how many.
        shared: the memory that they fill.
        start: the first of its bytes that is theirs: the beginning of a page. `chunk_bytes` says
            how many follow.
        chunks: how many each has; those beyond `CHUNKS_AHEAD` may be held by patches.
    """
    if not count:
        return []
    context = start_context(count, "decompressing")
    each = chunk_bytes(1, chunks)
    return [Unpacker(context, shared, start + number * each, chunks) for number in range(count)]


def chunk_bytes(count: int, chunks: int = CHUNKS_AHEAD) -> int:
    """Bytes of the chunks of so many children."""
    return count * chunks * UNPACKED_AT_ONCE


class ProcessReader:
    """A `readahead.ArchiveReader` whose archive is decompressed by an `Unpacker`."""

    def __init__(
        self, unpacker: Unpacker, paths: Sequence[Path], *, md5: bool, window: int
    ) -> None:
        DecompressedArchive(paths).close()  # raises the error of files that cannot be opened
        self._unpacker, self._job = unpacker, unpacker.jobs
        self._chunk: HeldChunk | None = None
        self._end: _End | None = None
        self.consumed = 0
        """Bytes of the archive read from the disk, those read ahead included."""
        while len(unpacker.to_fill) < CHUNKS_AHEAD and unpacker.spare:
            unpacker.to_fill.add(unpacker.spare.pop())
        self._send((self._job, tuple(unpacker.to_fill), tuple(paths), md5, window))

    def next(self) -> memoryview:
        """The next bytes, none at the end; valid until the next call.

        Raises:
            SourceError: the compressed data is damaged or cut.
            PatchpressError: the child has died.
        """
        unpacker = self._unpacker
        if self._chunk is not None:
            self._chunk = None  # it is spare now, unless it is held
            # The chunk that became spare last is most likely still in the CPU's caches.
            number = unpacker.spare.pop()
            unpacker.to_fill.add(number)
            self._send(number)
        if self._end is not None:
            return memoryview(b"")
        message = self._receive()
        self.consumed = message.consumed
        if isinstance(message, _Chunk):
            number = message.number
            unpacker.to_fill.remove(number)
            begin = unpacker.start + number * UNPACKED_AT_ONCE
            self._chunk = HeldChunk(unpacker.shared, begin, number, unpacker.spare)
            return unpacker.shared.view[begin : begin + message.filled]
        self._end = message
        if message.error is not None:
            raise message.error
        return memoryview(b"")

    def hold(self) -> HeldChunk | None:
        """What keeps the bytes that came last; None if no other chunk could take their place."""
        return self._chunk if self._unpacker.spare else None

    @property
    def leftover(self) -> Leftover | None:
        """The bytes after the end of the compressed data, at this end; None if there are none."""
        return self._end.leftover if self._end is not None else None

    def digests(self) -> dict[Path, str]:
        """The MD5 of each file, after the end of the archive."""
        if self._end is None or self._end.digests is None:
            raise ValueError("the archive is not at its end, or was opened without md5")
        return self._end.digests

    def close(self) -> None:
        """Let the child go on to the next archive."""
        self._chunk = None
        self._send(None)

    def _receive(self) -> _Chunk | _End:
        while True:
            try:
                message: _Chunk | _End = self._unpacker.pipe.recv()
            except (EOFError, OSError):
                raise _died() from None
            if message.job == self._job:  # else it is about an archive that was closed early
                return message

    def _send(self, message: object) -> None:
        try:
            self._unpacker.pipe.send(message)
        except OSError:
            if message is not None:
                raise _died() from None


def _died() -> PatchpressError:
    return PatchpressError(
        "the process that decompresses died (killed, or out of memory?): run the same command again"
    )


def _serve(pipe: Connection, shared: SharedMemory, start: int, parent: int) -> None:
    """What the child does: one archive after the other, until its parent is gone.

    It is sent a job, number, chunks, paths, md5 and window, for each archive; then the number of
    each further chunk that it may fill; and None when the archive is closed.
    """
    become_worker(parent)
    chunks = shared.view[start:]
    while True:
        try:
            message = pipe.recv()
            if message is None or isinstance(message, int):
                continue  # it is about an archive that came to its end before
            _unpack(pipe, chunks, *message)
        except (EOFError, OSError):
            return


def _unpack(
    pipe: Connection,
    chunks: memoryview,
    job: int,
    numbers: Sequence[int],
    paths: Sequence[Path],
    md5: bool,
    window: int,
) -> None:
    """Decompress one archive to its end, or until it is closed."""
    try:
        decompressor = DecompressedArchive(paths, md5=md5, window=window)
    except SourceError as refusal:
        pipe.send(_End(job=job, consumed=0, error=refusal))
        return
    free = deque(numbers)
    while True:
        while not free or pipe.poll():
            number = pipe.recv()
            if number is None:
                decompressor.close()
                return
            free.append(number)
        number = free.popleft()
        filled, error = decompressor.fill(
            chunks[number * UNPACKED_AT_ONCE : (number + 1) * UNPACKED_AT_ONCE]
        )
        consumed = decompressor.consumed
        if filled:
            pipe.send(_Chunk(job=job, number=number, filled=filled, consumed=consumed))
        if error is not None or not filled:
            leftover = decompressor.leftover  # before digests, which reads these bytes, too
            digests = decompressor.digests() if md5 and error is None else None
            consumed = decompressor.consumed
            end = _End(job=job, consumed=consumed, error=error, digests=digests, leftover=leftover)
            pipe.send(end)
            decompressor.close()
            return
