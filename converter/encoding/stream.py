"""Patches to encoded records: chunks through workers, in order, in a window of reused memory."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple

from patchpress.converter.addressspace import is_address_space_limited
from patchpress.converter.encoding.encoder import Encoded, Recipe
from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM, frame_size
from patchpress.converter.encoding.time_encoder import encoder_of
from patchpress.converter.encoding.worker import Chunk, ChunkEncoder
from patchpress.converter.memory import CellPool, SharedMemory
from patchpress.converter.processes import in_order, worker_pool
from patchpress.converter.side_by_side import threads_each
from patchpress.converter.sources.chunks import Chunking, cell_pool
from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.unpacker import (
    CHUNKS_AHEAD,
    UNPACKED_AT_ONCE,
    Unpacker,
    chunk_bytes,
    start_unpackers,
)
from patchpress.readers.errors import PatchError

_log = logging.getLogger(__name__)
# Bytes of the frames of one task: much work against the cost of handing it over, and little against
# the caches of the CPU and the memory of all tasks under way.
CHUNK_BYTES = 4 << 20
CHUNKS_A_TASK = CHUNK_BYTES // UNPACKED_AT_ONCE + 2
"""Chunks of an archive that the files of a task's patches may hold: they are about as long as its
frames, and begin and end within a chunk. If that is not enough, files are copied."""

Outcome = tuple[Patch, Encoded | PatchError, memoryview]
"""A patch, what is known of its record, and the frame that it lies in (see `worker`)."""


class EncodedChunk(NamedTuple):
    """The outcomes of one task. Their frames are valid until `release` is called."""

    outcomes: list[Outcome]
    release: Callable[[], None]


@contextmanager
def encoding(
    recipes: dict[str, Recipe],
    workers: int,
    packed: Collection[str] = (),
    streams: int = 0,
    *,
    writing: int = 0,
    count: Callable[[str, int], int] | None = None,
) -> Iterator["Encoding"]:
    """Encodes patches: in `workers` processes, or in this one if that is 0.

    No more processes are started than there are tasks, if ``count(modality, most)`` tells how many
    patches there are, as far as `most`.

    `packed` are the modalities whose files come out of archives, in so many `streams`. `writing`
    is how many chunks may wait to be written, each with memory of its own.
    """
    encoders = {name: encoder_of(recipe) for name, recipe in recipes.items()}
    frames = {name: frame_size(encoder.capacity) for name, encoder in encoders.items()}
    if count is not None:
        workers = min(workers, _most_tasks(frames, workers, count))
    # A task at work and one that waits for each worker, two whose outcomes nobody has taken yet,
    # and those whose records are on their way to the disk.
    tasks = 2 * workers + 2 + writing if workers else 1 + writing
    slots = TaskSlots(frames, tasks)
    chunking = Chunking(frames, nbytes=CHUNK_BYTES)
    streams = streams if workers else 0
    # Chunks that patches may hold, most of them never touched; without any, files are copied.
    spare = 0 if is_address_space_limited() else tasks * CHUNKS_A_TASK
    chunks = CHUNKS_AHEAD + spare
    cells = cell_pool(
        [recipes[name].modality for name in packed],
        chunking,
        tasks,
        room=chunk_bytes(streams, chunks),
    )
    files = cells.shared if cells is not None else None
    # Before the pool, which starts a thread: then they can be forked.
    unpackers: list[Unpacker] = []
    if cells is not None:
        unpackers = start_unpackers(streams, cells.shared, cells.room_start, chunks)
    _log.info("at most %d chunks of patches are under way", tasks)
    try:
        with worker_pool(
            workers,
            ChunkEncoder,
            recipes,
            slots.shared,
            files,
            threads_each(workers),
            work="decoding",
        ) as submit:
            yield Encoding(submit, slots, chunking, cells=cells, unpackers=list(unpackers))
    finally:
        for unpacker in unpackers:
            unpacker.kill()
        slots.shared.free()
        if files is not None:
            files.free()


def _most_tasks(frames: dict[str, int], enough: int, count: Callable[[str, int], int]) -> int:
    """How many tasks there are, as far as `enough` of them; at least one."""
    wanted = enough * CHUNK_BYTES
    nbytes = sum(size * count(name, -(-wanted // size)) for name, size in frames.items())
    return max(1, -(-nbytes // CHUNK_BYTES))


class TaskSlots:
    """Shared memory for the frames of all tasks under way: a slot a task, used again and again."""

    def __init__(self, frames: dict[str, int], count: int) -> None:
        """Make so many slots; `frames` are the bytes that a frame of each modality takes."""
        self.frames = frames
        self.size = -(-CHUNK_BYTES // PAGE_BYTES) * PAGE_BYTES + max(frames.values())
        self.shared = SharedMemory(count * self.size)
        self._free: SimpleQueue[int] = SimpleQueue()
        for slot in range(count):
            self.give_back(slot * self.size)

    @property
    def all_taken(self) -> bool:
        """Whether no slot is free now; another thread may give one back at any moment."""
        return self._free.empty()

    def take(self) -> int:
        """The first byte of a free slot; waits until there is one."""
        return self._free.get()

    def give_back(self, start: int) -> None:
        """Let the slot that begins there be used again; safe in any thread."""
        self._free.put(start)


class Encoding:
    """Encodes patches in tasks; `cells` and `unpackers` are for those that come out of archives."""

    def __init__(
        self,
        submit: Callable[[list[Patch], int, int], Future[Chunk]],
        slots: TaskSlots,
        chunking: Chunking,
        *,
        cells: CellPool | None,
        unpackers: list[Unpacker],
    ) -> None:
        self.cells, self.unpackers = cells, unpackers
        self._submit, self._slots, self._chunking = submit, slots, chunking

    def __call__(self, patches: Iterable[Patch]) -> Iterator[EncodedChunk]:
        """Encode patches; the outcomes come task by task, in the order of the patches."""
        chunks = self._chunking.cut(patches)
        for chunk, encoded in in_order(chunks, self._encode, self._full):
            yield self._outcomes(chunk, encoded)

    def _full(self, under_way: int) -> bool:
        """Whether the oldest task must be given on before there can be another."""
        return self._slots.all_taken

    def _encode(self, patches: list[Patch]) -> Future[Chunk]:
        # If no task is under way, the caller has the slots, and gives them back at some time.
        return self._submit(patches, self._slots.take(), self._slots.size)

    def _outcomes(self, patches: list[Patch], chunk: Chunk) -> EncodedChunk:
        outcomes: list[Outcome] = []
        memory, start = self._slots.shared.view, chunk.start
        for patch, result in zip(patches, chunk.records, strict=True):
            if isinstance(result, PatchError):
                outcomes.append((patch, result, memory[start:start]))
            elif result.apart is not None:
                frame = memoryview(bytes(ROOM) + result.apart)
                outcomes.append((patch, result._replace(apart=None), frame))
            else:
                nbytes = frame_size(result.length)
                outcomes.append((patch, result, memory[start : start + nbytes]))
            start += self._slots.frames[patch.modality]
        return EncodedChunk(outcomes, release=partial(self._slots.give_back, chunk.start))
