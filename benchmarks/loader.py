"""Loaders for torch: whole epochs in random order, with 0, 1 and 2 workers."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.adapters import LOADERS
from benchmarks.adapters.protocol import Loader
from benchmarks.child import Contestant, in_turns
from benchmarks.contestant import load_sources
from benchmarks.report import CaseTable
from benchmarks.tree import warm
from benchmarks.trial import Trial, fitting, trial

NOTES = (
    "Whole shuffled epochs, page cache warm. The consumer touches one element of each batch and no "
    "more. Contestants take turns; each time a loader is made anew; its first epoch, with the "
    "start of its workers, is apart from the others.",
    "Before the first round an epoch of each was run: every patch came once, arrays were equal.",
)
Key = tuple[str, int, int]


def run(sources: Path, sizes: Sequence[int], rounds: int, seconds: float) -> CaseTable:
    """Check all loaders at all settings, then let them take turns."""
    patches = len(load_sources(sources).keys)
    batches = fitting(sizes, patches)
    contestants = [Contestant[Loader]("loader", peer, sources) for peer in LOADERS]
    settings = [
        (one, batch, workers)
        for one in contestants
        for batch in batches
        for workers in one.peer.workers
    ]
    for one, batch, workers in settings:
        one.check(batch=batch, workers=workers)
    racers = [setting for setting in settings if setting[0].unavailable is None]
    load_files([one for one in contestants if one.unavailable is None], sources)
    found: dict[Key, list[dict[str, float]]] = {}
    for _, (one, batch, workers) in in_turns(rounds, racers):
        answer = one.ask("time", batch=batch, workers=workers, seconds=seconds)
        found.setdefault((one.peer.name, batch, workers), []).append(answer)
    for one in contestants:
        one.close()
    trials = [
        measured(one, batch, workers, found)
        for batch in batches
        for one in contestants
        for workers in one.peer.workers
    ]
    return section(trials, patches, rounds, seconds)


def load_files(contestants: Iterable[Contestant[Any]], sources: Path) -> None:
    """Bring what contestants read into the page cache."""
    listed = load_sources(sources)
    for one in contestants:
        warm(one.peer.source(listed))


def measured(
    one: Contestant[Loader], batch: int, workers: int, found: dict[Key, list[dict[str, float]]]
) -> Trial:
    """Put down what a loader did at one setting."""
    rounds = found.get((one.peer.name, batch, workers), [])
    return trial(
        one,
        batch,
        workers=workers,
        rates=tuple(each["rate"] for each in rounds),
        first=tuple(each["first"] for each in rounds),
    )


def section(trials: list[Trial], patches: int, rounds: int, seconds: float) -> CaseTable:
    """Give the table."""
    rows = []
    for one in trials:
        if one.rates:
            spread = f"{max(one.rates):,.0f} - {min(one.rates):,.0f}"
            cells = (f"{one.rate:,.0f}", spread, f"{median(one.first):,.0f}", one.note)
        else:
            cells = ("-", "-", "-", one.unavailable or "")
        rows.append((one.name, str(one.batch), str(one.workers), *cells))
    head = ("loader", "batch", "workers", "patches/s", "best - worst", "first epoch", "bias")
    title = f"Loading epochs of {patches:,} patches, {rounds} rounds of {seconds} s or an epoch"
    return CaseTable("loader", title, NOTES, head, tuple(rows), tuple(map(asdict, trials)))
