"""Patches to encoded records: chunks through workers, in order, in a window of reused memory."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple

from patchpress.converter.encoding.encoder import Encoded, Encoder, Recipe
from patchpress.converter.encoding.frame import PAGE_BYTES, SMALLEST, frame_size
from patchpress.converter.encoding.worker import Chunk, encode_chunk, start_worker
from patchpress.converter.memory import CellPool, free_shared_memory, shared_memory
from patchpress.converter.processes import CAN_FORK, SerialExecutor, kill, process_pool
from patchpress.converter.sources.chunks import Chunking, cell_pool
from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.unpacker import Unpacker, start_unpackers
from patchpress.readers.errors import PatchError, PatchpressError

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
    shared = shared_memory(window * slot) if CAN_FORK or not workers else None
    chunking = Chunking(frames, nbytes=CHUNK_BYTES)
    cells = None
    if shared is not None:
        cells = cell_pool([recipes[name].modality for name in packed], chunking, window)
    memory = cells.memory if cells is not None else None
    unpackers = start_unpackers(streams) if workers else []
    executor: Executor
    if workers:
        executor = process_pool(workers, start_worker, recipes, shared, memory)
    else:
        start_worker(recipes, shared, memory)
        executor = SerialExecutor()
    try:
        yield Encoding(executor, frames, chunking, slot, window, shared, cells, paged, unpackers)
    except BrokenProcessPool:
        raise PatchpressError(
            "a decoding process died (killed, or out of memory?): try again with fewer --workers"
        ) from None
    except BaseException:
        kill(executor)  # nobody waits for their chunks, and one may be stuck in a file
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        for unpacker in unpackers:
            unpacker.kill()
        for each in (shared, memory):
            free_shared_memory(each)


class Encoding:
    """A window of tasks, each with its slot of the shared memory.

    Called with patches, it gives their outcomes, task by task and in the order of the patches.
    `paged` tells whether records can be stored by `pages`; `unpackers` are processes to decompress
    what the patches come from.
    """

    def __init__(
        self,
        executor: Executor,
        frames: dict[str, int],
        chunking: Chunking,
        slot: int,
        window: int,
        shared: memoryview | None,
        cells: CellPool | None,
        paged: bool,
        unpackers: list[Unpacker],
    ) -> None:
        self.cells, self.paged, self.unpackers = cells, paged, list(unpackers)
        self._executor, self._frames, self._chunking = executor, frames, chunking
        self._slot, self._shared = slot, shared
        self._free: SimpleQueue[int] = SimpleQueue()
        for place in range(window):
            self._free.put(place)

    def __call__(self, patches: Iterable[Patch]) -> Iterator[Batch]:
        """Encode patches."""
        waiting: deque[tuple[list[Patch], int, Future[Chunk]]] = deque()
        for chunk in self._chunking.cut(patches):
            while waiting and self._free.empty():
                yield self._next(waiting)
            place = self._free.get()  # from whoever has the batches, at the latest
            future = self._executor.submit(encode_chunk, chunk, place * self._slot, self._slot)
            waiting.append((chunk, place, future))
        while waiting:
            yield self._next(waiting)

    def _next(self, waiting: deque[tuple[list[Patch], int, Future[Chunk]]]) -> Batch:
        patches, place, future = waiting.popleft()
        chunk = future.result()
        start = place * self._slot
        if chunk.payload is not None:
            memory = memoryview(chunk.payload)
        else:
            memory = self._shared[start : start + self._slot]  # type: ignore[index]
        outcomes: list[Outcome] = []
        position = 0
        for patch, result in zip(patches, chunk.records, strict=True):
            nbytes = 0 if isinstance(result, PatchError) else frame_size(result.length)
            outcomes.append((patch, result, memory[position : position + nbytes]))
            position += self._frames[patch.modality]
        return Batch(outcomes, partial(self._free.put, place))
