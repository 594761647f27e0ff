"""`bench`: how fast a store reads on this machine and disk, warm and cold, in processes of its own.

A process that maps a file keeps its pages in memory, so each cold measurement has a new one.
"""

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.storage.folder import writing
from patchpress.converter.text import columns
from patchpress.readers.access.fetcher import Mode
from patchpress.readers.errors import ExtentsUnusable, OptionError
from patchpress.readers.loader import PatchLoader
from patchpress.readers.samples import Samples
from patchpress.readers.store import Store, open_store

RECORDS = 4_000  # of a modality at most: what is warm has to fit into memory
PROBES = 256  # pages looked at to see whether the cache was dropped
STILL_THERE = 0.1  # of them: more, and a "cold" read would not be one
CASES = ("single", "batch", "loader")


@dataclass(frozen=True)
class Measured:
    """One way to read: what was asked for, what came from the disk, and in how many seconds."""

    modality: str
    case: str
    mode: str
    cache: str
    batch: int
    patches: int
    seconds: float
    asked: int
    """Bytes of the arrays' records."""
    fetched: int
    """Bytes that the disk gave."""
    reason: str = ""
    """Why it was not measured."""


def bench(
    store: StrPath,
    modality: str | None = None,
    batch: int = 64,
    seconds: float = 1.0,
    progress: Callable[[str], None] | None = None,
) -> list[Measured]:
    """Measure single reads, batches and the loader, warm and cold, in each read mode.

    Args:
        store: a finished store.
        modality: of kind image; the store's first one by default.
        batch: records a batch.
        seconds: of each measurement.
        progress: told of what is measured next.

    Raises:
        StoreError: there is no finished store.
        SelectionEmpty, OptionError: no such modality, a batch or a time that cannot be.
    """
    opened = open_store(store)
    samples = Samples(opened, modalities=modality, target=None)
    name = modality or opened.modality_of(samples.key(0)).name
    if batch < 1 or seconds <= 0:
        raise OptionError(f"{batch} records a batch and {seconds} seconds cannot be measured")
    modes = [str(m) for m in Mode] if opened.has_extents else ["auto"]
    found = []
    for cache, case, mode in product(("warm", "cold"), CASES, modes):
        if case != "batch" and mode != "auto":
            continue  # the modes differ in the same way everywhere
        if progress:
            progress(f"{case}, {cache}, {mode}")
        job = (str(store), name, case, mode, cache, batch, seconds)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found.append(pool.submit(measure, *job).result())
    return found


def measure(
    path: str, modality: str, case: str, mode: str, cache: str, batch: int, seconds: float
) -> Measured:
    """One measurement, in a process that has not yet opened the store."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtentsUnusable)  # the command has said it already
        store = open_store(path, mode=mode)
    shards = [store.path / shard.path for shard in store.manifest.shards]
    samples = Samples(store, modalities=modality, target=None)
    random = np.random.default_rng(0)
    samples = samples.subset(random.permutation(len(samples))[:RECORDS])
    keys = samples.keys(range(len(samples)))
    size = min(batch, len(keys))
    read = store.modality_of(keys[0])
    out = np.zeros((size, *read.shape), read.dtype)
    steps = _steps(case, store, samples, keys, out)

    def measured(patches: int, taken: float, fetched: int, reason: str = "") -> Measured:
        asked = patches * (read.form.size - len(read.form.header))
        return Measured(
            modality, case, mode, cache, 1 if case == "single" else size, patches, taken, asked,
            fetched, reason,
        )  # fmt: skip

    if cache == "cold":
        resident = drop(shards)
        if resident > STILL_THERE:
            part = f"{resident:.0%} of the file stayed in the page cache: someone else reads it"
            return measured(0, 0.0, 0, part)
    else:
        for _ in steps():
            pass
    done, fetched, begun = 0, disk_bytes(), time.perf_counter()
    taken = 0.0
    while taken < seconds:
        for patches in steps():
            done += patches
            taken = time.perf_counter() - begun
            if taken >= seconds:
                break
        if cache == "cold":
            break  # the second time around it is warm
    return measured(done, taken, disk_bytes() - fetched)


def _steps(
    case: str, store: Store, samples: Samples, keys: Sequence[str], out: Any
) -> Callable[[], Iterator[int]]:
    """A function that reads all keys once and gives, step by step, how many."""
    size = len(out)
    batches = [keys[i : i + size] for i in range(0, len(keys), size)]
    if case == "single":

        def single() -> Iterator[int]:
            for key in keys:
                store.read(key, out=out[0])
                yield 1

        return single
    if case == "batch":

        def batched() -> Iterator[int]:
            for some in batches:
                store.read_batch(some, out=out[: len(some)])
                yield len(some)

        return batched
    loader = PatchLoader(samples, batch_size=size, shuffle=True, seed=0, output="numpy")

    def loaded() -> Iterator[int]:
        for image in loader:
            yield len(image)

    return loaded


def drop(files: Sequence[Path]) -> float:
    """Drop files from the page cache, as far as the kernel does; give the part that stayed."""
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
    """Bytes that this process has had from disks so far; 0 where the system does not count."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes")), 0)


def bench_text(found: Sequence[Measured]) -> str:
    """The measurements as a table."""
    rows: list[list[str]] = [
        ["", "mode", "cache", "patches/s", "us/patch", "MB/s", "from disk / asked"]
    ]
    for one in found:
        name = "single reads" if one.case == "single" else f"{one.case}, {one.batch} a batch"
        if one.reason:
            rows.append([name, one.mode, one.cache, "-", "-", "-", one.reason])
            continue
        rate = one.patches / one.seconds
        rows.append([
            name, one.mode, one.cache, f"{rate:,.0f}", f"{1e6 / rate:,.1f}",
            f"{one.asked / one.seconds / 1e6:,.0f}", f"{one.fetched / one.asked:.2f}",
        ])  # fmt: skip
    return "\n".join([f"{found[0].modality}, one process", *columns(rows)])


def write_bench(path: StrPath, found: Sequence[Measured]) -> None:
    """The measurements as JSON.

    Raises:
        TargetError: the file cannot be written.
    """
    path = local_path(path)
    with writing(path):
        path.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
