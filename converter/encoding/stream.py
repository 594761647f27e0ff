"""Patches to encoded records: chunks through workers, in order, in a window of reused memory."""

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple

from patchpress.converter.encoding.encoder import Encoded, Encoder, Recipe
from patchpress.converter.encoding.frame import PAGE_BYTES, SMALLEST, frame_size
from patchpress.converter.encoding.worker import Chunk, ChunkEncoder
from patchpress.converter.memory import CellPool, SharedMemory
from patchpress.converter.processes import in_order, worker_pool
from patchpress.converter.sources.chunks import Chunking, cell_pool
from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.unpacker import Unpacker, start_unpackers
from patchpress.readers.errors import PatchError

# One task: long against the cost of handing it over, short against the caches and the window.
CHUNK_BYTES = 4 << 20

Outcome = tuple[Patch, Encoded | PatchError, memoryview]
"""A patch, what is known of its record, and the frame that it lies in (see `worker`)."""


class Batch(NamedTuple):
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
) -> Iterator["Encoding"]:
    """Encodes patches: in `workers` processes, or in this one for 0.

    `packed` are the modalities whose files come out of archives, in so many `streams`. `writing`
    is how many batches may wait to be written, each with memory of its own.
    """
    encoders = {name: Encoder(recipe) for name, recipe in recipes.items()}
    frames = {name: frame_size(encoder.capacity) for name, encoder in encoders.items()}
    paged = all(encoder.fixed_size >= SMALLEST for encoder in encoders.values())
    slot = -(-CHUNK_BYTES // PAGE_BYTES) * PAGE_BYTES + max(frames.values())
    # Beside what workers have and what waits for them: what is on its way to the disk.
    window = 2 * workers + 2 + writing if workers else 1 + writing
    shared = SharedMemory(window * slot)
    chunking = Chunking(frames, nbytes=CHUNK_BYTES)
    cells = cell_pool([recipes[name].modality for name in packed], chunking, window)
    files = cells.shared if cells is not None else None
    # Before the pool, which starts a thread: then they can be forked.
    unpackers = start_unpackers(streams if workers else 0)
    try:
        with worker_pool(workers, ChunkEncoder, recipes, shared, files, work="decoding") as submit:
            yield Encoding(
                submit, frames, chunking, slot, window, shared.view, cells, paged, unpackers
            )
    finally:
        for unpacker in unpackers:
            unpacker.kill()
        shared.free()
        if files is not None:
            files.free()


class Encoding:
    """A window of tasks, each with its slot of the shared memory.

    Called with patches, it gives their outcomes, task by task and in the order of the patches.
    `paged` tells whether records can be stored by `pages`; `unpackers` are processes to decompress
    what the patches come from.
    """

    def __init__(
        self,
        submit: Callable[[list[Patch], int, int], Future[Chunk]],
        frames: dict[str, int],
        chunking: Chunking,
        slot: int,
        window: int,
        shared: memoryview,
        cells: CellPool | None,
        paged: bool,
        unpackers: list[Unpacker],
    ) -> None:
        self.cells, self.paged, self.unpackers = cells, paged, list(unpackers)
        self._submit, self._frames, self._chunking = submit, frames, chunking
        self._slot, self._shared = slot, shared
        self._free: SimpleQueue[int] = SimpleQueue()
        for place in range(window):
            self._free.put(place)

    def __call__(self, patches: Iterable[Patch]) -> Iterator[Batch]:
        """Encode patches."""
        chunks = self._chunking.cut(patches)
        for chunk, encoded in in_order(chunks, self._encode, self._full):
            yield self._batch(chunk, encoded)

    def _full(self, under_way: int) -> bool:
        """Whether the oldest task must be given on before there can be another."""
        return self._free.empty()

    def _encode(self, patches: list[Patch]) -> Future[Chunk]:
        slot = self._free.get()  # from whoever has the batches, at the latest
        return self._submit(patches, slot * self._slot, self._slot)

    def _batch(self, patches: list[Patch], chunk: Chunk) -> Batch:
        outcomes: list[Outcome] = []
        position = chunk.start
        for patch, result in zip(patches, chunk.records, strict=True):
            nbytes = 0 if isinstance(result, PatchError) else frame_size(result.length)
            outcomes.append((patch, result, self._shared[position : position + nbytes]))
            position += self._frames[patch.modality]
        return Batch(outcomes, partial(self._free.put, chunk.start // self._slot))
