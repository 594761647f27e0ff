"""One measurement of the case `layouts`, in a process of its own: prints one number.

python -m benchmarks.layout_reading STORE warm|rgb|cold|loader SECONDS TURN: microseconds a patch of
Sentinel-2, of a loader patches a second.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from patchpress import PatchLoader, Store, open_store

BATCH, LOADED = 64, 256  # patches of a batch: read one after the other, and of a loader
COLD = 512  # patches that are read from a cold disk
THREADS = 2


def warm(store: Path, seconds: float, turn: int) -> float:
    """Random batches into a buffer that is used again."""
    return read(open_store(store), None, seconds, turn)


def rgb(store: Path, seconds: float, turn: int) -> float:
    """The same with three bands."""
    return read(open_store(store), "rgb", seconds, turn)


def read(store: Store, bands: str | None, seconds: float, turn: int) -> float:
    """Give microseconds a patch."""
    keys, rng = store.keys("s2"), np.random.default_rng(turn)
    size = min(BATCH, len(keys))
    drawn = [[keys[i] for i in rng.choice(len(keys), size, replace=False)] for _ in range(32)]
    out = store.read_batch(drawn[0], bands=bands)
    for batch in drawn[:4]:
        store.read_batch(batch, bands=bands, out=out)
    count, begun = 0, time.perf_counter()
    while not count or time.perf_counter() - begun < seconds:
        store.read_batch(drawn[count % len(drawn)], bands=bands, out=out)
        count += 1
    return (time.perf_counter() - begun) / count / size * 1e6


def cold(store: Path, seconds: float, turn: int) -> float:
    """Random batches of which no patch comes twice, from a file that the caller has dropped."""
    opened = open_store(store, mode="direct")
    keys = opened.keys("s2")
    size = min(BATCH, len(keys))
    order = np.random.default_rng(turn).permutation(len(keys))[:COLD].tolist()
    drawn = [[keys[i] for i in order[at : at + size]] for at in range(0, len(order), size)]
    drawn = [batch for batch in drawn if len(batch) == size]
    out = np.ones((size, 12, 120, 120), np.uint16)
    begun = time.perf_counter()
    for batch in drawn:
        opened.read_batch(batch, out=out)
    return (time.perf_counter() - begun) / len(drawn) / size * 1e6


def loader(store: Path, seconds: float, turn: int) -> float:
    """Whole shuffled epochs after the first one."""
    batches = PatchLoader(
        store,
        batch_size=LOADED,
        shuffle=True,
        seed=turn,
        threads=THREADS,
        modalities="s2",
        flagged="include",
        target=None,
        output="numpy",
    )
    patches = sum(len(batch) for batch in batches)
    epochs, begun = 0, time.perf_counter()
    while not epochs or time.perf_counter() - begun < seconds:
        for batch in batches:
            float(batch[0, 0, 0, 0])
        epochs += 1
    return epochs * patches / (time.perf_counter() - begun)


WAYS: dict[str, Callable[[Path, float, int], float]] = {
    "warm": warm,
    "rgb": rgb,
    "cold": cold,
    "loader": loader,
}

if __name__ == "__main__":
    path, way, time_limit, number = sys.argv[1:]
    print(WAYS[way](Path(path), float(time_limit), int(number)))
