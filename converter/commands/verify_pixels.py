"""A store against the source it was made from, pixel by pixel, by another decoder.

Files are decoded by libtiff (imagecodecs) or GDAL here, never by the reader that `convert` uses: if
that reader has an error, both would have it.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np

from patchpress.converter.descriptions.band_files import BandFile
from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.encoding.apart import ApartReader
from patchpress.converter.encoding.file_formats import apart_decoder_of
from patchpress.converter.encoding.fit import fit
from patchpress.converter.encoding.promises import Expected
from patchpress.converter.encoding.resample import resample_into
from patchpress.converter.encoding.stacked_dates import by_date
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
    acquisitions_of,
    usual_files_size,
)
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.opener import PatchOpener
from patchpress.converter.sources.order import (
    patches_in_key_order,
    share_read,
    streams_of,
    walks_of,
)
from patchpress.converter.sources.passed_over import passed_over_lines
from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.walks import PatchWalk
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

    def _notes(self, walks: Mapping[str, PatchWalk], streams: Sequence[ArchiveStream]) -> list[str]:
        """What the source has that was not compared, because it is no patch."""
        lines = passed_over_lines(
            {name: walk.passed_over for name, walk in walks.items()},
            {
                name: found
                for each in (
                    *(walk.passed_over_in_archives for walk in walks.values()),
                    *(stream.passed_over for stream in streams),
                )
                for name, found in each.items()
            },
        )
        leftovers = [note for walk in walks.values() for note in walk.notes]
        leftovers += [sentence for stream in streams for sentence in stream.leftovers]
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
        name: usual_files_size(modality) * acquisitions_of(modality) if name in parts.packed else 0
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
        sources: Mapping[str, ModalitySource],
    ) -> None:
        """`files` is where the parent process puts files out of archives.

        As many patches as `threads` are compared at once, while they wait for files.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExtentsUnusable)  # that is told by the main process
            store = open_store(path, stage=False)
        self._shared = files  # its view is valid as long as it lives
        memory = files.view if files is not None else None
        self._compare = SideBySide(
            lambda: _PatchComparer(store, PatchOpener(memory), sources), threads
        )

    def __call__(self, patches: list[Patch]) -> list[str | None]:
        """What is wrong with each patch's record, None if it is what the files say."""
        return self._compare(patches)

    def close(self) -> None:
        """End the threads, if there are some."""
        self._compare.close()


class _PatchComparer:
    """Compares a patch with its record. Not safe between threads, but for the store."""

    def __init__(
        self, store: Store, opener: PatchOpener, sources: Mapping[str, ModalitySource]
    ) -> None:
        self._store, self._opener, self._sources = store, opener, sources
        self._readers: dict[tuple[str, bool, str], ApartReader] = {}

    def announce(self, patch: Patch) -> None:
        """Tell the disk of the files of a patch."""
        modality = self._sources[patch.modality]
        files, nbytes = modality.files_of(apart=patch.apart), usual_files_size(modality)
        self._opener.announce_all(
            patch.acquisitions or (patch,),
            lambda one: [one.file(file.name) for file in files],
            nbytes,
        )

    def forget(self) -> None:
        """Close the files of patches that were announced and not compared."""
        self._opener.forget()

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
        if not modality.steps:
            return self._difference_of(patch, stored, modality)
        if not patch.acquisitions:
            return self._difference_of_stacked(patch, stored, modality)
        for step, one in enumerate(patch.acquisitions):
            of_step = {name: array[step] for name, array in stored.items()}
            found = self._difference_of(one, of_step, modality)
            if found is not None:
                folder = one.folder.removeprefix(patch.folder).lstrip("/")
                return f"{folder}/{found}" if folder else found
        return _not_empty(stored, len(patch.acquisitions))

    def _difference_of(
        self, patch: Patch, stored: Mapping[str, Array], modality: Modality
    ) -> str | None:
        """What differs between the files of one date and its bands in the record."""
        files = self._opener(patch)
        try:
            for file in self._sources[patch.modality].files_of(apart=patch.apart):
                name = patch.file(file.name)
                if not set(file.bands) & set(modality.band_names):
                    continue  # of a copy that has other bands
                pixels = self._reader(modality, file, patch).read(name, files)
                for band in modality.bands:
                    if band.name not in file.bands:
                        continue
                    of_band = pixels[file.bands.index(band.name)]
                    differing = _differing(of_band, stored[band.name], modality, band)
                    if differing:
                        return f"{name}: band {band.name} differs from the record in {differing}"
        finally:
            files.close()
        return None

    def _difference_of_stacked(
        self, patch: Patch, stored: Mapping[str, Array], modality: Modality
    ) -> str | None:
        """The same for files that have the bands of several dates."""
        source, count = self._sources[patch.modality], 0
        order = source.time.order if source.time else ""
        most = max(LARGEST, 2 * modality.form.size)
        expected = Expected(np.dtype(modality.bands[0].dtype), None, None, most)
        reader = ApartReader(expected, apart_decoder_of(source.file_format))
        files = self._opener(patch)
        try:
            for file in source.files_of(apart=patch.apart):
                name = patch.file(file.name)
                dates = by_date(reader.read(name, files), len(file.bands), order)
                count = len(dates)
                for step, band in product(range(count), modality.bands):
                    if band.name not in file.bands:
                        continue
                    pixels = dates[step, file.bands.index(band.name)]
                    differing = _differing(pixels, stored[band.name][step], modality, band)
                    if differing:
                        return f"{name}: band {band.name} of step {step} differs in {differing}"
        finally:
            files.close()
        return _not_empty(stored, count)

    def _reader(self, modality: Modality, file: BandFile, patch: Patch) -> ApartReader:
        """The reader of files that hold these bands."""
        asked = (modality.name, patch.apart, file.name)
        reader = self._readers.get(asked)
        if reader is None:
            count = len(file.bands)
            band = next(band for band in modality.bands if band.name in file.bands)
            most = max(LARGEST, 2 * count * _nbytes(band))
            expected = Expected(np.dtype(band.dtype), count, None, most)
            reader = self._readers[asked] = ApartReader(
                expected, apart_decoder_of(self._sources[modality.name].file_format)
            )
        return reader


def _not_empty(stored: Mapping[str, Array], count: int) -> str | None:
    """A sentence if steps after the last date of a place have pixels."""
    if not any(array[count:].any() for array in stored.values()):
        return None
    return f"has {count} dates, but its record has pixels in later steps"


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
