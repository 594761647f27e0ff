"""Patches cut into chunks, one for each task of a worker, and memory for files under way."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from mmap import PAGESIZE

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.memory import CellPool
from patchpress.converter.sources.assembly import WINDOW
from patchpress.converter.sources.files import acquisitions_of, usual_files_size
from patchpress.converter.sources.patch import Patch


class Chunking:
    """Cuts a stream of patches into chunks of bounded size, in their order."""

    def __init__(
        self, sizes: Mapping[str, int], *, nbytes: int, patches: int | None = None
    ) -> None:
        """Say when a chunk ends: as soon as it has that many bytes or patches.

        Args:
            sizes: modality -> bytes that each patch of it adds to its chunk.
            nbytes: bytes of a chunk, which its last patch may exceed.
            patches: how many patches a chunk has at most; None sets no limit.
        """
        self._sizes, self._nbytes, self._patches = sizes, nbytes, patches

    def cut(self, patches: Iterable[Patch]) -> Iterator[list[Patch]]:
        """The chunks, none of them empty."""
        sizes, nbytes, most = self._sizes, self._nbytes, self._patches
        chunk: list[Patch] = []
        size = 0
        for patch in patches:
            chunk.append(patch)
            size += sizes[patch.modality]
            if size >= nbytes or len(chunk) == most:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def most_patches(self, modalities: Collection[str]) -> int:
        """How many patches a chunk of some modalities has at most; each adds at least a byte."""
        smallest = min(self._sizes[name] for name in modalities)
        most = self._nbytes // smallest + 1
        return most if self._patches is None else min(most, self._patches)


def cell_pool(
    modalities: Collection[ModalitySource], chunking: Chunking, tasks: int, *, room: int = 0
) -> CellPool | None:
    """Memory for the files of all patches under way that come out of archives; None for none.

    Behind the cells it has so many bytes of `room`.

    Under way are the chunks of `tasks`, one more that is being cut, and the patches of which only
    some files have come. Most of the memory is never touched, so it costs nothing.
    """
    if not modalities:
        return None
    size = max(usual_files_size(modality) for modality in modalities)
    chunk = chunking.most_patches([modality.name for modality in modalities])
    each = max(map(acquisitions_of, modalities))
    return CellPool(size + -size % PAGESIZE, (tasks + 1) * chunk * each + WINDOW, room=room)
