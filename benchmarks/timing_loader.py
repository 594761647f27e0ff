"""Comparing and timing whole epochs of loaders."""

import gc
import time
from collections.abc import Callable, Iterable

import numpy as np

from benchmarks.adapters.protocol import KeyedBatch, Loader, Sources

COMPARED = 256  # so many patches of an epoch are compared by their pixels; all are counted


def check_loader(loader: Loader, sources: Sources, batch: int, workers: int) -> str | None:
    """Run one epoch: every patch must come once, and the first ones must have the right pixels."""
    flat = np.load(sources.flat, mmap_mode="r")
    rows = {key: row for row, key in enumerate(sources.keys)}
    met: list[int] = []
    gc.collect()
    for tags, images in loader.epochs(batch, workers):
        for tag, image in zip(tags, images, strict=True):
            row = rows[tag] if isinstance(tag, str) else int(tag)
            if len(met) < COMPARED and not np.array_equal(np.asarray(image), flat[row]):
                return f"row {row}, {image.dtype} {tuple(image.shape)}"
            met.append(row)
    if sorted(met) != list(range(len(rows))):
        return f"{len(set(met))} of {len(rows)} patches in an epoch, {len(met)} with repetitions"
    return None


def time_loader(
    loader: Loader, sources: Sources, batch: int, workers: int, seconds: float
) -> dict[str, float]:
    """Run the first epoch, then more of them for some seconds, at least one."""
    gc.collect()  # an earlier loader's workers end now, not while the next one is timed
    epochs = loader.epochs(batch, workers)
    return time_epochs(lambda: consume(epochs), len(sources.keys), seconds)


def consume(epoch: Iterable[KeyedBatch]) -> None:
    """Read one element of each batch: the least that a consumer can do."""
    for _, images in epoch:
        float(images[0, 0, 0, 0])


def time_epochs(epoch: Callable[[], None], patches: int, seconds: float) -> dict[str, float]:
    """Give patches a second, of the first epoch and of all later ones together."""
    before = time.perf_counter()
    epoch()
    begun = time.perf_counter()
    done, spent = 0, 0.0
    while not done or spent < seconds:
        epoch()
        done += patches
        spent = time.perf_counter() - begun
    return {"first": patches / (begun - before), "rate": done / spent}
