"""Archives decompressed in processes of their own: threads would wait for Python all the time.

Such a process is given one archive after the other.
Chunks lie in memory that both see; what goes to and fro are their places.
"""

import os
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.memory import SharedMemory
from patchpress.converter.processes import become_worker, forking, start_context
from patchpress.converter.sources.decompress import CHUNK, CHUNKS_AHEAD, Unpacked
from patchpress.readers.errors import PatchpressError, SourceError


class _Told(NamedTuple):
    """What the process says of a chunk, or of the end."""

    job: int
    place: int
    filled: int
    consumed: int
    error: SourceError | None = None
    digests: dict[Path, str] | None = None


class Unpacker:
    """A process that decompresses, and the ring of chunks that it fills."""

    def __init__(self, context: ForkContext | SpawnContext) -> None:
        self._shared = SharedMemory(CHUNK * CHUNKS_AHEAD)
        self.ring = self._shared.view
        self.pipe, other = context.Pipe()
        self.jobs = 0
        self._process = context.Process(
            target=_serve, args=(other, self._shared, os.getpid()), daemon=True
        )
        with forking():
            self._process.start()
        other.close()

    def read(self, paths: Sequence[Path], *, md5: bool) -> "Reading":
        """Begin with an archive; the last one must be closed."""
        self.jobs += 1
        return Reading(self, paths, md5=md5)

    def kill(self) -> None:
        """End the process, whatever it is at."""
        self._process.kill()
        self._process.join()
        self.pipe.close()
        self._shared.free()


def start_unpackers(count: int) -> list[Unpacker]:
    """So many processes. Call it before this process starts threads: then they can be forked."""
    if not count:
        return []
    context = start_context(count, "decompressing")
    return [Unpacker(context) for _ in range(count)]


class Reading:
    """The bytes of one archive, as `decompress.Ahead` gives them."""

    def __init__(self, unpacker: Unpacker, paths: Sequence[Path], *, md5: bool) -> None:
        Unpacked(paths, md5=False).close()  # what cannot be opened is told at once
        self._unpacker, self._job = unpacker, unpacker.jobs
        self._given = -1
        self._end: _Told | None = None
        self.consumed = 0
        """Bytes of the archive taken from the disk, those read ahead included."""
        self._send((self._job, tuple(paths), md5))

    def next(self) -> memoryview:
        """The next bytes, none at the end; valid until the next call.

        Raises:
            SourceError: the compressed data is damaged or cut.
            PatchpressError: the process died.
        """
        if self._given >= 0:
            self._send(self._given)
            self._given = -1
        if self._end is not None:
            return memoryview(b"")
        told = self._told()
        self.consumed = told.consumed
        if told.filled:
            self._given = told.place
            begin = told.place * CHUNK
            return self._unpacker.ring[begin : begin + told.filled]
        self._end = told
        if told.error is not None:
            raise told.error
        return memoryview(b"")

    def digests(self) -> dict[Path, str]:
        """The MD5 of each part, once the archive is at its end."""
        if self._end is None or self._end.digests is None:
            raise ValueError("the archive is not at its end, or was opened without md5")
        return self._end.digests

    def close(self) -> None:
        """Let the process go on to the next archive."""
        self._send(None)

    def _told(self) -> _Told:
        while True:
            try:
                told: _Told = self._unpacker.pipe.recv()
            except (EOFError, OSError):
                raise _died() from None
            if told.job == self._job:  # else it is of an archive that was left before its end
                return told

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


def _serve(pipe: Connection, shared: SharedMemory, parent: int) -> None:
    """What the process does: one archive after the other, until its parent is gone."""
    become_worker(parent)
    ring = shared.view
    while True:
        try:
            message = pipe.recv()
            if message is None or isinstance(message, int):
                continue  # of an archive that was at its end before
            _unpack(pipe, ring, *message)
        except (EOFError, OSError):
            return


def _unpack(pipe: Connection, ring: memoryview, job: int, paths: Sequence[Path], md5: bool) -> None:
    """Decompress one archive to its end, or until it is closed."""
    try:
        unpacked = Unpacked(paths, md5=md5)
    except SourceError as lacking:
        pipe.send(_Told(job, -1, 0, 0, lacking))
        return
    free = deque(range(CHUNKS_AHEAD))
    while True:
        while not free or pipe.poll():
            place = pipe.recv()
            if place is None:
                unpacked.close()
                return
            free.append(place)
        place = free.popleft()
        filled, error = unpacked.fill(ring[place * CHUNK : (place + 1) * CHUNK])
        if filled:
            pipe.send(_Told(job, place, filled, unpacked.consumed))
        if error is not None or not filled:
            digests = unpacked.digests() if md5 and error is None else None
            pipe.send(_Told(job, -1, 0, unpacked.consumed, error, digests))
            unpacked.close()
            return
