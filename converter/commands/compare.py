"""A store against the source it was made from, pixel by pixel, by another decoder.

Pixels are decoded by libtiff (imagecodecs) or GDAL here, never by the reader that converting uses:
two ways that agree on every pixel are worth more than one.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.encoding.raster import decode_imagecodecs
from patchpress.converter.encoding.resample import resample_into
from patchpress.converter.encoding.tiff import Array, plain_strips, read_directory
from patchpress.converter.memory import CellPool, SharedMemory
from patchpress.converter.options import usable_cpus
from patchpress.converter.processes import in_order, worker_pool
from patchpress.converter.progress import Progress
from patchpress.converter.sources.archives import StreamOptions
from patchpress.converter.sources.chunks import Chunking, cell_pool
from patchpress.converter.sources.files import PatchFiles, open_files, usual_files_size
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.order import (
    patches_in_key_order,
    share_read,
    streams_of,
    walks_of,
)
from patchpress.converter.sources.patch import Patch
from patchpress.readers.errors import KeyMissing, PatchError, StoreDamaged
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import record_keys
from patchpress.readers.store import Store, open_store

CHUNK = 32  # patches a task
CHUNK_BYTES = 4 << 20  # and so many bytes of files that are held in memory


@dataclass
class Compared:
    """What was compared: records in all, their keys by modality, and a sentence a difference."""

    keys: dict[str, list[str]]
    compared: int = 0
    problems: list[str] = field(default_factory=list)
    total: int | None = None
    """Patches and records that progress was told of; None where archives tell of none."""


def compare(
    store: Store,
    description: Description,
    parts: SourceParts,
    workers: int | None,
    progress: Progress,
) -> Compared:
    """Compare every patch of the source with its record; archives are streamed once.

    Call it before this process has opened the store's LMDB environment: workers fork.

    Args:
        store: what was made from the source.
        description: of the source's dataset.
        parts: where the source has its modalities.
        workers: how many processes decode; 0 for this one, None for one a CPU.
        progress: told of each chunk of patches.

    Raises:
        SourceError: an archive is damaged, ends early or is another dataset's.
        PatchpressError: a worker process died.
    """
    count = usable_cpus() if workers is None else workers
    window = 4 * max(count, 1)
    chunking = _chunking(description, parts)
    cells = cell_pool([description.modalities[name] for name in parts.packed], chunking, window)
    files = cells.shared if cells is not None else None
    comparison = _Comparison(store, description, parts, chunking, cells, progress)
    made = store.path, description.modalities, files
    with worker_pool(count, _Comparer, *made, work="decoding") as submit:
        return comparison.run(submit, window)


@dataclass
class _Comparison:
    """One run: what is compared with what, and what was found so far."""

    store: Store
    description: Description
    parts: SourceParts
    chunking: Chunking
    cells: CellPool | None
    progress: Progress

    def __post_init__(self) -> None:
        self.found = Compared({name: [] for name in self.store.manifest.modalities})
        # A store of the first patches only need not have them all.
        self.partial = self.store.manifest.options.get("limit") is not None

    def run(
        self, submit: Callable[[list[Patch]], Future[list[str | None]]], window: int
    ) -> Compared:
        """Give all patches to the workers, at most `window` chunks at a time."""
        walks = walks_of(self.description, self.parts, self._tell)
        wish = _wish(self.store, self.cells, partial=self.partial)
        streams = streams_of(self.description, self.parts, self._tell, wish)
        walked = sum(1 for walk in walks.values() for _ in walk)
        self.found.total = None if streams else len(self.store) + walked
        few = sum(wish.most.values()) if wish.most else None
        self.progress.start(few if streams else self.found.total)
        chunks = self.chunking.cut(patches_in_key_order(walks, streams))
        for chunk, outcomes in in_order(chunks, submit, lambda under_way: under_way >= window - 1):
            for patch, problem in zip(chunk, outcomes, strict=True):
                self._note(patch, problem)
            self.progress.advance(len(chunk), 0, share_read(streams))
        return self.found

    def _tell(self, error: PatchError) -> None:
        self.found.problems.append(str(error))

    def _note(self, patch: Patch, problem: str | None) -> None:
        """Note what comparing a patch gave."""
        if problem == NOT_STORED:
            if not self.partial:
                self.found.problems.append(f"{patch.folder} {problem}")
            return
        self.found.keys[patch.modality].append(patch.key)
        self.found.compared += 1
        if problem is not None:
            self.found.problems.append(f"{patch.folder} {problem}")


def _wish(store: Store, cells: CellPool | None, *, partial: bool) -> StreamOptions:
    """What is asked of archives: all of them, or no more than the store has."""
    if not partial:
        return StreamOptions(cells=cells)
    keys = {
        name: frozenset(record_keys(store.path, store.manifest, name))
        for name in store.manifest.modalities
    }
    most = {name: len(those) for name, those in keys.items()}
    return StreamOptions(
        takes=lambda patch: patch.key in keys[patch.modality], most=most, cells=cells
    )


def _chunking(description: Description, parts: SourceParts) -> Chunking:
    """Chunks of so many patches, or of so many bytes of files out of archives."""
    sizes = {
        name: usual_files_size(modality) if name in parts.packed else 0
        for name, modality in description.modalities.items()
    }
    return Chunking(sizes, nbytes=CHUNK_BYTES, patches=CHUNK)


NOT_STORED = "is not stored"


class _Comparer:
    """What one process compares with: its own view of the store, and the files out of archives."""

    def __init__(
        self, path: Path, sources: Mapping[str, ModalitySource], files: SharedMemory | None
    ) -> None:
        """`files` is where the parent process puts files out of archives."""
        self._store, self._sources, self._shared = open_store(path), sources, files

    def __call__(self, patches: list[Patch]) -> list[str | None]:
        """What is wrong with each patch's record, None if it is what the files say."""
        outcomes: list[str | None] = []
        for patch in patches:
            try:
                outcomes.append(self._difference(patch))
            except KeyMissing:
                outcomes.append(NOT_STORED)
            except (PatchError, StoreDamaged) as error:
                outcomes.append(f"cannot be compared: {error}")
        return outcomes

    def _difference(self, patch: Patch) -> str | None:
        """What differs between a patch's files and its record."""
        stored = self._store.read_bands(patch.key)
        modality = self._store.manifest.modalities[patch.modality]
        memory = self._shared.view if self._shared is not None else None
        files = open_files(patch.folder, patch.archived, memory)
        together: Array | None = None
        try:
            for index, band in enumerate(self._sources[patch.modality].bands):
                name = patch.file(band.name)
                if together is None or patch.after:
                    together = _decoded(name, files)
                pixels = together[0 if patch.after else index]
                differing = _differing(pixels, stored[band.name], modality)
                if differing:
                    return f"{name}: band {band.name} differs from the record in {differing}"
        finally:
            files.close()
        return None


def _decoded(name: str, files: PatchFiles) -> Array:
    data = files.read(name)
    try:
        directory = read_directory(data)
        if directory is not None:
            plain_strips(directory, len(data))  # says how a truncated file is so
        return decode_imagecodecs(data)
    except PatchError as error:
        raise PatchError(f"{files.path(name)} {error}") from None


def _differing(pixels: Array, stored: Array, modality: Modality) -> str:
    """What differs, if anything: pixels by number, or dtype and size."""
    expected = np.ascontiguousarray(pixels)
    if modality.layout == "stacked" and pixels.dtype == stored.dtype:
        expected = np.empty_like(stored)
        resample_into(np.ascontiguousarray(pixels), expected, modality.resampling)
    if (expected.shape, expected.dtype) != (stored.shape, stored.dtype):
        return f"dtype or size: {expected.dtype} {expected.shape}"
    # Bytes, not values: NaN must equal NaN, and -0.0 must not equal 0.0.
    if expected.tobytes() == stored.tobytes():
        return ""
    bits = f"V{stored.dtype.itemsize}"
    return f"{int((expected.view(bits) != stored.view(bits)).sum()):,} pixels"
