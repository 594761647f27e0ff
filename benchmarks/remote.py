"""Reading from object storage: a server of S3's requests that answers each after 20 ms."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.process import check, start
from benchmarks.report import CaseTable
from patchpress import PatchLoader, Samples, Store, open_store

DELAY = 0.02  # seconds
BATCH = 64
BATCHES = 3
TARGET = 10  # times as fast as one request after another
NOTES = (
    f"Random batches of {BATCH} patches of Sentinel-2, stacked, through obstore from a server of "
    f"this machine that answers each request after {DELAY * 1000:g} ms; all bands, and rgb. Each "
    "contestant's patches were compared with those of the disk first. Medians; contestants take "
    "turns. The server takes a share of this machine's processors.",
)
Array = npt.NDArray[Any]


def run(tree: Path, out: Path, workers: int, rounds: int) -> CaseTable:
    """Convert the tree once, compare, then time the contestants in turns."""
    store = out / "remote" / "bucket" / "store"
    shutil.rmtree(store, ignore_errors=True)
    words = ["convert", "bigearthnet-v2", str(tree), str(store), "--modality", "s2"]
    command = [sys.executable, "-m", "patchpress", *words, "--workers", str(workers)]
    check(start(command, 2).wait(), command, b"")
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as cache, far_away(out / "remote") as options:
        os.environ["PATCHPRESS_CACHE"] = cache
        there = open_store("s3://bucket/store", storage_options=options)
        here = open_store(store)
        keys = here.keys("s2")
        random = np.random.default_rng(0)
        count = min(BATCH, len(keys))
        batches = [
            [keys[at] for at in random.choice(len(keys), count, replace=False)]
            for _ in range(BATCHES)
        ]
        for bands in ("all", "rgb"):
            contestants = _contestants(there, batches, bands)
            for read in contestants.values():
                for batch, found in zip(batches, read(), strict=True):
                    np.testing.assert_array_equal(found, here.read_batch(batch, bands))
            for _ in range(rounds):
                for name, read in contestants.items():
                    begun = time.perf_counter()
                    for _ in read():
                        pass
                    took = (time.perf_counter() - begun) / BATCHES
                    seconds.setdefault((name, bands), []).append(took)
    shutil.rmtree(out / "remote")
    alone = {bands: median(seconds[ONE_BY_ONE, bands]) for bands in ("all", "rgb")}
    rows = tuple(
        (
            bands,
            name,
            f"{1000 * median(times):,.0f}",
            f"{count / median(times):,.0f}",
            f"{alone[bands] / median(times):,.1f}",
        )
        for (name, bands), times in seconds.items()
    )
    raw: tuple[dict[str, object], ...] = tuple(
        {"name": name, "bands": bands, "seconds": times} for (name, bands), times in seconds.items()
    )
    head = ("bands", "contestant", "ms a batch", "patches/s", f"times as fast (goal {TARGET})")
    return CaseTable("remote", "Object storage, 20 ms a request", NOTES, head, rows, raw)


ONE_BY_ONE = "one request after another"


def _contestants(
    store: Store, batches: list[list[str]], bands: str
) -> dict[str, Callable[[], Iterator[Array]]]:
    shape = store.read(batches[0][0], bands)
    out = np.empty((len(batches[0]), *shape.shape), shape.dtype)

    def one_by_one() -> Iterator[Array]:
        for batch in batches:
            for row, key in zip(out, batch, strict=True):
                store.read(key, bands, row)
            yield out

    def together() -> Iterator[Array]:
        for batch in batches:
            yield store.read_batch(batch, bands, out)

    samples = Samples(store, modalities="s2", bands=bands, target=None)
    row_of = {samples.key(index): index for index in range(len(samples))}
    order = [row_of[key] for batch in batches for key in batch]
    size = len(batches[0])
    loader = PatchLoader(samples, batch_size=size, sampler=order, output="numpy")

    def ahead() -> Iterator[Array]:
        for found in loader:
            yield found[0] if isinstance(found, tuple) else found

    return {ONE_BY_ONE: one_by_one, "read_batch": together, "PatchLoader": ahead}


@contextmanager
def far_away(folder: Path) -> Iterator[dict[str, Any]]:
    """A server of the folder; gives the options that open a store there."""
    words = [sys.executable, "-m", "benchmarks.delaying_server", str(folder), str(DELAY)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield {
                "endpoint": f"http://127.0.0.1:{port}",
                "region": "nowhere",
                "skip_signature": True,
                "client_options": {"allow_http": True},
            }
        finally:
            process.terminate()
