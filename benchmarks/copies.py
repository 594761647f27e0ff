"""Copying a store: its bytes by `cp`, and its records by Patchpress, which compares checksums."""

import shutil
import sys
from pathlib import Path
from statistics import median

from benchmarks.cache import drop
from benchmarks.process import check, start, timed, turned
from benchmarks.report import CaseTable
from benchmarks.stores import assert_same
from benchmarks.tree import warm

NOTES = (
    "Each run is a fresh process, start-up included, until its files are on the disk. Cold: the "
    "store was dropped from the page cache before. Medians; contestants take turns.",
    "cp compares nothing. Patchpress compares each record with its checksum, and writes the table, "
    "the extents and the manifest of the new store. MB/s are of the data files that are written.",
)
CONTESTANTS: dict[str, tuple[str, ...]] = {
    "cp -r": (),
    "patchpress copy": ("copy",),
    "patchpress split --shards 16": ("split", "--shards", "16"),
    "patchpress copy --split train": ("copy", "--split", "train"),
    "patchpress copy --modality s2 --bands rgb": ("copy", "--modality", "s2", "--bands", "rgb"),
}


def run(tree: Path, out: Path, workers: int, rounds: int) -> CaseTable:
    """Convert the tree once, compare the copies, then time them in turns."""
    store, target = out / "copy-source", out / "copy-target"
    for folder in (store, target):
        shutil.rmtree(folder, ignore_errors=True)
    convert = ("convert", "bigearthnet-v2", str(tree), str(store), "--workers", str(workers))
    _run([sys.executable, "-m", "patchpress", *convert])
    _run(_command("patchpress copy", store, target))
    assert_same(store, target, "native")
    assert (store / "manifest.json").read_bytes() == (target / "manifest.json").read_bytes()
    seconds: dict[tuple[str, bool], list[float]] = {}
    nbytes: dict[str, int] = {}
    names = list(CONTESTANTS)
    for turn in range(rounds):
        for cold in (False, True):
            for name in turned(names, turn):
                shutil.rmtree(target)
                (drop if cold else warm)(store)
                took = timed(_command(name, store, target), target)
                seconds.setdefault((name, cold), []).append(took)
                nbytes[name] = sum(file.stat().st_size for file in target.rglob("*.mdb"))
    for folder in (store, target):
        shutil.rmtree(folder)
    rows = tuple(
        (
            "cold" if cold else "warm",
            name,
            f"{nbytes[name] / 1e6:,.0f}",
            f"{nbytes[name] / 1e6 / median(times):,.0f}",
            f"{min(times):.2f} - {max(times):.2f}",
        )
        for (name, cold), times in sorted(seconds.items(), key=lambda one: one[0][1])
    )
    raw = tuple(
        {"name": name, "cold": cold, "bytes": nbytes[name], "seconds": times}
        for (name, cold), times in seconds.items()
    )
    head = ("page cache", "command", "MB", "MB/s", "s, best - worst")
    return CaseTable("copy", "Copying a store", NOTES, head, rows, raw)


def _command(name: str, store: Path, target: Path) -> list[str]:
    words = CONTESTANTS[name]
    if not words:
        return ["cp", "-r", str(store), str(target)]
    command, *options = words
    return [sys.executable, "-m", "patchpress", command, str(store), str(target), *options]


def _run(command: list[str]) -> None:
    process = start(command, 2)
    check(process.wait(), command, b"")
