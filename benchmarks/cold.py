"""Reading from a cold disk: a fresh process each round, its files dropped from the page cache."""

from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.adapters import COLD_READERS
from benchmarks.adapters.protocol import Reader, Sources
from benchmarks.cache import drop, resident
from benchmarks.child import Contestant, in_turns
from benchmarks.contestant import load_sources
from benchmarks.report import CaseTable
from benchmarks.trial import Trial, times, trial, us

# A contestant that has read this share of all patches, and so many times what was asked for, has
# read its whole file ahead.
WHOLE, AHEAD = 0.9, 1.2
DROPPED = 0.02  # with a larger share left in the page cache, the disk was not needed
NOTES = (
    "Before each round a contestant's files are dropped from the page cache while no process maps "
    "them; then a fresh process opens them (not timed) and reads batches in which no patch comes "
    "twice. Medians; contestants take turns.",
    "read/needed: bytes that the process made the disk read, for each byte of the patches as they "
    "are stored (345,600 a patch, native 160,000). What is read ahead for one patch may serve a "
    "later one; the smaller the files are, the more often.",
    "Folders and inodes stay in memory, in favour of Zarr with its file a patch.",
)


def run(sources: Path, batch: int, patches: int, rounds: int) -> CaseTable:
    """Check all contestants, then time them in turns, each time from a cold disk."""
    listed = load_sources(sources)
    batch = min(batch, len(listed.keys))
    patches = min(patches, len(listed.keys)) // batch * batch
    checked = {reader.name: check(reader, sources, batch) for reader in COLD_READERS}
    racers = [reader for reader in COLD_READERS if checked[reader.name].unavailable is None]
    found: dict[str, list[dict[str, float]]] = {}
    for turn, reader in in_turns(rounds, racers):
        result = one_round(reader, sources, listed, batch=batch, turn=turn, patches=patches)
        found.setdefault(reader.name, []).append(result)
    trials = [measured(checked[reader.name], batch, found) for reader in COLD_READERS]
    return section(trials, rounds, patches, swallowed(trials, len(listed.keys)))


def check(reader: Reader, sources: Path, batch: int) -> Contestant[Reader]:
    """Let a contestant write its form, compare its arrays, and end its process."""
    contestant = Contestant("cold", reader, sources)
    contestant.check(batch=batch)
    contestant.close()
    return contestant


def one_round(reader: Reader, sources: Path, listed: Sources, **asked: Any) -> dict[str, float]:
    """Drop the files, see what share is left in the page cache, read in a fresh process."""
    path = reader.source(listed)
    drop(path)
    left = resident(path)
    contestant = Contestant("cold", reader, sources)
    assert contestant.unavailable is None, contestant.unavailable
    answer: dict[str, float] = contestant.ask("cold", **asked)
    contestant.close()
    return {**answer, "resident": left}


def measured(
    contestant: Contestant[Reader], batch: int, found: dict[str, list[dict[str, float]]]
) -> Trial:
    """Put down what a contestant did in all rounds."""
    rounds = found.get(contestant.peer.name, [])
    stored = contestant.peer.stored
    return trial(
        contestant,
        batch,
        rates=tuple(one["patches"] / one["seconds"] for one in rounds),
        amplification=tuple(one["read"] / one["patches"] / stored for one in rounds),
        resident=tuple(one["resident"] for one in rounds),
        extra={"stored bytes a patch": stored, "patches": rounds[0]["patches"] if rounds else 0},
    )


def section(trials: list[Trial], rounds: int, patches: int, notes: tuple[str, ...]) -> CaseTable:
    """Give the table; the first contestant is what the others are compared with."""
    rows = []
    for one in trials:
        if one.rates:
            worst = max(one.amplification)
            cells = (us(one), times(one, trials[0]), one.spread, f"{worst:.2f}", one.note)
        else:
            cells = ("-", "-", "-", "-", one.unavailable or "")
        rows.append((one.name, *cells))
    head = ("reader", "us/patch", "of preadv", "best - worst", "read/needed, most", "bias")
    title = f"Reading from a cold disk, batches of {trials[0].batch}, {rounds} rounds of {patches}"
    raw = tuple(map(asdict, trials))
    return CaseTable("cold", title, (*NOTES, *doubts(trials), *notes), head, tuple(rows), raw)


def doubts(trials: list[Trial]) -> tuple[str, ...]:
    """Say whose files were not dropped, or were not read from the disk."""
    notes = []
    for one in trials:
        if one.resident and max(one.resident) > DROPPED:
            share = f"{max(one.resident):.0%}"
            notes.append(f"NOT cold: {share} of the files of {one.name} stayed in the page cache.")
        elif one.amplification and min(one.amplification) < 0.9:
            least = f"{min(one.amplification):.2f}"
            notes.append(f"NOT cold: {one.name} had {least} of its bytes read from the disk.")
    return tuple(notes) or ("Dropping worked for all of them (mincore, and bytes read).",)


def swallowed(trials: list[Trial], everything: int) -> tuple[str, ...]:
    """Say who had read its whole file ahead before the round was over: its time is too good."""
    names = [
        one.name
        for one in trials
        if one.amplification
        and median(one.amplification) > AHEAD
        and median(one.amplification) * one.extra["patches"] > WHOLE * everything
    ]
    if not names:
        return ()
    return (
        f"{'; '.join(names)}: had read (nearly) the whole file ahead when the round ended, so the "
        "later patches came from memory. With more data than memory that is not so: try "
        "--cold-patches 64.",
    )
