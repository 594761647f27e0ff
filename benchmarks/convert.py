"""Converting a raw tree: equal records first, then time and memory of whole processes."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.adapters import CONVERTERS
from benchmarks.adapters.protocol import Converter, Job
from benchmarks.process import Memory, timed, watched
from benchmarks.report import CaseTable
from benchmarks.stores import assert_same, payload
from benchmarks.tree import MODALITIES, find_patches, synthetic_tree, warm

LAYOUTS = ("native", "stacked")
NOTES = (
    "Each run is a fresh process, start-up included, until its files are on the disk. The tree is "
    "read before each run, so that all find it in the page cache. Medians; contestants take turns.",
    "MB are those of the stored records. Memory is the peak over all processes together, looked "
    "at every 50 ms in a run that is not timed: PSS counts a shared page once, RSS in each.",
)


@dataclass(frozen=True)
class ConversionTrial:
    """One contestant's runs of one conversion."""

    layout: str
    modalities: tuple[str, ...]
    name: str
    note: str
    patches: int
    stored_bytes: int
    seconds: tuple[float, ...]
    memory: Memory

    @property
    def rate(self) -> float:
        """Patches a second, the median."""
        return self.patches / median(self.seconds)


def run(tree: Path, out: Path, workers: int, rounds: int, *, alone: bool = False) -> CaseTable:
    """Convert Sentinel-2 alone and (unless ``alone``) everything, in both layouts."""
    warm(tree)
    rows: list[tuple[str, ...]] = []
    raw: list[dict[str, object]] = []
    for layout in LAYOUTS:
        for modalities in (("s2",), tuple(MODALITIES))[: 1 if alone else 2]:
            trials = race(tree, out, layout, modalities, workers, rounds)
            rows += [row(trial, trials[-1]) for trial in trials]
            raw += [asdict(trial) for trial in trials]
    head = (
        "layout",
        "modalities",
        "converter",
        "patches/s",
        "MB/s",
        "against the last",
        "s, best - worst",
        "PSS",
        "RSS",
    )
    bias = tuple(f"{c.name}: {c.available() or c.note}." for c in CONVERTERS)
    title = f"Converting {len(find_patches(tree, 's2'))} patches, {workers} workers"
    return CaseTable("convert", title, (*NOTES, *bias), head, tuple(rows), tuple(raw))


def race(
    tree: Path, out: Path, layout: str, modalities: tuple[str, ...], workers: int, rounds: int
) -> list[ConversionTrial]:
    """Let every converter that can run do one conversion, checked first, then timed in turns."""
    racers = [converter for converter in CONVERTERS if converter.available() is None]
    if not racers:
        return []
    stores = [out / f"convert-{i}" for i in range(len(racers))]
    jobs = [Job(tree, store, layout, modalities, workers) for store in stores]
    memory = [converted(racer, job) for racer, job in zip(racers, jobs, strict=True)]
    for job in jobs[1:]:
        assert_same(jobs[0].store, job.store, layout)
    size = payload(jobs[0].store)
    seconds: list[list[float]] = [[] for _ in racers]
    for turn in range(rounds):
        for i in [(turn + k) % len(racers) for k in range(len(racers))]:
            shutil.rmtree(jobs[i].store)
            for modality in modalities:  # the kernel may have dropped some of it
                warm(tree / MODALITIES[modality].folder)
            seconds[i].append(timed(racers[i].command(jobs[i]), jobs[i].store))
    for job in jobs:
        shutil.rmtree(job.store)
    patches = len(find_patches(tree, modalities[0]))
    return [
        ConversionTrial(
            layout, modalities, racer.name, racer.note, patches, size, tuple(times), peak
        )
        for racer, times, peak in zip(racers, seconds, memory, strict=True)
    ]


def converted(converter: Converter, job: Job) -> Memory:
    """Convert into a new store and give the peak memory."""
    shutil.rmtree(job.store, ignore_errors=True)
    return watched(converter.command(job))


def row(trial: ConversionTrial, last: ConversionTrial) -> tuple[str, ...]:
    """Give one line of the table."""
    return (
        trial.layout,
        " ".join(trial.modalities),
        trial.name,
        f"{trial.rate:,.0f}",
        f"{trial.stored_bytes / 1e6 / median(trial.seconds):,.0f}",
        f"{trial.rate / last.rate:.1f}x",
        f"{min(trial.seconds):.2f} - {max(trial.seconds):.2f}",
        f"{trial.memory.pss / 1e6:,.0f} MB",
        f"{trial.memory.rss / 1e6:,.0f} MB",
    )


def run_memory(out: Path, sizes: tuple[int, ...], workers: int, seed: int) -> CaseTable:
    """Convert Sentinel-2 of trees of several sizes, to see whether the memory grows."""
    raw: list[dict[str, object]] = []
    rows: list[tuple[str, ...]] = []
    for size in sizes:
        tree = synthetic_tree(out, size, seed)
        warm(tree)
        patches = len(find_patches(tree, "s2"))
        for layout in LAYOUTS:
            for converter in (c for c in CONVERTERS if c.available() is None):
                job = Job(tree, out / "memory", layout, ("s2",), workers)
                peak = converted(converter, job)
                shutil.rmtree(job.store)
                found = {"layout": layout, "patches": patches, "name": converter.name}
                raw.append(found | {"memory": asdict(peak)})
                sums = (peak.pss, peak.pss_anon, peak.rss)
                cells = (f"{value / 1e6:,.0f} MB" for value in sums)
                rows.append((layout, converter.name, f"{patches:,}", *cells))
    head = ("layout", "converter", "patches", "PSS", "of it anonymous", "RSS")
    title = f"Memory of a conversion (s2), {workers} workers"
    ordered = tuple(sorted(rows, key=lambda r: r[:2]))
    return CaseTable("memory", title, NOTES[1:], head, ordered, tuple(raw))
