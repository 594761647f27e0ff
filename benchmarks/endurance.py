"""Long runs, and a store of all rows of a data set: whether anything grows or slows down.

python -m benchmarks.endurance full --tables DIR    all rows of BigEarthNet v2, records of one pixel
python -m benchmarks.endurance reading --minutes 30 four processes read at random, another converts
python -m benchmarks.endurance epochs --epochs 2000 a loader, epoch after epoch

Every pixel that is read is compared, or its sum is. The rate of the last tenth of a run stands
beside that of the first; other work on the machine shows in it, so compare on a quiet one.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.machine import machine
from benchmarks.process import memory_of
from benchmarks.report import CaseTable, markdown
from benchmarks.tree import REPOSITORY, synthetic_tree
from patchpress import PatchLoader, convert, index, open_store
from patchpress.readers.format.record import encode

TABLES = ("metadata.parquet", "metadata_for_patches_with_snow_cloud_or_shadow.parquet")
COMMIT = 50_000  # records a transaction
BATCH = 64
TINY = r"""
[dataset]
name = "tiny"
version = "1"
title = "The names, labels and splits of BigEarthNet v2, with one pixel a patch"
licence = "-"
url = "-"
citation = "-"

[modalities.s2]
title = "One pixel"
kind = "image"
folder = "S2"
path = "{patch_id}/{patch_id}_{band}.tif"
key = "{patch_id}"
bands = [{ name = "B02", gsd = 10, dtype = "uint16", shape = [1, 1] }]

[modalities.s2.fields]
patch_id = 'S2.+_\d{2}_\d{2}'

[tables.metadata]
file = "metadata.parquet"

[tables.flagged]
file = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"

[splits]
column = "split"
names = ["train", "validation", "test"]
flagged = ["contains_seasonal_snow", "contains_cloud_or_shadow"]

[labels.labels]
class_list = "bigearthnet-19"
"""


def make_full(tables: Path, folder: Path) -> Path:
    """Make a store of every row of the official tables, by `index`, from records of one pixel."""
    store = folder / "full.store"
    store.mkdir(parents=True)
    (folder / "tiny.toml").write_text(TINY)
    columns = [pq.read_table(tables / name, columns=["patch_id"]) for name in TABLES]
    names = sorted(pa.concat_tables(columns)["patch_id"].to_pylist())
    with lmdb.open(str(store), map_size=1 << 30, lock=False) as environment:
        for begin in range(0, len(names), COMMIT):
            with environment.begin(write=True) as transaction:
                for number, name in enumerate(names[begin : begin + COMMIT], begin):
                    pixel = np.full((1, 1), number & 0xFFFF, np.uint16)
                    transaction.put(name.encode(), encode({"B02": pixel}), append=True)
    paths = dict(zip(("metadata", "flagged"), (tables / name for name in TABLES), strict=True))
    index(store, folder / "tiny.toml", paths=paths)
    return store


def open_full(store: Path) -> dict[str, Any]:
    """Open a store and choose its train split, in this process, which must be new."""
    before = _memory(mapped=True)
    begun = time.perf_counter()
    opened = open_store(store)
    at_open, held = time.perf_counter(), _memory(mapped=True)
    keys = opened.keys("s2", "train")
    at_keys = time.perf_counter()
    opened.read(keys[-1])
    at_read = time.perf_counter()
    return {
        "open_store": f"{at_open - begun:.3f} s",
        "memory taken by then (PSS)": f"{(held - before) / 1e6:,.0f} MB",
        'keys("s2", "train")': f"{at_keys - at_open:.3f} s",
        "patches of train": f"{len(keys):,}",
        "the first read": f"{at_read - at_keys:.3f} s",
        "memory taken in all": f"{(_memory(mapped=True) - before) / 1e6:,.0f} MB",
    }


def full(args: argparse.Namespace) -> CaseTable:
    """Make the store of all rows, and look at it in a new process."""
    begun = time.perf_counter()
    store = make_full(args.tables, args.out)
    made = time.perf_counter() - begun
    found = json.loads(_python("_open", store))
    rows = [("written by LMDB, and `index`", f"{made:.1f} s"), *found.items()]
    return CaseTable("full", "All rows of BigEarthNet v2", (), ("", ""), tuple(rows), (found,))


def reading(args: argparse.Namespace) -> CaseTable:
    """Read at random in four processes while another converts, again and again."""
    tree = synthetic_tree(args.out, 200, 0)
    store = args.out / "reading.store"
    convert("bigearthnet-v2", tree, store, overwrite=True)
    seconds = 60 * args.minutes
    readers = [_start("_read", store, seconds, seed) for seed in range(4)]
    conversions, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        convert("bigearthnet-v2", tree, args.out / "other.store", overwrite=True)
        conversions += 1
    rows = []
    for number, process in enumerate(readers):
        text, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"reader {number} ended with {process.returncode}")
        rows.append((f"reader {number}", *json.loads(text)))
    head = ("process", "patches", "patches/s, first tenth", "last tenth", *_HELD)
    note = f"{args.minutes} minutes, beside {conversions} conversions; every pixel was compared."
    return CaseTable("reading", "Random reading", (note,), head, tuple(rows), ())


def read_for(store: Path, seconds: float, seed: int) -> list[str]:
    """Read random batches for a while, and compare each patch with what it was at first."""
    opened = open_store(store)
    keys = opened.keys("s2")
    right = opened.read_batch(keys)
    random = np.random.default_rng(seed)
    out = np.empty((BATCH, *right.shape[1:]), right.dtype)

    def once() -> int:
        chosen = random.integers(len(keys), size=BATCH)
        opened.read_batch([keys[number] for number in chosen], out=out)
        if not np.array_equal(out, right[chosen]):
            raise SystemExit("a patch is not what it was")
        return BATCH

    end = time.monotonic() + seconds
    return _repeated(once, lambda: time.monotonic() < end)


def epochs(args: argparse.Namespace) -> CaseTable:
    """Go through a loader again and again; each epoch must have the same pixels in sum."""
    tree = synthetic_tree(args.out, 200, 0)
    store = args.out / "reading.store"
    convert("bigearthnet-v2", tree, store, overwrite=True)
    rows = []
    for output in ("numpy", "torch"):
        loader = PatchLoader(store, batch_size=BATCH, shuffle=True, output=output, seed=0)
        rows.append((f"PatchLoader, {output}", *_Epochs(loader, args.epochs).run()))
    head = ("loader", "patches", "patches/s, first tenth", "last tenth", *_HELD)
    note = f"{args.epochs} epochs; the pixels of each had the same sum."
    return CaseTable("epochs", "Epoch after epoch", (note,), head, tuple(rows), ())


class _Epochs:
    """Epochs of one loader."""

    def __init__(self, loader: PatchLoader, count: int) -> None:
        self._loader, self._left = loader, count
        self._sums: set[int] = set()

    def run(self) -> list[str]:
        figures = _repeated(self._once, lambda: self._left > 0)
        if len(self._sums) != 1:
            raise SystemExit("epochs differ in their pixels")
        return figures

    def _once(self) -> int:
        total = count = 0
        for images, _ in self._loader:
            total += int(np.asarray(images).sum(dtype=np.int64))
            count += len(images)
        self._sums.add(total)
        self._left -= 1
        return count


_HELD = ("memory of its own, first", "last", "descriptors, first", "last")


def _repeated(once: Callable[[], int], goes_on: Callable[[], bool]) -> list[str]:
    """Call `once`, which gives how many patches it read, and say whether something changed."""
    rates: list[float] = []
    patches = once()  # what is made at the first time does not count
    first = (_memory(), _descriptors())
    while goes_on():
        begun = time.perf_counter()
        count = once()
        rates.append(count / (time.perf_counter() - begun))
        patches += count
    tenth = max(len(rates) // 10, 1)
    last = (_memory(), _descriptors())
    return [
        f"{patches:,}",
        f"{median(rates[:tenth]):,.0f}",
        f"{median(rates[-tenth:]):,.0f}",
        *(f"{memory / 1e6:,.0f} MB" for memory in (first[0], last[0])),
        *(f"{count}" for count in (first[1], last[1])),
    ]


def _memory(*, mapped: bool = False) -> int:
    """Bytes of this process: its own, or with its share of mapped files."""
    found = memory_of([str(os.getpid())])
    return found.pss if mapped else found.pss_anon


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) - 1


def _start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.endurance", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)


def _python(*words: object) -> str:
    process = _start(*words)
    text, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{words[0]} ended with {process.returncode}")
    return text


def main() -> None:
    """Run one of them, and print its table."""
    match sys.argv[1:]:
        case ["_open", store]:
            print(json.dumps(open_full(Path(store))))
            return
        case ["_read", store, seconds, seed]:
            print(json.dumps(read_for(Path(store), float(seconds), int(seed))))
            return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("full", "reading", "epochs"))
    parser.add_argument("--tables", type=Path, help="folder of the official tables")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--epochs", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("bench/endurance"))
    args = parser.parse_args()
    if args.what == "full" and args.tables is None:
        parser.error("full needs --tables")
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    print(json.dumps(machine(args.out)))
    print(markdown({"full": full, "reading": reading, "epochs": epochs}[args.what](args)))


if __name__ == "__main__":
    main()
