"""Reading random batches: every contestant in its own process, in turns, on equal data."""

import json
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from benchmarks.adapters import READERS
from benchmarks.adapters.patchpress import PatchpressConverter
from benchmarks.adapters.protocol import Job, Reader, Sources
from benchmarks.contestant import BATCH
from benchmarks.convert import converted
from benchmarks.rasterio_pool import read_band, stack
from benchmarks.report import Section
from benchmarks.tree import REPOSITORY, Patch, find_patches, warm

NOTES = (
    f"Batches of {BATCH} random Sentinel-2 patches, (12, 120, 120). One process and one thread "
    "each, page cache warm; contestants take turns. Medians of the rounds.",
    "Before the first round every contestant's arrays were compared with what rasterio reads.",
)


@dataclass(frozen=True)
class Trial:
    """One contestant's rounds: patches a second in each."""

    name: str
    note: str
    unavailable: str | None
    rates: tuple[float, ...]


class Contestant:
    """A reader's process, asked line by line."""

    def __init__(self, reader: Reader, sources: Path) -> None:
        self.reader = reader
        command = [sys.executable, "-m", "benchmarks.contestant", reader.name, str(sources)]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.unavailable: str | None = self.answer()
        self.rates: list[float] = []

    def answer(self) -> str | None:
        """Take one line: JSON of null or text."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.reader.name} ended with status {self.process.wait()}")
        answer: str | None = json.loads(line)
        return answer

    def ask(self, *words: str) -> str:
        """Send one line and take the answer."""
        assert self.process.stdin is not None
        print(*words, file=self.process.stdin, flush=True)
        return self.answer() or ""

    def close(self) -> None:
        """End the process: it reads to the end of its input."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def run(tree: Path, out: Path, workers: int, rounds: int, seconds: float) -> Section:
    """Prepare every form, check all contestants, then let them take turns."""
    sources = prepare(tree, out, workers)
    contestants = [Contestant(reader, sources) for reader in READERS]
    racers = [contestant for contestant in contestants if contestant.unavailable is None]
    for contestant in racers:
        wrong = contestant.ask("check")
        assert not wrong, f"{contestant.reader.name} reads other values: {wrong}"
    for turn in range(rounds):
        for k in range(len(racers)):
            contestant = racers[(turn + k) % len(racers)]
            contestant.rates.append(float(contestant.ask("time", str(turn), str(seconds))))
    for contestant in contestants:
        contestant.close()
    trials = [
        Trial(c.reader.name, c.reader.note, c.unavailable, tuple(c.rates)) for c in contestants
    ]
    return section(trials, rounds, seconds)


def section(trials: list[Trial], rounds: int, seconds: float) -> Section:
    """Give the table; the first contestant is the limit that the others are compared with."""
    limit = median(trials[0].rates)
    rows = []
    for trial in trials:
        if trial.unavailable:
            rows.append((trial.name, "-", "-", "-", "-", trial.unavailable))
            continue
        rate = median(trial.rates)
        rows.append((
            trial.name, f"{rate:,.0f}", f"{1e6 / rate:,.1f}", f"{limit / rate:,.2f}x",
            f"{1e6 / max(trial.rates):,.1f} - {1e6 / min(trial.rates):,.1f}", trial.note,
        ))  # fmt: skip
    head = ("reader", "patches/s", "us/patch", "time of memmap", "us, best - worst", "bias")
    title = f"Reading, {rounds} rounds of {seconds} s"
    return Section(title, NOTES, head, tuple(rows), tuple(map(asdict, trials)))


def prepare(tree: Path, out: Path, workers: int) -> Path:
    """Write the same patches in every form; give the file that says where they are."""
    patches = find_patches(tree, "s2")
    stores = {layout: out / f"read-{layout}" for layout in ("stacked", "native")}
    for layout, store in stores.items():
        converted(PatchpressConverter(), Job(tree, store, layout, ("s2",), workers))
    flat = out / "read-flat.npy"
    write_flat(flat, patches, workers)
    keys = tuple(patch.key for patch in patches)
    sources = Sources(tree, stores["stacked"], stores["native"], flat, keys)
    for path in (tree, *stores.values(), flat):
        warm(path)
    listed = out / "read-sources.json"
    listed.write_text(json.dumps(asdict(sources), default=str))
    return listed


def write_flat(path: Path, patches: list[Patch], workers: int) -> None:
    """Write all patches into one .npy as rasterio reads them: the oracle and the limit."""
    shape = (len(patches), 12, 120, 120)
    flat = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=shape)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        for row, array in enumerate(pool.map(stacked, patches, chunksize=16)):
            flat[row] = array
    flat.flush()


def stacked(patch: Patch) -> npt.NDArray[np.generic]:
    """Read one patch with rasterio, coarse bands repeated."""
    return stack([read_band(path) for _, path in patch.files])
