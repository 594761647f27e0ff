"""`stats`: each band's statistics over a split, in one pass of parallel workers.

Parts are merged in an order that only the data give, so that the bytes of the result do not depend
on the workers.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from errno import EACCES, EPERM, EROFS
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.commands.counting import Part, Tally
from patchpress.converter.options import usable_cpus
from patchpress.converter.processes import SerialExecutor, process_pool
from patchpress.converter.progress import Progress, Silent
from patchpress.converter.storage.folder import writing
from patchpress.converter.text import columns
from patchpress.readers.errors import (
    OptionError,
    PatchpressError,
    SelectionEmpty,
    StatisticsStale,
    StoreDamaged,
    TargetError,
)
from patchpress.readers.format.manifest import (
    STATISTICS,
    Manifest,
    Modality,
    read_manifest,
    write_whole,
)
from patchpress.readers.format.table import record_keys
from patchpress.readers.statistics import (
    ALL,
    PERCENTILES,
    Entries,
    Statistics,
    entry_name,
    from_bytes,
    to_bytes,
)
from patchpress.readers.store import Store, open_store

Array = npt.NDArray[Any]

# What is merged, and in what order, must not depend on the workers: float sums would.
CHUNKS = 64  # tasks a modality: enough for an even load, few enough for their counts to travel
CHUNK_RECORDS = 512  # at least so many records a task
BATCH_RECORDS, BATCH_BYTES = 16, 8 << 20  # at most so many are in memory at a time: in the cache

Task = Callable[[str, Sequence[str]], "list[Part]"]
Submit = Callable[[str, Sequence[str]], "Future[list[Part]]"]


def compute(
    store: str | Path,
    split: str | None = None,
    modalities: Sequence[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Statistics]:
    """Statistics of each modality (all images for None) over a split (all records for None).

    `workers` are processes beside this one, one a CPU for None; the result does not depend on them.

    Raises:
        SelectionEmpty: the store has no such split or modality, or no record in both.
        OptionError: a modality of codes, or a negative number of workers.
        StoreError: there is no finished store, or it is damaged.
    """
    if workers is not None and workers < 0:
        raise OptionError(f"workers must be 0 or more, not {workers}")
    opened = open_store(store)
    entry = entry_name(opened.manifest, split)
    chosen = _images(opened.manifest, modalities)
    counts = {m.name: _count(opened.manifest, m, entry) for m in chosen}
    tasks = sum(math.ceil(n / _chunk_size(n)) for n in counts.values())
    processes = min(usable_cpus() if workers is None else workers, tasks)
    executor: Executor = SerialExecutor()
    task: Task = partial(count_records, opened)
    # Workers fork before this process opens the LMDB environment and pyarrow.
    if processes > 1 or workers:
        executor = process_pool(processes, _start_worker, opened)
        task = _count_in_worker
    progress = progress or Silent()
    try:
        progress.start(sum(counts.values()))
        window = 2 * processes
        return [_statistics(opened, m, entry, _to(executor, task), window, progress)
                for m in chosen]  # fmt: skip
    except BrokenProcessPool:
        raise PatchpressError(
            "a counting process died (killed, or out of memory?): try again with fewer --workers"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _to(executor: Executor, task: Task) -> Submit:
    return lambda name, keys: executor.submit(task, name, keys)


def _images(manifest: Manifest, names: Sequence[str] | None) -> list[Modality]:
    chosen = [manifest.modality(name) for name in dict.fromkeys(names or manifest.modalities)]
    images = [modality for modality in chosen if modality.kind != "classes"]
    if not images or (names and len(images) < len(chosen)):
        name = next(modality.name for modality in chosen if modality.kind == "classes")
        there = ", ".join(m.name for m in manifest.modalities.values() if m.kind != "classes")
        raise OptionError(
            f"modality {name!r} has codes of classes, which have no mean: choose one of images "
            f"({there or 'this store has none'})"
        )
    return images


def _count(manifest: Manifest, modality: Modality, entry: str) -> int:
    count = modality.records if entry == ALL else manifest.splits[entry][modality.name]
    if not count:
        others = [m for m in manifest.modalities if m != modality.name]
        raise SelectionEmpty(
            f"no record of {modality.name} is in split {entry!r}: choose another split, or another "
            f"--modality ({', '.join(others) or 'there is none'})"
        )
    return count


def _chunk_size(records: int) -> int:
    return max(CHUNK_RECORDS, math.ceil(records / CHUNKS))


def _statistics(
    store: Store, modality: Modality, entry: str, submit: Submit, window: int, progress: Progress
) -> Statistics:
    """One modality's chunks through the workers, merged in their order."""
    keys = record_keys(store.path, store.manifest, modality.name, None if entry == ALL else entry)
    size = _chunk_size(len(keys))
    nbytes = modality.form.size
    tallies = [Tally.of(modality.dtype) for _ in modality.bands]
    waiting: deque[tuple[int, Future[list[Part]]]] = deque()

    def take() -> None:
        records, future = waiting.popleft()
        for tally, part in zip(tallies, future.result(), strict=True):
            tally.merge(part)
        progress.advance(records, records * nbytes)

    for start in range(0, len(keys), size):
        if len(waiting) > window:
            take()
        chunk = keys[start : start + size]
        waiting.append((len(chunk), submit(modality.name, chunk)))
    while waiting:
        take()
    bands = zip(modality.band_names, tallies, strict=True)
    return Statistics(modality.name, entry, len(keys), tuple(t.result(name) for name, t in bands))


# A worker process keeps its store here: a process pool hands state to its tasks no other way.
_stores: list[Store] = []


def _start_worker(store: Store) -> None:
    _stores[:] = [store]


def _count_in_worker(name: str, keys: Sequence[str]) -> "list[Part]":
    return count_records(_stores[0], name, keys)


def count_records(store: Store, name: str, keys: Sequence[str]) -> "list[Part]":
    """What the bands of some records of a modality add up to, one part a band."""
    modality = store.manifest.modalities[name]
    tallies = [Tally.of(modality.dtype) for _ in modality.bands]
    for bands in _batches(store, modality, keys):
        for tally, pixels in zip(tallies, bands, strict=True):
            tally.add(pixels)
    return [tally.part() for tally in tallies]


def _batches(store: Store, modality: Modality, keys: Sequence[str]) -> Iterator[list[Array]]:
    """Each band's own pixels, one array (pixels,) a band, of so many records at a time.

    How many decides how floats are summed, so it is the same in both layouts.
    """
    _, height, width = modality.shape
    nbytes = len(modality.bands) * height * width * modality.dtype.itemsize
    size = min(BATCH_RECORDS, max(1, BATCH_BYTES // nbytes), len(keys))
    parts = [keys[start : start + size] for start in range(0, len(keys), size)]
    if modality.layout == "native":
        for part in parts:
            records = [store.read_bands(key) for key in part]
            yield [np.concatenate([r[name].ravel() for r in records])
                   for name in modality.band_names]  # fmt: skip
        return
    buffer = np.empty((size, *modality.shape), modality.dtype)
    for part in parts:
        batch = store.read_batch(part, out=buffer[: len(part)])
        stacked = batch.swapaxes(0, 1)
        if modality.resampling == "nearest":  # a repeated pixel counts once
            steps = [(height // band.shape[0], width // band.shape[1]) for band in modality.bands]
            yield [b[:, ::down, ::across].ravel()
                   for b, (down, across) in zip(stacked, steps, strict=True)]  # fmt: skip
        else:
            yield [band.ravel() for band in stacked]


def statistics_text(store: Path, found: Sequence[Statistics]) -> str:
    """The statistics as tables, in the units of the source."""
    return "\n\n".join(_table(store, statistics) for statistics in found)


def _table(store: Path, statistics: Statistics) -> str:
    head = ["band", "mean", "std", "min", *(f"{p} %" for p in PERCENTILES), "max", "pixels", "NaN"]
    rows: list[list[str]] = [head]
    for band in statistics.bands:
        numbers = (band.mean, band.std, band.minimum, *band.percentiles, band.maximum)
        counts = (band.pixels, band.nan)
        rows.append([band.name, *(f"{n:.6g}" for n in numbers), *(f"{n:,}" for n in counts)])
    of = "all records" if statistics.split == ALL else f"split {statistics.split}"
    title = f"{store}: {statistics.modality}, {of}, {statistics.patches:,} patches"
    return "\n".join([title, *columns(rows)])


def statistics_file(store: Path, out: Path | None) -> Path:
    """The file to write: in the store, or `out`; new, or one of statistics.

    Raises:
        TargetError: it is something else.
    """
    file = store / STATISTICS if out is None else out
    _earlier(file, read_manifest(store))
    return file


def _earlier(file: Path, manifest: Manifest) -> Entries:
    """What a file has of this data; none where it is absent, or of other data."""
    try:
        return from_bytes(file.read_bytes(), manifest, file, "patchpress stats")
    except (FileNotFoundError, StatisticsStale):
        return {}
    except (OSError, StoreDamaged) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise TargetError(
            f"{file} is there and no file of statistics{f' ({reason})' if reason else ''}: choose "
            "another with --out, or remove it"
        ) from None


def save(store: Path, found: Sequence[Statistics], file: Path) -> None:
    """Write statistics beside those of other splits and modalities that the file has.

    Raises:
        TargetError: the file cannot be written.
    """
    manifest = read_manifest(store)
    entries: Mapping[tuple[str, str], Statistics] = {
        **_earlier(file, manifest),
        **{(statistics.modality, statistics.split): statistics for statistics in found},
    }
    with writing(file):
        try:
            write_whole(file, to_bytes(entries, manifest))
        except OSError as error:
            if error.errno not in (EACCES, EPERM, EROFS):
                raise
            raise TargetError(
                f"{file} cannot be written ({error.strerror}): give --out FILE to keep the "
                "statistics elsewhere"
            ) from None
