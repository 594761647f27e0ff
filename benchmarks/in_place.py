"""Reading patches out of an archive that was indexed as it lies, beside a native store of them."""

import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.cache import drop
from benchmarks.report import CaseTable
from benchmarks.tree import MODALITIES, find_patches, warm
from patchpress import convert, open_store
from patchpress.converter.commands.index import index

NATIVE, ARCHIVE = "native store", "archive as it lies"
BATCH = 64
NOTES = (
    "BigEarthNet-S2.tar of the tree, not compressed, indexed as it lies; and a native store that"
    " was converted of it. Random batches of 64 into a reused buffer, in turns, one process.",
    "Warm: all in the page cache, mode auto. Cold: dropped from it before each turn, mode direct.",
    "Compared first: every patch of one equals that of the other, in both modes.",
)


@dataclass(frozen=True)
class InPlaceTrial:
    """The turns of one store in one state of the page cache."""

    name: str
    cache: str
    patches: int
    seconds: tuple[float, ...]


def run(tree: Path, out: Path, rounds: int) -> CaseTable:
    """Pack, index and convert Sentinel-2 of the tree, compare, then time both in turns."""
    work = out / "in-place"
    shutil.rmtree(work, ignore_errors=True)
    (work / "source").mkdir(parents=True)
    folder = MODALITIES["s2"].folder
    archive = work / "source" / f"{folder}.tar"
    options = ["--sort=name", "--owner=0", "--group=0", "--no-recursion"]
    names = sorted(str(path.relative_to(tree)) for path in (tree / folder).rglob("*.tif"))
    subprocess.run(
        ["tar", "-C", str(tree), *options, "-cf", str(archive), "-T", "-"],
        input="\n".join(names).encode(),
        check=True,
    )
    index(work / ARCHIVE, "bigearthnet-v2", archives=[archive])
    convert("bigearthnet-v2", work / "source", work / NATIVE, layout="native")
    files = {ARCHIVE: archive, NATIVE: work / NATIVE / "data.mdb"}
    _assert_equal(work)
    trials = []
    for cache, mode in (("warm", "auto"), ("cold", "direct")):
        seconds: dict[str, list[float]] = {name: [] for name in files}
        patches = 0
        for turn in range(rounds):
            for name in list(files)[:: 1 if turn % 2 else -1]:
                (warm if cache == "warm" else drop)(files[name])
                took, patches = _turn(work / name, mode, turn)
                seconds[name].append(took)
        trials += [InPlaceTrial(n, cache, patches, tuple(found)) for n, found in seconds.items()]
    shutil.rmtree(work)
    native = {one.cache: median(one.seconds) for one in trials if one.name == NATIVE}
    rows = tuple(
        (
            one.name,
            one.cache,
            f"{one.patches / median(one.seconds):,.0f}",
            f"{1e6 * median(one.seconds) / one.patches:.1f}",
            f"{1e6 * min(one.seconds) / one.patches:.1f} - "
            f"{1e6 * max(one.seconds) / one.patches:.1f}",
            f"{native[one.cache] / median(one.seconds):.2f}",
        )
        for one in trials
    )
    head = ("store", "cache", "patches/s", "us/patch", "best - worst", "of the native rate")
    title = f"Reading {len(find_patches(tree, 's2'))} patches (s2) where they lie"
    return CaseTable("in-place", title, NOTES, head, rows, tuple(asdict(one) for one in trials))


def _turn(path: Path, mode: str, turn: int) -> tuple[float, int]:
    """Seconds of some batches, and how many patches they have."""
    with open_store(path, mode=mode) as store:
        keys = store.keys("s2")
        order = np.random.default_rng(turn).permutation(len(keys))
        count = max(min(len(keys) // BATCH, 30), 1)
        batches = [[keys[at] for at in order[n * BATCH :][:BATCH]] for n in range(count)]
        buffer = np.empty((len(batches[0]), *store.manifest.modalities["s2"].shape), np.uint16)
        for batch in batches:
            store.records(batch)  # keys are found once, as in the epochs of a training
        if mode == "auto":  # maps, plans and buffers are made once
            store.read_batch(batches[0], out=buffer)
        begun = perf_counter()
        for batch in batches:
            store.read_batch(batch, out=buffer[: len(batch)])
        return perf_counter() - begun, sum(map(len, batches))


def _assert_equal(work: Path) -> None:
    """Stop if the archive gives other pixels than the native store."""
    for mode in ("map", "direct"):
        with (
            open_store(work / ARCHIVE, mode=mode) as one,
            open_store(work / NATIVE, mode=mode) as other,
        ):
            keys = other.keys("s2")
            if one.keys("s2") != keys or not one.table().equals(other.table()):
                raise SystemExit("the archive has other patches or rows than the native store")
            for begin in range(0, len(keys), BATCH):
                some = keys[begin : begin + BATCH]
                if not np.array_equal(one.read_batch(some), other.read_batch(some)):
                    raise SystemExit(f"the archive gives other pixels of {some[0]} and the next")
