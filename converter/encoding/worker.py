"""What a worker process keeps, and the task it runs: patches to records in shared memory."""

from typing import NamedTuple

from patchpress.converter.encoding.encoder import Encoded, Encoder, Recipe
from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM, frame_size
from patchpress.converter.sources.patch import Patch
from patchpress.readers.errors import PatchError

# A worker process keeps its encoders and its view of the shared memory here.
_encoders: dict[str, Encoder] = {}
_shared: memoryview | None = None
_cells: memoryview | None = None


def start_worker(
    recipes: dict[str, Recipe], shared: memoryview | None, cells: memoryview | None
) -> None:
    """Make this process's encoders.

    `shared` is memory for records that the parent sees, if there is any; `cells` that where it puts
    the files out of archives.
    """
    global _shared, _cells  # a process pool hands state to its tasks no other way
    _encoders.clear()
    _encoders.update({name: Encoder(recipe) for name, recipe in recipes.items()})
    _shared, _cells = shared, cells


class Chunk(NamedTuple):
    """What a task gives back for its patches, in order, and their bytes where not shared."""

    records: list[Encoded | PatchError]
    payload: bytes | None


def encode_chunk(patches: list[Patch], start: int, size: int) -> Chunk:
    """Encode patches one behind the other, each to a frame of its own, into shared[start:][:size].

    A frame is as many whole pages as a record takes at most, with `pages.ROOM` bytes before it and
    zeros behind. A patch that is not as described gives its `PatchError` in place of its record.
    """
    own = memoryview(bytearray(size)) if _shared is None else None
    memory = own if own is not None else _shared[start : start + size]  # type: ignore[index]
    records: list[Encoded | PatchError] = []
    position = 0
    for patch in patches:
        encoder = _encoders[patch.modality]
        begin = position + ROOM
        position += frame_size(encoder.capacity)
        try:
            record = encoder.encode(patch, memory[begin:position], _cells)
        except PatchError as error:
            records.append(error)
            continue
        records.append(record)
        end = begin + record.length
        padding = -end % PAGE_BYTES
        memory[end : end + padding] = bytes(padding)
    return Chunk(records, bytes(own) if own is not None else None)
