"""`stats`: each band's statistics over a split, in one pass of parallel workers.

Parts are merged in an order that only the data give, so that the bytes of the result do not depend
on the workers.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from errno import EACCES, EPERM, EROFS
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from patchpress.converter.commands.counting import CountedBand, Tally
from patchpress.converter.options import usable_cpus
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.processes import in_order, worker_pool
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.storage.folder import writing
from patchpress.converter.text import columns
from patchpress.readers.choice import Where
from patchpress.readers.errors import (
    OptionError,
    SelectionEmpty,
    StatisticsStale,
    StoreDamaged,
    TargetError,
)
from patchpress.readers.format.manifest import STATISTICS, Manifest, read_manifest, write_whole
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import (
    HasRowNumbers,
    Split,
    flagged_choice,
    record_keys,
    split_name,
    split_names,
)
from patchpress.readers.hints import hint
from patchpress.readers.rows import named_selection, rows_of
from patchpress.readers.statistics import (
    ALL,
    PERCENTILES,
    ROWS,
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

Submit = Callable[[str, Sequence[str]], "Future[list[CountedBand]]"]


def compute(
    store: StrPath,
    split: Split = None,
    modalities: Sequence[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    *,
    flagged: str | None = None,
    where: Where = None,
) -> list[Statistics]:
    """Statistics of each modality (all images for None) over a selection of rows.

    Args:
        store: path of the store.
        split: a split, several, or samples; all records for None.
        modalities: names; all images for None.
        workers: processes beside this one, one a CPU for None; the result does not depend on them.
        progress: told of each step.
        flagged: rows that their publisher does not recommend: as `Store.table` has it.
        where: column -> value, or values of which a row must have one; or a pyarrow expression.

    Raises:
        SelectionEmpty: the store has no such split or modality, or no record in both.
        OptionError: a modality of codes, a negative number of workers, or no such column.
        StoreError: there is no finished store, or it is damaged.
    """
    if workers is not None and workers < 0:
        raise OptionError(f"workers must be 0 or more, not {workers}")
    opened = open_store(store)
    selection = select(opened, split, flagged, where)
    chosen = _images(opened.manifest, modalities)
    counts = {m.name: _count(opened.manifest, m, selection) for m in chosen}
    tasks = sum(math.ceil(n / _chunk_size(n)) for n in counts.values())
    processes = min(usable_cpus() if workers is None else workers, tasks)
    if processes == 1 and not workers:
        processes = 0  # one process more would take longer to start than it saves
    progress = progress or NoProgress()
    window = 2 * processes + 1
    made = opened, BATCH_RECORDS
    # Before this process opens the LMDB environment and loads pyarrow.
    with worker_pool(processes, _counter, *made, work="counting") as submit:
        progress.start(sum(counts.values()))
        return [_statistics(opened, m, selection, submit, window, progress) for m in chosen]


def _counter(store: Store, batch: int) -> Callable[[str, Sequence[str]], "list[CountedBand]"]:
    """What each worker process does with the keys of some records of a modality."""
    return partial(count_records, store, batch=batch)


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


@dataclass(frozen=True)
class StatisticsRows:
    """Which rows the statistics are of, and what these are called in the file."""

    entry: str
    split: Split
    flagged: str | None


def select(store: Store, split: Split, flagged: str | None, where: Where) -> StatisticsRows:
    """The selection that the options of `compute` ask for.

    Raises:
        SelectionEmpty, OptionError: as `compute`.
    """
    if where is not None:
        split, flagged = rows_of(store.path, store.manifest, split, where, flagged), None
    if isinstance(split, HasRowNumbers):
        # Rows that are a whole split are kept under its name.
        split, flagged = named_selection(store.path, store.manifest, split)
    elif split is not None:
        asked = [split] if isinstance(split, str) else list(split)
        whole = asked == [ALL] and ALL not in store.manifest.splits
        names = [] if whole else split_names(store.manifest, asked)
        split = names if len(names) > 1 else names[0] if names else None
    return StatisticsRows(entry_name(store.manifest, split, flagged), split, flagged)


def parse_where(store: Path, entries: Sequence[str]) -> dict[str, list[object]] | None:
    """Options COLUMN=VALUE as a filter, each value in the type of its column; None for none.

    Raises:
        OptionError: an entry without ``=``, a column that the table does not have, or a value that
            its type cannot be.
        StoreError: there is no finished store, or it is damaged.
    """
    if not entries:
        return None
    import pyarrow as pa

    schema = open_store(store).table().schema
    found: dict[str, list[object]] = {}
    for entry in entries:
        column, equals, text = entry.partition("=")
        if not equals:
            raise OptionError(f"--where {entry} must be COLUMN=VALUE, as in country=Portugal")
        if column not in schema.names:
            raise OptionError(
                f"--where {entry}: the table has no column {column!r}; {hint(column, schema.names)}"
            )
        kind = schema.field(column).type
        kind = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
        try:
            value = pa.scalar(text).cast(kind).as_py()
        except pa.ArrowException:
            raise OptionError(f"--where {entry}: {text!r} is no {kind}") from None
        found.setdefault(column, []).append(value)
    return found


def _count(manifest: Manifest, modality: Modality, selection: StatisticsRows) -> int:
    """How many records there will be; of several splits or chosen rows, at most how many."""
    split, count = selection.split, modality.records
    if isinstance(split, str):
        flagged = flagged_choice(selection.flagged, split)
        count = manifest.count(split_name(manifest, split), modality.name, flagged)
    return count if count > 0 else _no_record(manifest, modality, selection)


def _no_record(manifest: Manifest, modality: Modality, selection: StatisticsRows) -> NoReturn:
    others = [m for m in manifest.modalities if m != modality.name]
    where = f"in split {selection.entry!r}" if isinstance(selection.split, str) else "selected"
    raise SelectionEmpty(
        f"no record of {modality.name} is {where}: choose another split, or another "
        f"--modality ({', '.join(others) or 'there is none'})"
    )


def _chunk_size(records: int) -> int:
    return max(CHUNK_RECORDS, math.ceil(records / CHUNKS))


def _statistics(
    store: Store,
    modality: Modality,
    selection: StatisticsRows,
    submit: Submit,
    window: int,
    progress: Progress,
) -> Statistics:
    """One modality's chunks through the workers, merged in their order."""
    keys = record_keys(
        store.path, store.manifest, modality.name, selection.split, selection.flagged
    )
    if not keys:
        _no_record(store.manifest, modality, selection)
    size = _chunk_size(len(keys))
    nbytes = modality.form.size
    tallies = [Tally.of(modality.dtype) for _ in modality.bands]
    chunks = [keys[start : start + size] for start in range(0, len(keys), size)]
    counted = in_order(
        chunks, partial(submit, modality.name), lambda under_way: under_way >= window
    )
    for chunk, parts in counted:
        for tally, part in zip(tallies, parts, strict=True):
            tally.merge(part)
        progress.advance(len(chunk), len(chunk) * nbytes)
    bands = zip(modality.band_names, tallies, strict=True)
    return Statistics(
        modality.name, selection.entry, len(keys), tuple(t.result(name) for name, t in bands)
    )


def count_records(
    store: Store, name: str, keys: Sequence[str], *, batch: int = BATCH_RECORDS
) -> "list[CountedBand]":
    """What the bands of some records of a modality add up to, one part a band.

    At most `batch` records are read at a time.
    """
    modality = store.manifest.modalities[name]
    tallies = [Tally.of(modality.dtype) for _ in modality.bands]
    for bands in _batches(store, modality, keys, batch):
        for tally, pixels in zip(tallies, bands, strict=True):
            tally.add(pixels)
    return [tally.part() for tally in tallies]


def _batches(
    store: Store, modality: Modality, keys: Sequence[str], most: int
) -> Iterator[list[Array]]:
    """Each band's own pixels, one array (pixels,) a band, of so many records at a time.

    How many decides how floats are summed, so it is the same in both layouts.
    """
    _, height, width = modality.shape
    nbytes = len(modality.bands) * height * width * modality.dtype.itemsize
    size = min(most, max(1, BATCH_BYTES // nbytes), len(keys))
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
    of = {ALL: "all records"}.get(statistics.split, f"split {statistics.split}")
    of = statistics.split if statistics.split.startswith(ROWS) else of
    title = f"{store}: {statistics.modality}, {of}, {statistics.patches:,} patches"
    return "\n".join([title, *columns(rows)])


def statistics_file(store: StrPath, out: StrPath | None) -> Path:
    """The file to write: in the store, or `out`; new, or one of statistics.

    Raises:
        TargetError: it is something else.
    """
    store = local_path(store)
    file = store / STATISTICS if out is None else local_path(out)
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


def save(store: StrPath, found: Sequence[Statistics], file: Path) -> None:
    """Write statistics beside those of other splits and modalities that the file has.

    Raises:
        TargetError: the file cannot be written.
    """
    manifest = read_manifest(local_path(store))
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
