"""`stats`: each band's statistics over a split, in one pass of parallel workers.

The counts of the workers are merged in an order that only the data give, so the bytes of the
result do not depend on how many workers there are.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from patchpress.converter.commands.band_counter import BandCounter, CountedBand
from patchpress.converter.commands.statistics_file import save_statistics, statistics_file
from patchpress.converter.commands.statistics_rows import StatisticsRows, select_rows
from patchpress.converter.options import worker_count
from patchpress.converter.paths import StrPath, shown_place
from patchpress.converter.processes import in_order, worker_pool
from patchpress.converter.progress import NoProgress, Progress
from patchpress.readers.choice import Where
from patchpress.readers.errors import SelectionEmpty
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import Split, flagged_choice, record_keys, split_name
from patchpress.readers.format.time_axis import record_steps
from patchpress.readers.showing import columns_of, plain
from patchpress.readers.statistics import PERCENTILES, Statistics
from patchpress.readers.statistics_file import ALL, ROWS, image_modality
from patchpress.readers.store import Store, open_store

Array = npt.NDArray[Any]

# What is merged, and in what order, must not depend on the workers: float sums would.
CHUNKS = 64  # tasks for a modality: enough to load workers evenly, few enough to send their counts
CHUNK_RECORDS = 512  # records of a task at least
BATCH_RECORDS = 16  # records that are in memory at a time at most, so that they stay in the caches
BATCH_BYTES = 8 << 20  # bytes of them at most

_log = logging.getLogger(__name__)

Submit = Callable[..., "Future[list[CountedBand]]"]
"""Called as `count_records`, but for the store."""


def stats(
    store: StrPath,
    split: Split = None,
    *,
    modalities: str | Sequence[str] | None = None,
    flagged: str | None = None,
    where: Where = None,
    workers: int | None = None,
    out: StrPath | None = None,
    progress: Progress | None = None,
) -> list[Statistics]:
    """Compute the statistics of each band, as `compute` does, and keep them.

    Args:
        store: folder of the store.
        split: a split, several, or samples; all records for None.
        modalities: names; all images for None.
        flagged: rows that their publisher does not recommend: as `Store.table` has it.
        where: column -> value, or values of which a row must have one; or a pyarrow expression.
        workers: processes beside this one, one a CPU for None; the result does not depend on them.
        out: file to write; ``statistics.json`` in the store for None. What it has of other splits
            and modalities stays.
        progress: told of each chunk of records.

    Raises:
        SelectionEmpty, OptionError, StoreError: as `compute`.
        TargetError: the file cannot be written, or is there and has no statistics.
    """
    file = statistics_file(store, out)
    found = compute(
        store,
        split,
        modalities,
        workers=workers,
        progress=progress,
        flagged=flagged,
        where=where,
    )
    save_statistics(store, found, file)
    return found


def compute(
    store: StrPath,
    split: Split = None,
    modalities: str | Sequence[str] | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    flagged: str | None = None,
    where: Where = None,
) -> list[Statistics]:
    """Statistics of each modality over a selection of rows.

    Args:
        store: folder of the store.
        split: a split, several, or samples; all records for None.
        modalities: names; all images for None.
        workers: processes beside this one, one a CPU for None; the result does not depend on them.
        progress: told of each chunk of records.
        flagged: rows that their publisher does not recommend: as `Store.table` has it.
        where: column -> value, or values of which a row must have one; or a pyarrow expression.

    Raises:
        SelectionEmpty: the store has no such split or modality, or no record in both.
        OptionError: a modality of codes, a wrong number of workers, or no such column.
        StoreError: there is no finished store, or it is damaged.
    """
    count = worker_count(workers)
    opened = open_store(store, stage=False)
    names = [modalities] if isinstance(modalities, str) else modalities
    rows = select_rows(opened, split, flagged, where)
    chosen = _images(opened.manifest, names)
    records = {modality.name: _expected(opened.manifest, modality, rows) for modality in chosen}
    tasks = sum(math.ceil(number / _chunk_size(number)) for number in records.values())
    count = min(count, tasks)
    if count == 1 and not workers:
        count = 0  # one process more would take longer to start than it saves
    _log.info("%s: %d records in %d tasks", rows.entry, sum(records.values()), tasks)
    progress = progress or NoProgress()
    # Before this process loads pyarrow, whose threads no fork should meet.
    with worker_pool(count, _counter, opened, BATCH_RECORDS, work="counting") as submit:
        progress.start("counting", sum(records.values()))
        counting = _Counting(opened, rows, submit, 2 * count + 1, progress)
        return [counting.statistics(modality) for modality in chosen]


def _counter(store: Store, batch: int) -> Callable[..., list[CountedBand]]:
    """What each worker process does with the keys of some records of a modality."""
    return partial(count_records, store, batch=batch)


def _images(manifest: Manifest, names: Sequence[str] | None) -> list[Modality]:
    if names:
        return [image_modality(manifest, name) for name in dict.fromkeys(names)]
    images = [m for m in manifest.modalities.values() if m.kind != "classes"]
    return images or [image_modality(manifest, name) for name in manifest.modalities]


def _expected(manifest: Manifest, modality: Modality, rows: StatisticsRows) -> int:
    """How many records there will be; of several splits or chosen rows, at most how many."""
    split, count = rows.split, modality.records
    if isinstance(split, str):
        flagged = flagged_choice(rows.flagged, split)
        count = manifest.count(split_name(manifest, split), modality.name, flagged)
    return count if count > 0 else _no_record(manifest, modality, rows)


def _no_record(manifest: Manifest, modality: Modality, rows: StatisticsRows) -> NoReturn:
    others = [m for m in manifest.modalities if m != modality.name]
    where = f"in split {rows.entry!r}" if isinstance(rows.split, str) else "selected"
    raise SelectionEmpty(
        f"no record of {modality.name} is {where}: choose another split, or another "
        f"--modality ({', '.join(others) or 'there is none'})"
    )


def _chunk_size(records: int) -> int:
    """How many records a task has, of so many of a modality."""
    return max(CHUNK_RECORDS, math.ceil(records / CHUNKS))


@dataclass(frozen=True)
class _Counting:
    """Counts modalities, one after the other, with at most `window` tasks under way."""

    store: Store
    rows: StatisticsRows
    submit: Submit
    window: int
    progress: Progress

    def statistics(self, modality: Modality) -> Statistics:
        """Send one modality's chunks through the workers, and merge their counts in order.

        Raises:
            SelectionEmpty: no record is selected.
        """
        manifest, rows = self.store.manifest, self.rows
        keys = record_keys(self.store.path, manifest, modality.name, rows.split, rows.flagged)
        if not keys:
            _no_record(manifest, modality, rows)
        size = _chunk_size(len(keys))
        steps = None
        if modality.steps:
            steps = record_steps(self.store.path, manifest, modality, rows.split, rows.flagged)
        chunks = [slice(start, start + size) for start in range(0, len(keys), size)]
        counters = [BandCounter.of(modality.dtype) for _ in modality.bands]

        def submit(chunk: slice) -> "Future[list[CountedBand]]":
            some = (modality.name, keys[chunk])
            return self.submit(*some) if steps is None else self.submit(*some, steps[chunk])

        for chunk, counted in in_order(chunks, submit, lambda under_way: under_way >= self.window):
            for counter, band in zip(counters, counted, strict=True):
                counter.merge(band)
            done = len(keys[chunk])
            self.progress.advance(done, done * modality.form.size)
        bands = zip(modality.band_names, counters, strict=True)
        found = tuple(counter.result(name) for name, counter in bands)
        return Statistics(modality.name, rows.entry, len(keys), found)


def count_records(
    store: Store,
    name: str,
    keys: Sequence[str],
    steps: Sequence[int] | None = None,
    *,
    batch: int = BATCH_RECORDS,
) -> list[CountedBand]:
    """Count the pixels of some records of a modality; gives what is in each band.

    At most `batch` records are read at a time. Of records with a time axis `steps` says how many
    of its steps are present: the others are not counted.
    """
    modality = store.manifest.modalities[name]
    counters = [BandCounter.of(modality.dtype) for _ in modality.bands]
    batches = (
        _batches(store, modality, keys, batch)
        if steps is None
        else _dated(store, modality, keys, steps)
    )
    for bands in batches:
        for counter, pixels in zip(counters, bands, strict=True):
            counter.add(pixels)
    return [counter.counted() for counter in counters]


def _batches(
    store: Store, modality: Modality, keys: Sequence[str], most: int
) -> Iterator[list[Array]]:
    """Each band's own pixels, one array (pixels,) a band, of some records at a time.

    How many records decides how floats are summed, so it is the same for both layouts.
    """
    _, height, width = modality.shape
    nbytes = len(modality.bands) * height * width * modality.dtype.itemsize
    size = min(most, max(1, BATCH_BYTES // nbytes), len(keys))
    batches = [keys[start : start + size] for start in range(0, len(keys), size)]
    if modality.layout == "native":
        for some in _announced(store, batches):
            records = [store.read_bands(key) for key in some]
            yield [
                np.concatenate([record[name].ravel() for record in records])
                for name in modality.band_names
            ]
        return
    buffer = np.empty((size, *modality.shape), modality.dtype)
    for some in _announced(store, batches):
        yield _own_pixels(modality, store.read_batch(some, out=buffer[: len(some)]))


def _dated(
    store: Store, modality: Modality, keys: Sequence[str], steps: Sequence[int]
) -> Iterator[list[Array]]:
    """Each band's own pixels in the steps that are present, record by record."""
    for some, count in zip(_announced(store, [[key] for key in keys]), steps, strict=True):
        if modality.layout == "native":
            record = store.read_bands(some[0])
            yield [record[name][:count].ravel() for name in modality.band_names]
        else:
            yield _own_pixels(modality, store.read(some[0])[:count])


def _announced(store: Store, batches: list[Sequence[str]]) -> Iterator[Sequence[str]]:
    """The batches, each after the disk was told of it and of the next one."""
    if batches:
        store.announce(batches[0])
    for some, following in zip_longest(batches, batches[1:], fillvalue=()):
        store.announce(following)
        yield some


def _own_pixels(modality: Modality, batch: Array) -> list[Array]:
    """The pixels of each band in stacked records (N, bands, height, width), repeated ones once."""
    _, height, width = modality.shape
    found = []
    for band, pixels in zip(modality.bands, batch.swapaxes(0, 1), strict=True):
        if modality.resampling == "nearest":
            down, across = height // band.shape[0], width // band.shape[1]
            pixels = pixels[:, ::down, ::across]
        found.append(pixels.ravel())
    return found


def statistics_text(store: StrPath, found: Sequence[Statistics]) -> str:
    """The statistics as tables, in the units of the source."""
    return "\n\n".join(_table(store, statistics) for statistics in found)


def _table(store: StrPath, statistics: Statistics) -> str:
    percents = [f"{percent} %" for percent in PERCENTILES]
    rows = [["band", "mean", "std", "min", *percents, "max", "pixels", "NaN"]]
    for band in statistics.bands:
        numbers = [band.mean, band.std, band.minimum, *band.percentiles, band.maximum]
        counts = [band.pixels, band.nan]
        rows.append([band.name, *(f"{n:.6g}" for n in numbers), *(f"{n:,}" for n in counts)])
    of = f"split {statistics.split}"
    if statistics.split == ALL:
        of = "all records"
    elif statistics.split.startswith(ROWS):
        of = statistics.split
    title = f"{shown_place(store)}: {statistics.modality}, {of}, {statistics.patches:,} patches"
    return "\n".join([plain(title), *columns_of(rows)])
