"""The process of one reader: it prepares, then answers one line of JSON to each line it is sent.

    python -m benchmarks.contestant NAME SOURCES.json

"check" is answered with what is wrong, or null; "time ROUND SECONDS" with patches a second. It
first says why the reader is unavailable, or null. Nothing but NumPy is needed to get that far, so
a reader may run under a Python of its own.
"""

import json
import sys
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.adapters import READERS
from benchmarks.adapters.protocol import Reader, Sources

BATCH = 64
CHECKED = 4  # batches compared before anything is timed


def load_sources(path: Path) -> Sources:
    """Read back the list of where everything is."""
    listed = json.loads(path.read_text())
    places = {name: Path(listed[name]) for name in ("tree", "stacked", "native", "flat")}
    return Sources(**places, keys=tuple(listed["keys"]))


def batches(keys: tuple[str, ...], turn: int, count: int) -> list[list[str]]:
    """Draw batches of random keys, the same for every contestant of a round."""
    rng = np.random.default_rng(turn)
    size = min(BATCH, len(keys))
    return [[keys[i] for i in rng.choice(len(keys), size, replace=False)] for _ in range(count)]


def check(reader: Reader, sources: Sources, out: npt.NDArray[np.uint16]) -> str | None:
    """Compare values with the flat file, whatever the dtype; say what differs."""
    flat = np.load(sources.flat, mmap_mode="r")
    row = {key: index for index, key in enumerate(sources.keys)}
    for batch in batches(sources.keys, 0, CHECKED):
        out.fill(0)
        for key, array in zip(batch, reader.read(batch, out), strict=True):
            if not np.array_equal(array, flat[row[key]]):
                return f"{key}, {array.dtype} {array.shape}"
    return None


def measure(
    reader: Reader, sources: Sources, out: npt.NDArray[np.uint16], turn: int, seconds: float
) -> float:
    """Read batches for some seconds, at least one; give patches a second."""
    drawn = batches(sources.keys, turn, 64)
    reader.read(drawn[-1], out)  # the others had the processor's cache before
    done = 0
    before = time.perf_counter()
    for batch in cycle(drawn):
        reader.read(batch, out)
        done += len(batch)
        spent = time.perf_counter() - before
        if spent >= seconds:
            break
    return done / spent


def main() -> None:
    """Prepare, then serve until the input ends."""
    name, path = sys.argv[1:]
    reader = next(reader for reader in READERS if reader.name == name)
    unavailable = reader.available()
    print(json.dumps(unavailable), flush=True)
    if unavailable:
        return
    sources = load_sources(Path(path))
    reader.prepare(sources)
    shape = (min(BATCH, len(sources.keys)), 12, 120, 120)
    out: npt.NDArray[np.uint16] = np.zeros(shape, np.uint16)
    for line in sys.stdin:
        match line.split():
            case ["check"]:
                print(json.dumps(check(reader, sources, out)), flush=True)
            case ["time", turn, seconds]:
                rate = measure(reader, sources, out, int(turn), float(seconds))
                print(json.dumps(str(rate)), flush=True)


if __name__ == "__main__":
    main()
