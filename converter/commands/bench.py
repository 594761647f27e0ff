"""`bench`: how fast a store reads on this machine and disk, warm and cold.

Each measurement has a process of its own, because a process that maps a file keeps its pages in
memory, and then no later read of it would be cold.
"""

import json
import math
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np

from patchpress.converter.commands.bench_bound import bound_sentence
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.processes import SpawnWithoutMain
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.storage.folder import writing
from patchpress.readers.access.fetcher import Mode
from patchpress.readers.errors import ExtentsUnusable, OptionError, SamplesLeftOut
from patchpress.readers.loader import PatchLoader
from patchpress.readers.samples import Samples
from patchpress.readers.showing import columns_of, plain
from patchpress.readers.staging.options import StageFolder
from patchpress.readers.store import Store, open_store

RECORDS = 4_000  # that are read at most: they must fit into the page cache
PROBES = 256  # pages of each file that are looked at, to see whether the page cache was dropped
STILL_THERE = 0.1  # share of them: if more are still in the cache, a read would not be cold


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way to read a store."""

    modality: str
    case: str
    """``single`` for one record after the other, ``batch`` or ``loader``."""
    mode: str
    """As `open_store` has it."""
    cache: str
    """``warm`` or ``cold``: whether the page cache has the records at the beginning."""
    batch: int
    """Records in a batch."""


@dataclass(frozen=True, kw_only=True)
class Measurement(Reading):
    """How fast one way to read was."""

    patches: int
    """How many were read."""
    seconds: float
    """How long that took."""
    asked: int
    """Bytes of the records' pixels."""
    fetched: int
    """Bytes that the disk gave."""
    reason: str = ""
    """Why it was not measured; else empty."""


@dataclass(frozen=True)
class BenchReport:
    """What `bench` measured."""

    measurements: list[Measurement]
    reads_from: str = ""
    """Where the store was read, in words: its stage, or its file system and how it reads there;
    empty of a store at a URL."""

    def text(self) -> str:
        """The measurements as a table."""
        head = ["", "mode", "cache", "patches/s", "us/patch", "MB/s", "from disk / asked"]
        rows = [_row(measured) for measured in self.measurements]
        where = f", {self.reads_from}" if self.reads_from else ""
        title = f"{self.measurements[0].modality}, one process{where}"
        return "\n".join([plain(title), *columns_of([head, *rows]), self.bound()])

    def bound(self) -> str:
        """What bounds training here, in one sentence."""
        rates = {
            one.cache: one.patches / one.seconds
            for one in self.measurements
            if one.case == "loader" and not one.reason and one.patches
        }
        if "warm" not in rates:
            return "the loader could not be measured, so what bounds training is not known"
        return bound_sentence(rates["warm"], rates.get("cold"))

    def save(self, path: StrPath) -> None:
        """Write the measurements to a JSON file.

        Raises:
            TargetError: the file cannot be written.
        """
        file = local_path(path)
        values = [asdict(measured) for measured in self.measurements]
        with writing(file):
            file.write_text(json.dumps(values, indent=1) + "\n")


def _row(measured: Measurement) -> list[str]:
    name = f"{measured.case}, {measured.batch} a batch"
    if measured.case == "single":
        name = "single reads"
    row = [name, measured.mode, measured.cache]
    if measured.reason:
        return [*row, "-", "-", "-", measured.reason]
    rate = measured.patches / measured.seconds
    megabytes = measured.asked / measured.seconds / 1e6
    share = measured.fetched / measured.asked
    return [*row, f"{rate:,.0f}", f"{1e6 / rate:,.1f}", f"{megabytes:,.0f}", f"{share:.2f}"]


def bench(
    store: StrPath,
    *,
    modality: str | None = None,
    batch: int = 64,
    seconds: float = 1.0,
    stage: StageFolder = None,
    progress: Progress | None = None,
) -> BenchReport:
    """Measure single reads, batches and the loader, warm and cold, in each read mode.

    Args:
        store: folder of a finished store.
        modality: which to read, of kind image; the store's first one by default.
        batch: records in a batch.
        seconds: how long each measurement takes.
        stage: as `open_store`; all is staged there before it is measured.
        progress: told of each measurement.

    Raises:
        StoreError: there is no finished store.
        SelectionEmpty, OptionError: no such modality, a batch or a time that cannot be.
        TargetError: it cannot be staged.
    """
    opened = open_store(store, stage=stage)
    samples = _samples(opened, modality)
    name = modality or opened.modality_of(samples.key(0)).name
    if batch < 1:
        raise OptionError(f"a batch must have 1 record or more, not {batch}")
    if not 0 < seconds < math.inf:
        raise OptionError(f"seconds must be a number above 0, not {seconds}")
    readings = [
        Reading(modality=name, case=case, mode=mode, cache=cache, batch=batch)
        for cache in (("warm", "cold") if opened.url is None else ("warm",))
        for case, mode in _cases(opened)
    ]
    progress = progress or NoProgress()
    if opened.is_staged:
        opened.stage()
    progress.start("measuring", len(readings), "measurements")
    measurements = []
    for reading in readings:
        with ProcessPoolExecutor(1, mp_context=SpawnWithoutMain()) as pool:
            place = opened.path if opened.url is None else os.fspath(store)
            measured = pool.submit(measure, place, reading, seconds, stage).result()
        measurements.append(measured)
        progress.advance(1, measured.asked)
    where = opened.reads_from if opened.is_staged else opened.reads_how
    return BenchReport(measurements, where)


def _samples(store: Store, modality: str | None) -> Samples:
    """All records of a modality; whether their rows have other records does not matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplesLeftOut)
        return Samples(store, modalities=modality, target=None)


def _cases(store: Store) -> Iterator[tuple[str, str]]:
    """(case, mode) of each measurement; only batches are read in all modes.

    With single reads and the loader the modes differ in the same way.
    """
    on_disk = store.has_extents and store.url is None
    modes = [str(mode) for mode in Mode] if on_disk else [str(Mode.AUTO)]
    for case, mode in product(("single", "batch", "loader"), modes):
        if case == "batch" or mode == Mode.AUTO:
            yield case, mode


def measure(
    path: StrPath, reading: Reading, seconds: float, stage: StageFolder = False
) -> Measurement:
    """One measurement, in a process that has not opened the store before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtentsUnusable)  # the command has said it already
        store = open_store(path, mode=reading.mode, stage=stage)
    reader = _Reader(store, reading)
    if reading.cache == "cold":
        stayed = drop_from_cache(store.data_files())
        if stayed > STILL_THERE:
            return reader.result(
                reason=f"{stayed:.0%} of the file stayed in the page cache: someone else reads it"
            )
    else:
        for _ in reader.read():
            pass
    patches, fetched, begun = 0, disk_bytes(), time.perf_counter()
    taken = 0.0
    while taken < seconds:
        for count in reader.read():
            patches += count
            taken = time.perf_counter() - begun
            if taken >= seconds:
                break
        if reading.cache == "cold":
            break  # the second time it is warm
    return reader.result(patches, taken, disk_bytes() - fetched)


class _Reader:
    """Reads some records of a store in one way."""

    def __init__(self, store: Store, reading: Reading) -> None:
        self._store, self._reading = store, reading
        samples = _samples(store, reading.modality)
        order = np.random.default_rng(0).permutation(len(samples))
        samples = samples.subset(order[:RECORDS])
        self._keys = samples.keys(range(len(samples)))
        self._size = min(reading.batch, len(self._keys))
        self._modality = store.modality_of(self._keys[0])
        self._out = np.zeros((self._size, *self._modality.array_shape), self._modality.dtype)
        self._loader = PatchLoader(
            samples, batch_size=self._size, shuffle=True, seed=0, output="numpy"
        )

    def read(self) -> Iterator[int]:
        """Read all records once; gives after each read how many it gave."""
        case = self._reading.case
        if case == "single":
            for key in self._keys:
                self._store.read(key, out=self._out[0])
                yield 1
        elif case == "batch":
            for start in range(0, len(self._keys), self._size):
                keys = self._keys[start : start + self._size]
                self._store.read_batch(keys, out=self._out[: len(keys)])
                yield len(keys)
        else:
            for image in self._loader:
                yield len(image)

    def result(
        self, patches: int = 0, seconds: float = 0.0, fetched: int = 0, reason: str = ""
    ) -> Measurement:
        """The measurement of so many patches."""
        form = self._modality.form
        return Measurement(
            modality=self._reading.modality,
            case=self._reading.case,
            mode=self._reading.mode,
            cache=self._reading.cache,
            batch=1 if self._reading.case == "single" else self._size,
            patches=patches,
            seconds=seconds,
            asked=patches * (form.size - len(form.header)),
            fetched=fetched,
            reason=reason,
        )


def drop_from_cache(files: Sequence[Path]) -> float:
    """Drop files from the page cache, as far as the kernel does so.

    Returns:
        The share of their pages that stayed, from some of each.
    """
    stayed = pages = 0
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # a page that waits to be written cannot be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            size = os.fstat(descriptor).st_size
            for offset in np.linspace(0, size - 1, PROBES, dtype=np.int64).tolist():
                pages += 1
                try:
                    os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
                    stayed += 1
                except BlockingIOError:
                    pass
        finally:
            os.close(descriptor)
    return stayed / pages


def disk_bytes() -> int:
    """Bytes that this process has had from disks so far; 0 if the system does not count them."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes")), 0)
