"""What a worker process does: it encodes patches to records in shared memory."""

from typing import NamedTuple

from patchpress.converter.encoding.encoder import Encoded, Encoder, Recipe
from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM, frame_size
from patchpress.converter.encoding.time_encoder import TimeEncoder, encoder_of
from patchpress.converter.memory import SharedMemory
from patchpress.converter.side_by_side import SideBySide
from patchpress.converter.sources.opener import PatchOpener
from patchpress.converter.sources.patch import Patch
from patchpress.readers.errors import PatchError


class Chunk(NamedTuple):
    """What a task gives back."""

    start: int
    """Where the frames of its records begin in shared memory."""
    records: list[Encoded | PatchError]
    """One for each patch, in order."""


class _Item(NamedTuple):
    """One patch of a task, and the memory for its record."""

    patch: Patch
    memory: memoryview
    """The memory from the record's first byte to the end of its frame."""


class ChunkEncoder:
    """The encoders of one process, called with a task's patches."""

    def __init__(
        self,
        recipes: dict[str, Recipe],
        records: SharedMemory,
        files: SharedMemory | None,
        threads: int = 1,
    ) -> None:
        """Make the encoders.

        Args:
            recipes: modality -> how its records are made.
            records: they are written to it.
            files: the parent process puts files out of archives into it.
            threads: as many patches may be encoded at once, while they wait for files.
        """
        self._shared = records, files  # its views are valid as long as it lives
        self._records = records.view
        first = {name: encoder_of(recipe) for name, recipe in recipes.items()}
        self._frames = {name: frame_size(encoder.capacity) for name, encoder in first.items()}
        cells = files.view if files is not None else None
        self._encode = SideBySide(
            lambda: _PatchEncoder(recipes, first, PatchOpener(cells)), threads
        )

    def __call__(self, patches: list[Patch], start: int, size: int) -> Chunk:
        """Encode patches one after the other, each to its own frame in records[start:][:size].

        A frame is as many whole pages as the largest record of its modality needs: `ROOM` bytes
        before the record, and zeros after it up to the end of its last page. A patch that is not
        as described gives its `PatchError` instead of a record.
        """
        memory = self._records[start : start + size]
        items: list[_Item] = []
        position = 0
        for patch in patches:
            begin = position + ROOM
            position += self._frames[patch.modality]
            items.append(_Item(patch, memory[begin:position]))
        return Chunk(start, self._encode(items))

    def close(self) -> None:
        """End the threads, if there are some."""
        self._encode.close()


class _PatchEncoder:
    """Encodes a patch with the encoder of its modality. Not safe between threads."""

    def __init__(
        self,
        recipes: dict[str, Recipe],
        first: dict[str, Encoder | TimeEncoder],
        opener: PatchOpener,
    ) -> None:
        """What the encoders learn of files, they share with those that were the first."""
        self._encoders = {name: encoder_of(recipe, first[name]) for name, recipe in recipes.items()}
        self._opener = opener

    def announce(self, item: _Item) -> None:
        """Tell the disk of the files of a patch."""
        self._encoders[item.patch.modality].announce(item.patch, self._opener)

    def forget(self) -> None:
        """Close the files of patches that were announced and not encoded."""
        self._opener.forget()

    def __call__(self, item: _Item) -> Encoded | PatchError:
        patch, memory = item
        try:
            record = self._encoders[patch.modality].encode(patch, memory, self._opener)
        except PatchError as error:
            return error
        if record.apart is None:
            end = record.length
            padding = -(ROOM + end) % PAGE_BYTES
            memory[end : end + padding] = bytes(padding)
        return record
