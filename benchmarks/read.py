"""Reading random batches, page cache warm: every contestant in its own process, in turns."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.adapters import READERS, RGB_READERS, SHARD_READERS
from benchmarks.adapters.protocol import Reader, Sequential
from benchmarks.cache import resident
from benchmarks.child import Contestant, in_turns
from benchmarks.contestant import load_sources
from benchmarks.report import CaseTable
from benchmarks.tree import warm
from benchmarks.trial import Trial, fitting, times, trial, us

SHORTER = 8  # times, the turns of the case shards
WARM = 0.99  # the report tells of whom a smaller share was in the page cache
NOTES = (
    "Random Sentinel-2 patches, (12, 120, 120) uint16. One process and one thread each, page cache "
    "warm; contestants take turns. Medians of the rounds.",
    "Before the first round every contestant's arrays were compared with what rasterio reads.",
)
Racer = Contestant[Reader | Sequential]


def run(sources: Path, sizes: Sequence[int], rounds: int, seconds: float) -> CaseTable:
    """Read whole patches, in batches of several sizes."""
    trials, notes = race("read", READERS, sources, sizes, rounds, seconds)
    rows = []
    limits = [one for one in trials if one.name == READERS[0].name]
    for peer in READERS:
        mine = [one for one in trials if one.name == peer.name]
        cells: list[str] = [peer.name]
        for one, limit in zip(mine, limits, strict=True):
            cells += [us(one), times(one, limit), one.spread] if one.rates else ["-", "-", "-"]
        rows.append((*cells, mine[0].unavailable or peer.note))
    per_size = [(f"us/patch, {one.batch}", "of memmap", "best - worst") for one in limits]
    head = ("reader", *(name for names in per_size for name in names), "bias")
    batches = " and ".join(str(one.batch) for one in limits)
    title = f"Reading batches of {batches}, {rounds} rounds of {seconds} s"
    return CaseTable("read", title, (*NOTES, *notes), head, tuple(rows), tuple(map(asdict, trials)))


def run_rgb(sources: Path, sizes: Sequence[int], rounds: int, seconds: float) -> CaseTable:
    """Read three bands against all twelve."""
    trials, notes = race("rgb", RGB_READERS, sources, sizes[:1], rounds, seconds)
    rows = []
    for whole, part in zip(trials[::2], trials[1::2], strict=True):
        if whole.rates and part.rates:
            gain = f"{part.rate / whole.rate:.2f}x"
            cells = (us(whole), us(part), gain, part.spread, part.note)
        else:
            cells = ("-", "-", "-", "-", part.unavailable or whole.unavailable or "")
        rows.append((whole.name, *cells))
    head = ("reader", "us/patch, 12 bands", "us/patch, 3 bands", "faster", "best - worst", "bias")
    title = f"Reading B04, B03 and B02 in batches of {trials[0].batch}, {rounds} rounds"
    notes = (*NOTES, *notes, "A quarter of the bytes: 4 times as fast is the limit.")
    return CaseTable("rgb", title, notes, head, tuple(rows), tuple(map(asdict, trials)))


def run_shards(sources: Path, sizes: Sequence[int], rounds: int, seconds: float) -> CaseTable:
    """Read whole patches of a store of one data file, and of one of many."""
    # A few hundredths decide: more and shorter turns, so that others on the machine hit both.
    rounds, seconds = rounds * SHORTER, seconds / SHORTER
    trials, notes = race("shards", SHARD_READERS, sources, sizes, rounds, seconds, typical=True)
    half = len(trials) // 2
    rows = []
    for one, many in zip(trials[:half], trials[half:], strict=True):
        for each in (one, many):
            cells = (us(each), times(each, one), each.spread) if each.rates else ("-",) * 3
            rows.append((str(each.batch), each.name, *cells, each.unavailable or ""))
    head = ("batch", "reader", "us/patch", "of one data file", "best - worst", "")
    title = f"Reading from one data file and from shards, {rounds} rounds of {seconds:g} s"
    note = "Each batch has records of nearly all shards. The median batch of each round counts."
    return CaseTable(
        "shards", title, (*NOTES, note, *notes), head, tuple(rows), tuple(map(asdict, trials))
    )


def race(
    case: str,
    peers: Sequence[Reader | Sequential],
    sources: Path,
    sizes: Sequence[int],
    rounds: int,
    seconds: float,
    *,
    typical: bool = False,
) -> tuple[list[Trial], tuple[str, ...]]:
    """Open all contestants, check them, read their files once, then let them take turns."""
    listed = load_sources(sources)
    batches = fitting(sizes, len(listed.keys))
    contestants = [Racer(case, peer, sources) for peer in peers]
    for contestant in contestants:
        for batch in batches:
            contestant.check(batch=batch)
    racers = [contestant for contestant in contestants if contestant.unavailable is None]
    notes = warmed(racers, sources)
    rates: dict[tuple[str, int], list[float]] = {}
    for turn, contestant in in_turns(rounds, racers):
        # Again: the kernel may have dropped pages while the others had their turns.
        warm(contestant.peer.source(listed))
        for batch in batches:
            asked: dict[str, object] = {"batch": batch, "turn": turn, "seconds": seconds}
            if typical:
                asked["typical"] = True
            rate = contestant.ask("time", **asked)
            rates.setdefault((contestant.peer.name, batch), []).append(rate)
    for contestant in contestants:
        contestant.close()
    trials = [
        trial(one, batch, rates=tuple(rates.get((one.peer.name, batch), ())))
        for one in contestants
        for batch in batches
    ]
    return trials, notes


def warmed(racers: Sequence[Racer], sources: Path) -> tuple[str, ...]:
    """Bring all files into the page cache; say of whom they did not stay there."""
    listed = load_sources(sources)
    paths = {racer.peer.name: racer.peer.source(listed) for racer in racers}
    for path in paths.values():
        warm(path)
    cold = {name: share for name, path in paths.items() if (share := resident(path)) < WARM}
    return tuple(
        f"NOT warm: only {share:.0%} of the files of {name} stayed in the page cache."
        for name, share in cold.items()
    )
