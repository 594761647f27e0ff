"""A store against the source it was made from, pixel by pixel, by another decoder.

Pixels are decoded by libtiff (imagecodecs) or GDAL here, never by the reader that converting uses:
two ways that agree on every pixel are worth more than one.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from converter.contents import Folder, open_folder
from converter.description import Description, ModalitySource
from converter.executors import SerialExecutor, process_pool
from converter.options import usable_cpus
from converter.ordered import in_key_order, walks_of
from converter.progress import Progress
from converter.raster import Array, decode_imagecodecs, plain_strips, read_directory
from converter.resample import resample_into
from converter.roots import Roots
from converter.sources import Patch
from readers.errors import KeyMissing, PatchError, StoreDamaged
from readers.manifest import Modality
from readers.store import Store, open_store

CHUNK = 32  # patches a task


@dataclass
class Compared:
    """What was compared: records in all, their keys by modality, and a sentence a difference."""

    keys: dict[str, list[str]]
    compared: int = 0
    problems: list[str] = field(default_factory=list)


def compare(
    store: Store,
    description: Description,
    roots: Roots,
    workers: int | None,
    progress: Progress,
) -> Compared:
    """Compare every patch of the source with its record.

    Call it before this process has opened the store's LMDB environment: workers fork.
    """
    found = Compared({name: [] for name in store.manifest.modalities})
    count = usable_cpus() if workers is None else workers
    executor = process_pool(count, _start, store.path, description) if count else SerialExecutor()
    if not count:
        _start(store.path, description)
    try:
        walks = walks_of(description, roots, lambda error: found.problems.append(str(error)))
        progress.start(len(store) + sum(1 for walk in walks.values() for _ in walk))
        partial = store.manifest.options.get("limit") is not None
        window = 4 * max(count, 1)
        for patches, outcomes in _compare_all(executor, in_key_order(walks), window):
            for patch, problem in zip(patches, outcomes, strict=True):
                if problem == NOT_STORED:
                    # A store of the first patches only need not have them all.
                    found.problems += [] if partial else [f"{patch.folder} {problem}"]
                    continue
                found.keys[patch.modality].append(patch.key)
                found.compared += 1
                if problem is not None:
                    found.problems.append(f"{patch.folder} {problem}")
            progress.advance(len(patches), 0)
    finally:
        executor.shutdown(cancel_futures=True)
    return found


# A worker process keeps its store and the description here.
_store: Store | None = None
_sources: dict[str, ModalitySource] = {}


def _start(path: Path, description: Description) -> None:
    global _store  # a process pool hands state to its tasks no other way
    _store = open_store(path)
    _sources.update(description.modalities)


def _compare_all(
    executor: Executor, patches: Iterator[Patch], window: int
) -> Iterator[tuple[list[Patch], list[str | None]]]:
    waiting: list[tuple[list[Patch], Any]] = []
    while chunk := list(islice(patches, CHUNK)):
        waiting.append((chunk, executor.submit(_compare, chunk)))
        if len(waiting) >= window:
            done, future = waiting.pop(0)
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
    folder = open_folder(patch.folder, patch.contents)
    together: Array | None = None
    try:
        for index, band in enumerate(source.bands):
            name = f"{patch.before}{band.name}{patch.after}" if patch.after else patch.before
            if together is None or patch.after:
                together = _decoded(name, folder)
            pixels = together[0 if patch.after else index]
            differing = _differing(pixels, stored[band.name], modality)
            if differing:
                return f"{name}: band {band.name} differs from the record in {differing}"
    finally:
        folder.close()
    return None


def _decoded(name: str, folder: Folder) -> Array:
    data = folder.read(name)
    try:
        directory = read_directory(data)
        if directory is not None:
            plain_strips(directory, len(data))  # says how a truncated file is so
        return decode_imagecodecs(data)
    except PatchError as error:
        raise PatchError(f"{name} {error}") from None


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
