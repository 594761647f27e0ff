"""Converting folders that are not in the page cache, and folders on a disk that answers late."""

import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median

from benchmarks.archive import same_files
from benchmarks.cache import drop
from benchmarks.process import timed, turned
from benchmarks.report import CaseTable
from benchmarks.tree import FLAGGED_TABLE, MODALITIES, REPOSITORY, TABLE, find_patches

CAT = "xargs -P 32 cat"
COLD, COLD_TO_MEMORY = "Patchpress, {layout}", "Patchpress, {layout}, to memory"
MEMORY = Path("/dev/shm")  # noqa: S108 -- stores that share no disk with their source
LAYOUTS = ("native", "stacked")
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
    "files are on the disk, or in memory (/dev/shm): then the disk does nothing but read. Medians; "
    "contestants take turns.",
    "A further patch: each contestant also takes about a third of the folders alone; the "
    "difference is divided by the patches more, which leaves out what a command needs once.",
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
    third: tuple[float, ...] = ()
    """Seconds of the same with `fewer` patches; none if that was not measured."""
    fewer: int = 0

    @property
    def rate(self) -> float:
        """Patches a second, the median."""
        return self.patches / median(self.seconds)

    @property
    def us(self) -> float | None:
        """Microseconds that a further patch costs."""
        if not self.third:
            return None
        return 1e6 * (median(self.seconds) - median(self.third)) / (self.patches - self.fewer)


def run(tree: Path, out: Path, workers: int, rounds: int) -> CaseTable:
    """Time cold conversions and `cat` in turns, then conversions from a late disk."""
    source = tree / MODALITIES["s2"].folder
    work = out / "from-folders"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    beside = MEMORY / "patchpress-folders"
    third = third_of(tree, work / "third")
    contestants = {part: commands(part, work, beside, workers) for part in (tree, third)}
    names = list(contestants[tree])
    times: dict[Path, dict[str, list[float]]] = {p: {n: [] for n in names} for p in contestants}
    for turn in range(rounds):
        for name in turned(names, turn):
            for part, of_part in contestants.items():
                for folder, layout in product((work, beside), LAYOUTS):
                    shutil.rmtree(folder / layout, ignore_errors=True)
                drop(source)
                times[part][name].append(timed(of_part[name], work))
    shutil.rmtree(beside, ignore_errors=True)
    patches, fewer = (len(find_patches(part, "s2")) for part in (tree, third))
    trials = [
        FolderTrial(name, patches, tuple(times[tree][name]), tuple(times[third][name]), fewer)
        for name in names
    ]
    trials += [FolderTrial(n, patches, tuple(s)) for n, s in late(tree, work, workers).items()]
    shutil.rmtree(work)
    head = ("contestant", "patches/s", "s, best - worst", "us a further patch")
    title = f"Converting folders of {patches} patches (s2), cold and late, {workers} workers"
    raw = tuple(asdict(one) | ({"us": one.us} if one.third else {}) for one in trials)
    return CaseTable("folders", title, NOTES, head, tuple(map(row, trials)), raw)


def third_of(tree: Path, folder: Path) -> Path:
    """Make a tree of links to the first folders of Sentinel-2: about a third of the patches."""
    inside = folder / MODALITIES["s2"].folder
    inside.mkdir(parents=True)
    for table in (TABLE, FLAGGED_TABLE):
        (folder / table).symlink_to((tree / table).resolve())
    scenes = sorted((tree / inside.name).iterdir())
    counts = [sum(1 for _ in scene.iterdir()) for scene in scenes]
    least = min(range(1, len(scenes)), key=lambda n: abs(sum(counts[:n]) - sum(counts) / 3))
    for scene in scenes[:least]:
        (inside / scene.name).symlink_to(scene.resolve())
    return folder


def commands(tree: Path, work: Path, beside: Path, workers: int) -> dict[str, list[str]]:
    """Give the command of each contestant."""
    files = sorted(str(path) for one in find_patches(tree, "s2") for _, path in one.files)
    listed = work / f"{tree.name}.txt"
    listed.write_text("".join(f"{path}\n" for path in files))
    found = {CAT: ["sh", "-c", f"xargs -P 32 -d '\\n' cat < '{listed}' > /dev/null"]}
    stores = [(COLD, work)] + [(COLD_TO_MEMORY, beside)] * MEMORY.is_dir()
    for name, folder in stores:
        for layout in LAYOUTS:
            command = ["-m", "patchpress", *words(tree, folder / layout, layout, workers)]
            found[name.format(layout=layout)] = [sys.executable, *command]
    return found


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
    us = f"{trial.us:,.0f}" if trial.us is not None else ""
    return (trial.name, f"{trial.rate:,.0f}", f"{min(seconds):.2f} - {max(seconds):.2f}", us)
