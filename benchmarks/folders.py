"""Converting folders that are not in the page cache, and folders on a disk that answers late."""

import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.archive import same_files
from benchmarks.cache import drop
from benchmarks.process import timed
from benchmarks.report import CaseTable
from benchmarks.tree import MODALITIES, REPOSITORY, find_patches

CAT = "xargs -P 32 cat"
COLD = "Patchpress, {layout}"
LATE, LATE_ALONE = "Patchpress, late disk", "Patchpress, late disk, a file a worker at a time"
WAIT = 2000  # microseconds
# The same command with one thread a worker, and one folder listed at a time.
ALONE = (
    "import patchpress.converter.side_by_side as files; "
    "import patchpress.converter.sources.listing as folders; "
    "from patchpress.converter.cli import main; "
    "files.FEW = files.MANY = folders.AHEAD = 1; main()"
)
NOTES = (
    "Sentinel-2 of the tree. Before each cold run its files are dropped from the page cache; "
    "folders and inodes stay in memory. Each run is a fresh process, start-up included, until its "
    "files are on the disk. Medians; contestants take turns.",
    f"Late disk: each open, look at a file and listing in the tree waits {WAIT / 1000:g} ms, by a "
    "library that is preloaded (tests/support/slow.c). One run each.",
    "The two stores from the late disk have the same bytes.",
)


@dataclass(frozen=True)
class FolderTrial:
    """One contestant's runs."""

    name: str
    patches: int
    seconds: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Patches a second, the median."""
        return self.patches / median(self.seconds)


def run(tree: Path, out: Path, workers: int, rounds: int) -> CaseTable:
    """Time cold conversions and `cat` in turns, then conversions from a late disk."""
    source = tree / MODALITIES["s2"].folder
    work = out / "from-folders"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    listed = work / "files.txt"
    files = sorted(str(path) for path in source.rglob("*.tif"))
    listed.write_text("".join(f"{path}\n" for path in files))
    contestants = {CAT: ["sh", "-c", f"xargs -P 32 -d '\\n' cat < '{listed}' > /dev/null"]}
    for layout in ("native", "stacked"):
        command = ["-m", "patchpress", *words(tree, work / layout, layout, workers)]
        contestants[COLD.format(layout=layout)] = [sys.executable, *command]
    times: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            for layout in ("native", "stacked"):
                shutil.rmtree(work / layout, ignore_errors=True)
            drop(source)
            times[name].append(timed(contestants[name], work))
    times |= late(tree, work, workers)
    patches = len(find_patches(tree, "s2"))
    trials = [FolderTrial(name, patches, tuple(seconds)) for name, seconds in times.items()]
    shutil.rmtree(work)
    head = ("contestant", "patches/s", "s, best - worst")
    title = f"Converting folders of {patches} patches (s2), cold and late, {workers} workers"
    raw = tuple(asdict(trial) for trial in trials)
    return CaseTable("folders", title, NOTES, head, tuple(map(row, trials)), raw)


def words(tree: Path, store: Path, layout: str, workers: int) -> list[str]:
    """Give the words of the command that makes a store of Sentinel-2."""
    return [
        "convert", "bigearthnet-v2", str(tree), str(store),
        "--modality", "s2", "--layout", layout, "--workers", str(workers),
    ]  # fmt: skip


def late(tree: Path, work: Path, workers: int) -> dict[str, list[float]]:
    """Give the seconds of conversions from a late disk; none without gcc."""
    library = work / "slow.so"
    built = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library)]
    code = REPOSITORY / "tests" / "support" / "slow.c"
    if shutil.which("gcc") is None:
        return {}
    subprocess.run([*built, str(code), "-ldl"], check=True)
    env = ["env", f"LD_PRELOAD={library}", f"SLOW_PATH={tree}/", f"SLOW_WAIT={WAIT}"]
    found = {}
    for name, how in ((LATE, ["-m", "patchpress"]), (LATE_ALONE, ["-c", ALONE])):
        store = work / name.replace(" ", "-")
        command = [*env, sys.executable, *how, *words(tree, store, "native", workers)]
        found[name] = [timed(command, store)]
    one, other = (work / name.replace(" ", "-") for name in (LATE, LATE_ALONE))
    same_files(one, other, sorted(os.listdir(one)))
    return found


def row(trial: FolderTrial) -> tuple[str, ...]:
    """Give one line of the table."""
    seconds = trial.seconds
    return (trial.name, f"{trial.rate:,.0f}", f"{min(seconds):.2f} - {max(seconds):.2f}")
