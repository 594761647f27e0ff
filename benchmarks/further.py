"""What each further patch of published archives costs, without the start and end of a command."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree
from statistics import median

import pyarrow.parquet as pq

from benchmarks.archive import NOWHERE, PATCHPRESS, convert_command, pack
from benchmarks.process import timed, turned
from benchmarks.report import CaseTable
from benchmarks.tree import MODALITIES, REPOSITORY, TABLE, warm

LAYOUTS = ("native", "stacked")
MAIN = "Patchpress, main thread, native, all modalities"
PARTS = ("third", "whole")
NOTES = (
    "Each command converts archives of a third of the tree and of the whole tree; the difference, "
    "divided by the patches more, is what a further patch costs. Start and end of the command, "
    "which decide for a few thousand patches and not for half a million, are left out by that.",
    "Archives are in the page cache; times are until stores are on the disk. Medians, in turns. "
    "The main thread's time is its CPU time, for a patch of Sentinel-2 with its Sentinel-1 partner "
    "and its map.",
)  # fmt: skip
CHILD = (
    "import sys, time; from patchpress import convert; begun = time.thread_time(); "
    "convert('bigearthnet-v2', sys.argv[1], sys.argv[2], layout='native', "
    "workers=int(sys.argv[3])); print(time.thread_time() - begun)"
)


@dataclass(frozen=True)
class FurtherTrial:
    """One contestant's times for both sources."""

    name: str
    patches: int
    """How many more the whole has."""
    seconds: dict[str, list[float]]

    @property
    def us(self) -> float:
        """Microseconds that a further patch costs."""
        third, whole = (median(self.seconds[part]) for part in PARTS)
        return 1e6 * (whole - third) / self.patches


def run(tree: Path, out: Path, workers: int, rounds: int) -> CaseTable:
    """Pack both sources, then time all on both in turns."""
    rows = pq.read_table(tree / TABLE, columns=["patch_id", "s1_name"]).to_pylist()
    rows.sort(key=lambda row: row["patch_id"])
    kept = {"third": rows[: len(rows) // 3], "whole": rows}
    sources = {part: out / f"archives-{part}" for part in PARTS}
    for part, folder in sources.items():
        chosen = {name for row in kept[part] for name in row.values()}
        for modality in MODALITIES:
            pack(tree, folder, modality, chosen)
        warm(folder)
    store = out / "of-archives"
    names = [NOWHERE, *(PATCHPRESS.format(layout=layout) for layout in LAYOUTS), MAIN]
    times: dict[str, dict[str, list[float]]] = {n: {part: [] for part in PARTS} for n in names}
    for turn in range(rounds):
        for name in turned(names, turn):
            for part, source in sources.items():
                times[name][part].append(_seconds(name, source, store, workers))
                rmtree(store, ignore_errors=True)
    more = len(kept["whole"]) - len(kept["third"])
    trials = [FurtherTrial(name, more, times[name]) for name in names]
    of_zstd = trials[0].us
    head = ("contestant", "us a further patch", "in times of zstd", *PARTS)
    table = tuple(
        (
            trial.name,
            f"{trial.us:,.0f}",
            "" if trial.name == MAIN else f"{trial.us / of_zstd:.2f}",
            *(f"{median(trial.seconds[part]):.2f}" for part in PARTS),
        )
        for trial in trials
    )
    title = f"A further patch of the archives, {workers} workers"
    raw = tuple(asdict(trial) | {"us": trial.us} for trial in trials)
    return CaseTable("further", title, NOTES, head, table, raw)


def _seconds(name: str, source: Path, store: Path, workers: int) -> float:
    """Seconds that a contestant takes for a source: of the clock, or of its main thread."""
    if name == MAIN:
        command = [sys.executable, "-c", CHILD, str(source), str(store), str(workers)]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        ended = subprocess.run(command, env=environment, check=True, capture_output=True)
        return float(ended.stdout)
    archive = source / f"{MODALITIES['s2'].folder}.tar.zst"
    commands: dict[str, Sequence[str]] = {
        PATCHPRESS.format(layout=layout): convert_command(source, store, layout, workers)
        for layout in LAYOUTS
    }
    if name in commands:
        return timed(commands[name], store)
    before = time.perf_counter()
    with Path(os.devnull).open("wb") as nowhere:
        subprocess.run(["zstd", "-dcq", str(archive)], stdout=nowhere, check=True)
    return time.perf_counter() - before
