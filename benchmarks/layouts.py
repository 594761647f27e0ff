"""Layouts and codecs of Patchpress against each other: size, conversion, and reading."""

import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.cache import drop, resident
from benchmarks.child import in_turns
from benchmarks.layout_reading import WAYS
from benchmarks.process import timed
from benchmarks.report import CaseTable
from benchmarks.tree import REPOSITORY, warm

KINDS = (
    ("stacked", "none"),
    ("native", "none"),
    ("native", "blosc2"),
    ("native", "zstd"),
    ("stacked", "blosc2"),
)
PUBLISHED = 549_488  # patches of BigEarthNet v2 with all three modalities
PAGE, HEAD = 4096, 16  # bytes of a page of LMDB, and of its header before a record
DROPPED = 0.02  # with a larger share left in the page cache, the disk was not needed
NOTES = (
    "All modalities are converted; sizes are those of the stored records, and of all 549,488 "
    "patches of BigEarthNet v2 by computation, with whole pages. Before anything is timed, every "
    "record of each store was compared with the first one's.",
    "Sentinel-2 as (12, 120, 120) is read, by fresh processes that take turns; medians. warm and "
    "rgb (three bands): random batches of 64 into a buffer that is used again. cold: mode direct, "
    "files dropped before, no patch twice. loader: PatchLoader, 2 threads, batches of 256, arrays.",
)


@dataclass
class LayoutTrial:
    """What was measured of one layout with one codec."""

    name: str
    sizes: dict[str, float] = field(default_factory=dict)
    """Modality -> bytes of a record, the mean."""
    whole: float = 0.0
    """Bytes of all of BigEarthNet v2."""
    seconds: list[float] = field(default_factory=list)
    """Of conversions."""
    found: dict[str, list[float]] = field(default_factory=dict)
    """Way of reading -> what each round gave."""
    resident: float = 0.0
    """The largest share that was in the page cache before a cold round."""


def run(tree: Path, out: Path, workers: int, rounds: int, seconds: float) -> CaseTable:
    """Convert in turns, compare, then read in turns."""
    stores = {kind: out / f"layout-{'-'.join(kind)}" for kind in KINDS}
    trials = {kind: LayoutTrial(", ".join(kind)) for kind in KINDS}
    for _, kind in in_turns(rounds, KINDS):
        shutil.rmtree(stores[kind], ignore_errors=True)
        warm(tree)
        trials[kind].seconds.append(timed(command(tree, stores[kind], kind, workers), stores[kind]))
    for kind, store in stores.items():
        assert_equal(stores[KINDS[0]], store)
        trials[kind].sizes, trials[kind].whole = sizes(store)
    for turn, (kind, way) in in_turns(rounds, [(kind, way) for way in WAYS for kind in KINDS]):
        if way == "cold":
            drop(stores[kind])
            trials[kind].resident = max(trials[kind].resident, resident(stores[kind] / "data.mdb"))
        else:
            warm(stores[kind])
        trials[kind].found.setdefault(way, []).append(read(stores[kind], way, seconds, turn))
    return section(list(trials.values()), len(next(iter(trials.values())).seconds), workers)


def command(tree: Path, store: Path, kind: tuple[str, str], workers: int) -> list[str]:
    """The command line of a conversion."""
    words = [sys.executable, "-m", "patchpress", "convert", "bigearthnet-v2", str(tree), str(store)]
    return [*words, "--layout", kind[0], "--compression", kind[1], "--workers", str(workers)]


def read(store: Path, way: str, seconds: float, turn: int) -> float:
    """Let a fresh process read."""
    words = [sys.executable, "-m", "benchmarks.layout_reading", str(store), way, str(seconds)]
    ended = subprocess.run(
        [*words, str(turn)], cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True
    )
    if ended.returncode:
        raise SystemExit(f"{way} of {store}: {ended.stderr[-2000:]}")
    return float(ended.stdout)


def assert_equal(one: Path, other: Path) -> None:
    """Assert that two stores have the same keys and pixels."""
    from patchpress import open_store

    left, right = open_store(one), open_store(other)
    assert list(left) == list(right), f"keys of {other} differ"
    for name in left.manifest.modalities:
        keys = left.keys(name)
        for at in range(0, len(keys), 256):
            some = keys[at : at + 256]
            mine, theirs = left.read_batch(some), right.read_batch(some)
            assert mine.tobytes() == theirs.tobytes(), f"{other} has other pixels"


def sizes(store: Path) -> tuple[dict[str, float], float]:
    """Mean bytes of a record of each modality, and of all of BigEarthNet v2 in whole pages."""
    import lmdb

    found: dict[str, list[int]] = {"s2": [], "s1": [], "map": []}
    environment = lmdb.open(str(store), readonly=True, lock=False)
    with environment, environment.begin() as transaction:
        for key, value in transaction.cursor():
            name = "map" if key.endswith(b"_reference_map") else "s1" if b"_IW_" in key else "s2"
            found[name].append(len(value))
    pages = [np.mean([-(-(HEAD + n) // PAGE) * PAGE for n in each]) for each in found.values()]
    means = {name: float(np.mean(each)) for name, each in found.items()}
    return means, float(sum(pages)) * PUBLISHED


def section(trials: list[LayoutTrial], rounds: int, workers: int) -> CaseTable:
    """Give the table."""
    rows = []
    for one in trials:
        size = " / ".join(f"{one.sizes[name] / 1e3:.1f}" for name in ("s2", "s1", "map"))
        times = [f"{median(one.found[way]):,.1f}" for way in ("warm", "rgb", "cold")]
        loaded = f"{median(one.found['loader']):,.0f}"
        converted = f"{median(one.seconds):.2f} ({min(one.seconds):.2f} - {max(one.seconds):.2f})"
        rows.append((one.name, size, f"{one.whole / 1e9:.0f}", *times, loaded, converted))
    head = (
        "layout, compression",
        "kB a record: s2 / s1 / map",
        "GB, all",
        "warm, us",
        "rgb, us",
        "cold, us",
        "loader, patches/s",
        "conversion, s",
    )
    left = [one.name for one in trials if one.resident > DROPPED]
    doubt = (f"NOT cold: files of {'; '.join(left)} stayed in the page cache.",) if left else ()
    title = f"Layouts and compression, {workers} workers, {rounds} rounds"
    return CaseTable(
        "layouts", title, (*NOTES, *doubt), head, tuple(rows), tuple(map(asdict, trials))
    )
