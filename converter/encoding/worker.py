"""What a worker process does: it encodes patches to records in shared memory."""

from typing import NamedTuple

from patchpress.converter.encoding.encoder import Encoded, Encoder, Recipe
from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM, frame_size
from patchpress.converter.memory import SharedMemory
from patchpress.converter.sources.patch import Patch
from patchpress.readers.errors import PatchError


class Chunk(NamedTuple):
    """What a task gives back."""

    start: int
    """Where the frames of its records begin in shared memory."""
    records: list[Encoded | PatchError]
    """One for each patch, in order."""


class ChunkEncoder:
    """The encoders of one process, called with a task's patches."""

    def __init__(
        self, recipes: dict[str, Recipe], records: SharedMemory, files: SharedMemory | None
    ) -> None:
        """It writes to `records`; the parent process puts files out of archives into `files`."""
        self._encoders = {name: Encoder(recipe) for name, recipe in recipes.items()}
        self._shared = records, files  # its views are valid as long as it lives
        self._records, self._files = records.view, files.view if files is not None else None

    def __call__(self, patches: list[Patch], start: int, size: int) -> Chunk:
        """Encode patches one after the other, each to its own frame in records[start:][:size].

        A frame is as many whole pages as the largest record of its modality needs: `ROOM` bytes
        before the record, and zeros after it up to the end of its last page. A patch that is not
        as described gives its `PatchError` instead of a record.
        """
        memory = self._records[start : start + size]
        records: list[Encoded | PatchError] = []
        position = 0
        for patch in patches:
            encoder = self._encoders[patch.modality]
            begin = position + ROOM
            position += frame_size(encoder.capacity)
            try:
                record = encoder.encode(patch, memory[begin:position], self._files)
            except PatchError as error:
                records.append(error)
                continue
            records.append(record)
            if record.apart is not None:
                continue
            end = begin + record.length
            padding = -end % PAGE_BYTES
            memory[end : end + padding] = bytes(padding)
        return Chunk(start, records)
