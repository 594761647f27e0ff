"""A store against the source it was made from, pixel by pixel, by another decoder.

Pixels are decoded by libtiff (imagecodecs) or GDAL here, never by the reader that converting uses:
two ways that agree on every pixel are worth more than one.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.encoding.raster import decode_imagecodecs
from patchpress.converter.encoding.resample import resample_into
from patchpress.converter.encoding.tiff import Array, plain_strips, read_directory
from patchpress.converter.memory import CellPool
from patchpress.converter.options import usable_cpus
from patchpress.converter.processes import CAN_FORK, SerialExecutor, process_pool
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
from patchpress.readers.errors import KeyMissing, PatchError, PatchpressError, StoreDamaged
from patchpress.readers.format.manifest import Modality
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

    Raises:
        SourceError: an archive is damaged, ends early or is another dataset's.
    """
    found = Compared({name: [] for name in store.manifest.modalities})
    count = usable_cpus() if workers is None else workers
    window = 4 * max(count, 1)
    chunking = _chunking(description, parts)
    cells = None
    if CAN_FORK or not count:
        packed = [description.modalities[name] for name in parts.packed]
        cells = cell_pool(packed, chunking, window)
    started = store.path, description, cells.memory if cells is not None else None
    executor = process_pool(count, _start, *started) if count else SerialExecutor()
    if not count:
        _start(*started)
    try:
        _compare_source(
            store, description, parts, found, executor, window, chunking, cells, progress
        )
    except BrokenProcessPool:
        raise PatchpressError(
            "a decoding process died (killed, or out of memory?): try again with fewer --workers"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)
    return found


def _compare_source(
    store: Store,
    description: Description,
    parts: SourceParts,
    found: Compared,
    executor: Executor,
    window: int,
    chunking: Chunking,
    cells: CellPool | None,
    progress: Progress,
) -> None:
    def tell(error: PatchError) -> None:
        found.problems.append(str(error))

    # A store of the first patches only need not have them all.
    partial = store.manifest.options.get("limit") is not None
    walks = walks_of(description, parts, tell)
    wish = _wish(store, cells, partial=partial)
    streams = streams_of(description, parts, tell, wish)
    walked = sum(1 for walk in walks.values() for _ in walk)
    found.total = None if streams else len(store) + walked
    few = sum(wish.most.values()) if wish.most else None
    progress.start(few if streams else found.total)
    chunks = chunking.cut(patches_in_key_order(walks, streams))
    for chunk, outcomes in _compare_all(executor, chunks, window):
        for patch, problem in zip(chunk, outcomes, strict=True):
            if problem == NOT_STORED:
                found.problems += [] if partial else [f"{patch.folder} {problem}"]
                continue
            found.keys[patch.modality].append(patch.key)
            found.compared += 1
            if problem is not None:
                found.problems.append(f"{patch.folder} {problem}")
        progress.advance(len(chunk), 0, share_read(streams))


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


# A worker process keeps its store, the description and its view of the files out of archives here.
_store: Store | None = None
_sources: dict[str, ModalitySource] = {}
_memory: memoryview | None = None


def _start(path: Path, description: Description, memory: memoryview | None) -> None:
    global _store, _memory  # a process pool hands state to its tasks no other way
    _store, _memory = open_store(path), memory
    _sources.update(description.modalities)


def _compare_all(
    executor: Executor, chunks: Iterable[list[Patch]], window: int
) -> Iterator[tuple[Sequence[Patch], list[str | None]]]:
    waiting: deque[tuple[list[Patch], Future[list[str | None]]]] = deque()
    for chunk in chunks:
        waiting.append((chunk, executor.submit(_compare, chunk)))
        if len(waiting) >= window:
            done, future = waiting.popleft()
            yield done, future.result()
    for done, future in waiting:
        yield done, future.result()


NOT_STORED = "is not stored"


def _compare(patches: Iterable[Patch]) -> list[str | None]:
    """What is wrong with each patch's record, None where it is what the files say."""
    if _store is None:
        raise RuntimeError("the worker was not started")
    outcomes: list[str | None] = []
    for patch in patches:
        try:
            outcomes.append(_difference(_store, _sources[patch.modality], patch))
        except KeyMissing:
            outcomes.append(NOT_STORED)
        except (PatchError, StoreDamaged) as error:
            outcomes.append(f"cannot be compared: {error}")
    return outcomes


def _difference(store: Store, source: ModalitySource, patch: Patch) -> str | None:
    """What differs between a patch's files and its record."""
    stored = store.read_bands(patch.key)
    modality = store.manifest.modalities[patch.modality]
    files = open_files(patch.folder, patch.archived, _memory)
    together: Array | None = None
    try:
        for index, band in enumerate(source.bands):
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
