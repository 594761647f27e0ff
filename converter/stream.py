"""Patches to encoded records: chunks through workers, in order, in a window of reused memory."""

import mmap
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from converter.archives import WINDOW, files_size
from converter.contents import Cells
from converter.encode import Encoded, Encoder, Recipe
from converter.executors import CAN_FORK, SerialExecutor, kill, process_pool
from converter.sources import Patch
from converter.worker import Chunk, encode_chunk, start_worker
from readers.errors import PatchError, PatchpressError

# One task: long against the cost of handing it over, short against the caches and the window.
CHUNK_BYTES = 4 << 20

Outcome = tuple[Patch, Encoded | PatchError, memoryview]


@contextmanager
def encoding(
    recipes: dict[str, Recipe], workers: int, packed: Collection[str] = ()
) -> Iterator["Encoding"]:
    """Encodes patches: in `workers` processes, or in this one for 0.

    `packed` are the modalities whose files come out of archives.
    """
    capacities = {name: Encoder(recipe).capacity for name, recipe in recipes.items()}
    slot = CHUNK_BYTES + max(capacities.values())
    window = 2 * workers + 2 if workers else 1
    shared = memoryview(mmap.mmap(-1, window * slot)) if CAN_FORK or not workers else None
    cells = _cells(recipes, packed, capacities, window) if shared is not None else None
    memory = cells.memory if cells is not None else None
    executor: Executor
    if workers:
        executor = process_pool(workers, start_worker, recipes, shared, memory)
    else:
        start_worker(recipes, shared, memory)
        executor = SerialExecutor()
    try:
        yield Encoding(executor, capacities, slot, window, shared, cells)
    except BrokenProcessPool:
        raise PatchpressError(
            "a decoding process died (killed, or out of memory?): try again with fewer --workers"
        ) from None
    except BaseException:
        kill(executor)  # nobody waits for their chunks, and one may be stuck in a file
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _cells(
    recipes: dict[str, Recipe], packed: Collection[str], capacities: dict[str, int], window: int
) -> Cells | None:
    """Memory for the files of as many patches as can be under way; most of it is never touched."""
    if not packed:
        return None
    size = max(files_size(recipes[name].modality) for name in packed)
    under_way = window * (CHUNK_BYTES // min(capacities[name] for name in packed) + 1)
    return Cells(-size % mmap.PAGESIZE + size, WINDOW + under_way)


class Encoding:
    """A window of tasks, each with its slot of the shared memory.

    Called with patches, it gives, chunk by chunk and in the order of the patches, each patch with
    what is known of its record or its error, and its bytes, which are valid until the next chunk is
    asked for.
    """

    def __init__(
        self,
        executor: Executor,
        capacities: dict[str, int],
        slot: int,
        window: int,
        shared: memoryview | None,
        cells: Cells | None,
    ) -> None:
        self.cells = cells
        self._executor, self._capacities = executor, capacities
        self._slot, self._shared = slot, shared
        self._free = deque(range(window))

    def __call__(self, patches: Iterable[Patch]) -> Iterator[list[Outcome]]:
        """Encode patches."""
        waiting: deque[tuple[list[Patch], int, Future[Chunk]]] = deque()
        for chunk in self._chunks(patches):
            if not self._free:
                yield from self._next(waiting)
            place = self._free.popleft()
            future = self._executor.submit(encode_chunk, chunk, place * self._slot, self._slot)
            waiting.append((chunk, place, future))
        while waiting:
            yield from self._next(waiting)

    def _next(
        self, waiting: deque[tuple[list[Patch], int, Future[Chunk]]]
    ) -> Iterator[list[Outcome]]:
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
            length = 0 if isinstance(result, PatchError) else result.length
            outcomes.append((patch, result, memory[position : position + length]))
            position += self._capacities[patch.modality]
        yield outcomes
        self._free.append(place)

    def _chunks(self, patches: Iterable[Patch]) -> Iterator[list[Patch]]:
        chunk: list[Patch] = []
        size = 0
        for patch in patches:
            chunk.append(patch)
            size += self._capacities[patch.modality]
            if size >= CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk
