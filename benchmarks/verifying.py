"""What reads a whole store (verify, stats, index) beside `cat`, and verifying against a source."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.cache import drop
from benchmarks.process import timed
from benchmarks.report import CaseTable
from benchmarks.tree import find_patches, warm

CAT_COLD, CAT_WARM = "cat data.mdb, cold", "cat data.mdb, warm"
VERIFY_COLD, VERIFY_WARM = "verify, cold", "verify, warm"
STATS_COLD, STATS_WARM = "stats, cold", "stats, warm"
INDEX_COLD, INDEX_WARM = "index, cold", "index, warm"
CONVERT_COLD, CONVERT_WARM = "convert, cold source", "convert, warm source"
AGAINST_COLD, AGAINST_WARM = "verify --against, all cold", "verify --against, all warm"
NOTES = (
    "Whole processes, their start-up of some 0.4 s included; medians, in turns. Cold: the files"
    " are dropped from the page cache before, and folders stay. All modalities, stacked layout.",
)  # fmt: skip


@dataclass(frozen=True)
class VerifyTrial:
    """The runs of one command."""

    name: str
    seconds: tuple[float, ...]


def run(tree: Path, out: Path, workers: int, rounds: int) -> CaseTable:
    """Make a store, then time all commands on it in turns."""
    store, other = out / "verify-store", out / "verify-other"
    command = [sys.executable, "-m", "patchpress"]
    with_workers = ["--workers", str(workers)]
    convert = [*command, "convert", "bigearthnet-v2", str(tree), "", "--overwrite", *with_workers]
    shutil.rmtree(store, ignore_errors=True)
    timed([word or str(store) for word in convert], store)
    data = store / "data.mdb"
    verify = [*command, "verify", str(store), *with_workers]
    against = [*verify, "--against", str(tree)]
    numbers = out / "verify-statistics.json"
    stats = [*command, "stats", str(store), "--out", str(numbers), *with_workers]
    index = [*command, "index", str(store)]
    fill = [word or str(other) for word in convert]

    def all_cold() -> None:
        drop(store)
        drop(tree)

    def all_warm() -> None:
        warm(store)
        warm(tree)

    commands: dict[str, tuple[Callable[[], object], list[str]]] = {
        CAT_COLD: (lambda: drop(store), ["cat", str(data)]),
        VERIFY_COLD: (lambda: drop(store), verify),
        STATS_COLD: (lambda: drop(store), stats),
        INDEX_COLD: (lambda: drop(store), index),
        CAT_WARM: (lambda: warm(store), ["cat", str(data)]),
        VERIFY_WARM: (lambda: warm(store), verify),
        STATS_WARM: (lambda: warm(store), stats),
        INDEX_WARM: (lambda: warm(store), index),
        CONVERT_COLD: (lambda: drop(tree), fill),
        AGAINST_COLD: (all_cold, against),
        CONVERT_WARM: (lambda: warm(tree), fill),
        AGAINST_WARM: (all_warm, against),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, (prepare, words) in commands.items():
            prepare()
            seconds[name].append(timed(words, other if words is fill else store))
    nbytes = data.stat().st_size
    for folder in (store, other):
        shutil.rmtree(folder)
    numbers.unlink()
    trials = [VerifyTrial(name, tuple(found)) for name, found in seconds.items()]
    rows = tuple(
        (
            trial.name,
            f"{median(trial.seconds):.2f}",
            f"{min(trial.seconds):.2f} - {max(trial.seconds):.2f}",
            f"{nbytes / 1e6 / median(trial.seconds):,.0f}",
        )
        for trial in trials
    )
    head = ("command", "s, median", "best - worst", "MB of the store/s")
    title = f"Verifying {len(find_patches(tree, 's2'))} patches, {workers} workers"
    return CaseTable("verify", title, NOTES, head, rows, tuple(asdict(trial) for trial in trials))
