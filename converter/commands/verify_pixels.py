"""A store against the source it was made from, pixel by pixel, by another decoder.

Files are decoded by libtiff (imagecodecs) or GDAL here, never by the reader that `convert` uses: if
that reader has an error, both would have it.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from patchpress.converter.descriptions.description import Description
from patchpress.converter.encoding.apart import ApartReader
from patchpress.converter.encoding.fit import fit
from patchpress.converter.encoding.promises import Expected
from patchpress.converter.encoding.resample import resample_into
from patchpress.converter.encoding.tiff import Array
from patchpress.converter.memory import SharedMemory
from patchpress.converter.planning.work import count_patches
from patchpress.converter.processes import in_order
from patchpress.converter.progress import Progress
from patchpress.converter.side_by_side import SideBySide
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
from patchpress.converter.sources.chunks import Chunking, cell_pool
from patchpress.converter.sources.files import (
    LARGEST,
    open_files,
    usual_files_size,
)
from patchpress.converter.sources.folders import Walk
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.order import (
    patches_in_key_order,
    share_read,
    streams_of,
    walks_of,
)
from patchpress.converter.sources.passed_over import passed_over_lines
from patchpress.converter.sources.patch import Patch
from patchpress.converter.transfer.plan import COPIED
from patchpress.readers.errors import ExtentsUnusable, KeyMissing, PatchError, StoreDamaged
from patchpress.readers.format.modality import Band, Modality
from patchpress.readers.format.table import record_keys
from patchpress.readers.store import Store, open_store

PATCHES_IN_TASK = 32  # patches in a task at most
BYTES_IN_TASK = 4 << 20  # bytes of files out of archives in a task at most
TASKS = 4  # tasks under way for each worker


@dataclass
class ComparedPixels:
    """What was compared with the source."""

    keys: dict[str, list[str]]
    """Modality -> keys of its records that were compared."""
    compared: int = 0
    """How many."""
    problems: list[str] = field(default_factory=list)
    """A sentence for each difference."""
    notes: list[str] = field(default_factory=list)
    """Lines that tell what the source has beside its patches."""


class Comparison:
    """One run: what is compared with what, and what was found so far."""

    def __init__(
        self,
        store: Store,
        description: Description,
        parts: SourceParts,
        workers: int,
        progress: Progress,
    ) -> None:
        """Say what is compared.

        Args:
            store: what was made from the source.
            description: of the source's dataset.
            parts: where the source has its modalities.
            workers: how many processes decode at most; 0 for this one.
            progress: told of each chunk of patches.
        """
        self._store, self._description, self._parts = store, description, parts
        most = workers * PATCHES_IN_TASK
        patches = sum(count_patches(description, parts, name, most) for name in parts.modalities)
        self.workers = min(workers, max(1, -(-patches // PATCHES_IN_TASK)))
        """How many processes there should be: no more than there are tasks."""
        self._progress, self._tasks = progress, TASKS * max(self.workers, 1)
        self._chunking = _chunking(description, parts)
        packed = [description.modalities[name] for name in parts.packed]
        self._cells = cell_pool(packed, self._chunking, self._tasks)
        self._found = ComparedPixels({name: [] for name in store.manifest.modalities})
        # A store that was made with a limit, or is a copy of a part of one, has some patches only.
        options = store.manifest.options
        self._is_partial = options.get("limit") is not None or COPIED in options

    @property
    def shared(self) -> SharedMemory | None:
        """Where this process puts files out of archives for the workers."""
        return self._cells.shared if self._cells is not None else None

    def run(self, submit: Callable[[list[Patch]], Future[list[str | None]]]) -> ComparedPixels:
        """Compare every patch of the source with its record. Archives are read once.

        `submit` gives patches to a `PixelComparer` in another process.

        Raises:
            SourceError: an archive is damaged, ends early or is another dataset's.
            PatchpressError: a worker process died.
        """
        walks = walks_of(self._description, self._parts, self._note_error)
        options = self._stream_options()
        streams = streams_of(self._description, self._parts, self._note_error, options)
        walked = sum(1 for walk in walks.values() for _ in walk)
        total = walked if not streams else sum(options.most.values()) if options.most else None
        self._progress.start("comparing", total)
        chunks = self._announced(self._chunking.cut(patches_in_key_order(walks, streams)))
        for chunk, outcomes in in_order(
            chunks, submit, lambda under_way: under_way >= self._tasks - 1
        ):
            for patch, problem in zip(chunk, outcomes, strict=True):
                self._note(patch, problem)
            self._progress.advance(len(chunk), 0, share_read(streams))
        self._found.notes = self._notes(walks, streams)
        return self._found

    def _announced(self, chunks: Iterable[list[Patch]]) -> Iterator[list[Patch]]:
        """The chunks, each after the disk was told of its records."""
        for chunk in chunks:
            with suppress(StoreDamaged):  # who reads them says so
                self._store.announce([patch.key for patch in chunk])
            yield chunk

    def _notes(self, walks: Mapping[str, Walk], streams: Sequence[ArchiveStream]) -> list[str]:
        """What the source has that was not compared, because it is no patch."""
        lines = passed_over_lines(
            {name: walk.passed_over for name, walk in walks.items()},
            {name: found for stream in streams for name, found in stream.passed_over.items()},
        )
        leftovers = [sentence for stream in streams for sentence in stream.leftovers]
        return [*lines, *(f"  {note}" for note in (*self._parts.notes, *leftovers))]

    def _stream_options(self) -> StreamOptions:
        """What is wanted of archives: all patches, or no more than a partial store has."""
        if not self._is_partial:
            return StreamOptions(cells=self._cells)
        manifest = self._store.manifest
        keys = {
            name: frozenset(record_keys(self._store.path, manifest, name))
            for name in manifest.modalities
        }
        return StreamOptions(
            takes=lambda patch: patch.key in keys[patch.modality],
            most={name: len(of_modality) for name, of_modality in keys.items()},
            cells=self._cells,
        )

    def _note_error(self, error: PatchError) -> None:
        self._found.problems.append(str(error))

    def _note(self, patch: Patch, problem: str | None) -> None:
        """Note what comparing a patch gave."""
        if problem == NOT_STORED:
            if not (self._is_partial or patch.identity in self._description.defective):
                self._found.problems.append(f"{patch.folder} {problem}")
            return
        self._found.keys[patch.modality].append(patch.key)
        self._found.compared += 1
        if problem is not None:
            self._found.problems.append(f"{patch.folder} {problem}")


def _chunking(description: Description, parts: SourceParts) -> Chunking:
    """Chunks of at most `PATCHES_IN_TASK` patches, and `BYTES_IN_TASK` of files out of archives."""
    sizes = {
        name: usual_files_size(modality) if name in parts.packed else 0
        for name, modality in description.modalities.items()
    }
    return Chunking(sizes, nbytes=BYTES_IN_TASK, patches=PATCHES_IN_TASK)


NOT_STORED = "is not stored"


class PixelComparer:
    """Compares patches in one process, which opens the store for itself."""

    def __init__(
        self,
        path: Path,
        files: SharedMemory | None,
        threads: int,
    ) -> None:
        """`files` is where the parent process puts files out of archives.

        As many patches as `threads` are compared at once, while they wait for files.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExtentsUnusable)  # that is told by the main process
            store = open_store(path, stage=False)
        self._shared = files  # its view is valid as long as it lives
        memory = files.view if files is not None else None
        self._compare = SideBySide(lambda: _PatchComparer(store, memory), threads)

    def __call__(self, patches: list[Patch]) -> list[str | None]:
        """What is wrong with each patch's record, None if it is what the files say."""
        return self._compare(patches)

    def close(self) -> None:
        """End the threads, if there are some."""
        self._compare.close()


class _PatchComparer:
    """Compares a patch with its record. Not safe between threads, but for the store."""

    def __init__(self, store: Store, memory: memoryview | None) -> None:
        self._store, self._memory = store, memory
        self._readers: dict[tuple[str, int], ApartReader] = {}

    def __call__(self, patch: Patch) -> str | None:
        """What is wrong with a patch's record; None if nothing is."""
        try:
            return self._difference(patch)
        except KeyMissing:
            return NOT_STORED
        except (PatchError, StoreDamaged) as error:
            return f"cannot be compared: {error}"

    def _difference(self, patch: Patch) -> str | None:
        """What differs between a patch's files and its record."""
        stored = self._store.read_bands(patch.key)
        modality = self._store.manifest.modalities[patch.modality]
        files = open_files(patch.folder, patch.archived, self._memory)
        together: Array | None = None
        try:
            for number, band in enumerate(modality.bands):
                name = patch.file(band.name)
                # Either each band has a file, or one file has them all.
                if together is None or patch.after:
                    together = self._reader(modality, number, patch).read(name, files)
                pixels = together[0 if patch.after else number]
                differing = _differing(pixels, stored[band.name], modality, band)
                if differing:
                    return f"{name}: band {band.name} differs from the record in {differing}"
        finally:
            files.close()
        return None

    def _reader(self, modality: Modality, number: int, patch: Patch) -> ApartReader:
        """The reader of the files of a band; of those of all bands if these are in one."""
        asked = (modality.name, number if patch.after else -1)
        reader = self._readers.get(asked)
        if reader is None:
            band = modality.bands[number]
            count = 1 if patch.after else len(modality.bands)
            most = max(LARGEST, 2 * count * _nbytes(band))
            expected = Expected(np.dtype(band.dtype), count, None, most)
            reader = self._readers[asked] = ApartReader(expected)
        return reader


def _nbytes(band: Band) -> int:
    return np.dtype(band.dtype).itemsize * band.shape[0] * band.shape[1]


def _differing(pixels: Array, stored: Array, modality: Modality, band: Band) -> str:
    """How a record differs from its file: in so many pixels, or in dtype or size; else empty."""
    expected = np.ascontiguousarray(pixels)
    if modality.size != "keep":
        fitted = fit(expected, band.shape, modality.size, modality.resampling)
        expected = np.ascontiguousarray(fitted)
    alike = (expected.shape, expected.dtype) == (band.shape, stored.dtype)
    if modality.layout == "stacked" and alike:
        stacked = np.empty_like(stored)
        resample_into(expected, stacked, modality.resampling)
        expected = stacked
    if (expected.shape, expected.dtype) != (stored.shape, stored.dtype):
        return f"dtype or size: {expected.dtype} {expected.shape}"
    # Bytes, not values: NaN must equal NaN, and -0.0 must not equal 0.0.
    if expected.tobytes() == stored.tobytes():
        return ""
    bits = f"V{stored.dtype.itemsize}"
    return f"{int((expected.view(bits) != stored.view(bits)).sum()):,} pixels"
