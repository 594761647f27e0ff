"""What Patchpress wants to reach, against what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.adapters.patchpress import PatchpressSharded
from benchmarks.archive import NOWHERE, PATCHPRESS, UNPACK
from benchmarks.folders import CAT, COLD, COLD_TO_MEMORY, LATE, LATE_ALONE
from benchmarks.further import MAIN
from benchmarks.in_place import ARCHIVE, NATIVE
from benchmarks.packed import FOLDERS, STORED
from benchmarks.report import CaseTable
from benchmarks.start import HELP, SMALL
from benchmarks.verifying import (
    AGAINST_COLD,
    AGAINST_WARM,
    CAT_COLD,
    CONVERT_COLD,
    CONVERT_WARM,
    INDEX_COLD,
    STATS_COLD,
    VERIFY_COLD,
)

OF_CONVERTING = (
    "convert",
    "archive",
    "packed",
    "folders",
    "further",
    "costs",
    "copy",
    "in-place",
    "layouts",
    "memory",
    "remote",
    "start",
    "verify",
)  # the cases without a reader
CONVERTER, USUAL = "Patchpress", "rasterio, process pool"
FROM_ARCHIVE = PATCHPRESS.format(layout="stacked")
STACKED, BARE = "Patchpress, stacked", "Patchpress, bare read_batch loop"
SHARDED = PatchpressSharded.name
STOCK, LOADER = "Patchpress, stock DataLoader", "Patchpress, PatchLoader"
PER_ITEM = "per item, default collate"
DIRECT = ("Patchpress, stacked, direct", "Patchpress, native, direct")


class Absent(LookupError):
    """Something that a target needs was not measured."""


class Medians:
    """Medians of all cases, by the contestants' names."""

    def __init__(self, sections: Sequence[CaseTable]) -> None:
        self.trials: dict[str, list[dict[str, Any]]] = {
            one.case: [dict(raw) for raw in one.raw] for one in sections
        }

    def values(self, what: str, case: str, name: str, batch: int, workers: int) -> list[float]:
        """All rounds of something."""
        for raw in self.trials.get(case, ()):
            if raw["name"] == name and (raw["batch"], raw["workers"]) == (batch, workers):
                values: list[float] = list(raw[what])
                if values:
                    return values
        raise Absent(f"{case}: {name}")

    def conversion(self, layout: str) -> float:
        """How many times as fast as the usual converter, on Sentinel-2 alone."""
        seconds = {
            raw["name"]: median(raw["seconds"])
            for raw in self.trials.get("convert", ())
            if raw["layout"] == layout and list(raw["modalities"]) == ["s2"]
        }
        if not {CONVERTER, USUAL} <= seconds.keys():
            raise Absent(f"convert: {USUAL}, {layout}")
        return float(seconds[USUAL] / seconds[CONVERTER])

    def from_archive(self, other: str, when: str) -> float:
        """Another contestant's time for the archive, divided by ours for a stacked store."""
        seconds = {raw["name"]: median(raw[when]) for raw in self.trials.get("archive", ())}
        if not seconds:
            raise Absent("archive")
        return float(seconds[other] / seconds[FROM_ARCHIVE])

    def packed(self, name: str, other: str) -> float:
        """How many times as long as from another form of the source."""
        seconds = {raw["name"]: median(raw["on_disk"]) for raw in self.trials.get("packed", ())}
        if not seconds:
            raise Absent("packed")
        return float(seconds[name] / seconds[other])

    def in_place(self, cache: str) -> float:
        """The rate of an archive as it lies, in times of a native store's."""
        us = {
            raw["name"]: median(raw["seconds"]) / raw["patches"]
            for raw in self.trials.get("in-place", ())
            if raw["cache"] == cache
        }
        if not us:
            raise Absent("in-place")
        return float(us[NATIVE] / us[ARCHIVE])

    def verifying(self, name: str, other: str) -> float:
        """How many times as long as another command."""
        seconds = {raw["name"]: median(raw["seconds"]) for raw in self.trials.get("verify", ())}
        if not seconds:
            raise Absent("verify")
        return float(seconds[name] / seconds[other])

    def starting(self, name: str) -> float:
        """CPU seconds of a short command and of all processes that it starts."""
        for raw in self.trials.get("start", ()):
            if raw["name"] == name:
                return float(median(raw["cpu"]))
        raise Absent("start")

    def from_folders(self, name: str, other: str) -> float:
        """The time from cold or late folders in times of another contestant's."""
        seconds = {raw["name"]: median(raw["seconds"]) for raw in self.trials.get("folders", ())}
        if not {name, other} <= seconds.keys():
            raise Absent(f"folders: {name}")
        return float(seconds[name] / seconds[other])

    def further_from_folders(self, name: str, other: str) -> float:
        """The same for each further patch."""
        us = {raw["name"]: raw["us"] for raw in self.trials.get("folders", ()) if "us" in raw}
        if not {name, other} <= us.keys():
            raise Absent(f"folders: {name}")
        return float(us[name] / us[other])

    def further(self, name: str) -> float:
        """Microseconds that a further patch of archives costs."""
        for raw in self.trials.get("further", ()):
            if raw["name"] == name:
                return float(raw["us"])
        raise Absent("further")

    def peaks(self) -> list[dict[int, float]]:
        """For each layout: patches -> peak memory of all processes of a conversion, MB."""
        found: dict[str, dict[int, float]] = {}
        for raw in self.trials.get("memory", ()):
            if raw["name"] == CONVERTER:
                peak = raw["memory"]["pss"] / 1e6
                found.setdefault(raw["layout"], {})[raw["patches"]] = peak
        if not found:
            raise Absent("memory")
        return list(found.values())

    def layout(self, name: str, what: str) -> float:
        """Of a layout with a codec: seconds of a conversion, what a way of reading gave, a size."""
        for raw in self.trials.get("layouts", ()):
            if raw["name"] == name:
                if what in raw["sizes"]:
                    return float(raw["sizes"][what])
                if what == "whole":
                    return float(raw[what])
                return float(median(raw["seconds"] if what == "seconds" else raw["found"][what]))
        raise Absent("layouts")

    def rate(self, case: str, name: str, batch: int = 64, workers: int = 0) -> float:
        """Patches a second, the median."""
        return median(self.values("rates", case, name, batch, workers))

    def ratio(self, case: str, name: str, other: str, batch: int = 64) -> float:
        """How many times as fast as another one."""
        return self.rate(case, name, batch) / self.rate(case, other, batch)

    def usual(self, name: str, workers: int) -> float:
        """How many times as fast as the usual data set with two workers, batches of 256."""
        return self.rate("loader", name, 256, workers) / self.rate("loader", PER_ITEM, 256, 2)

    def amplification(self) -> float:
        """Bytes read from the disk for each byte needed; of the two layouts the larger value."""
        found = [self.values("amplification", "cold", name, 64, 0) for name in DIRECT]
        return max(map(median, found))


PLAIN, PACKED = "native, none", "native, blosc2"  # of the case layouts


@dataclass(frozen=True)
class Goal:
    """One value to reach, or (`most`) not to pass."""

    text: str
    bound: float
    value: Callable[[Medians], float]
    most: bool = False

    def row(self, measured: Medians) -> tuple[str, ...]:
        """Say what was reached; an empty tuple if the whole case was left out."""
        wanted = f"{'<=' if self.most else '>='} {self.bound:g}"
        try:
            value = self.value(measured)
        except Absent as absent:
            if str(absent).partition(":")[0] not in measured.trials:
                return ()
            return (self.text, wanted, "-", f"not measured ({absent})")
        met = value <= self.bound if self.most else value >= self.bound
        return (self.text, wanted, f"{value:.2f}", "met" if met else "NOT met")


def warm(other: str, bound: float, text: str | None = None) -> Goal:
    """A goal of the case `read`: how many times as fast as a peer."""
    shown = f"warm read_batch against {text or other}"
    return Goal(shown, bound, lambda m: m.ratio("read", STACKED, other))


def from_cold_folders(layout: str, name: str = COLD) -> Goal:
    """A goal of the case `folders`; by default until the store is on the disk."""
    to = " to memory" if name == COLD_TO_MEMORY else ""
    return Goal(
        f"{layout}{to} from cold folders, in times of {CAT} of the same files",
        1.4,
        lambda m: m.from_folders(name.format(layout=layout), CAT),
        most=True,
    )


def further_patch(layout: str) -> Goal:
    """A goal of the case `further`."""
    return Goal(
        f"a further patch from the archive, {layout}, in times of zstd -dc to nowhere",
        1.8,
        lambda m: m.further(PATCHPRESS.format(layout=layout)) / m.further(NOWHERE),
        most=True,
    )


def further_from_cold_folders(layout: str) -> Goal:
    """The same for each further patch, so that the start of the command is left out."""
    return Goal(
        f"a further patch from cold folders, {layout} to memory, in times of {CAT}",
        1.4,
        lambda m: m.further_from_folders(COLD_TO_MEMORY.format(layout=layout), CAT),
        most=True,
    )


def of_cold_store(command: str, name: str) -> Goal:
    """A goal of the case `verify`: a command that reads a whole store from the disk."""
    return Goal(
        f"{command} of a cold store, times as long as cat of its file",
        1.3,
        lambda m: m.verifying(name, CAT_COLD),
        most=True,
    )


GOALS = (
    Goal("native, folders, against a band at a time", 20, lambda m: m.conversion("native")),
    Goal("stacked, folders, against a band at a time", 14, lambda m: m.conversion("stacked")),
    Goal(
        "stacked from the archive, against unpacking it (until on disk)",
        3,
        lambda m: m.from_archive(UNPACK, "on_disk"),
    ),
    Goal(
        "stacked from the archive, in times of zstd -dc to nowhere",
        1.8,
        lambda m: 1 / m.from_archive(NOWHERE, "ended"),
        most=True,
    ),
    Goal(
        "native from a stored zip, times as long as from warm folders",
        1,
        lambda m: m.packed(STORED, FOLDERS),
        most=True,
    ),
    Goal("archive as it lies against a native store, warm", 0.5, lambda m: m.in_place("warm")),
    Goal("archive as it lies against a native store, cold", 0.8, lambda m: m.in_place("cold")),
    further_patch("native"),
    further_patch("stacked"),
    Goal(
        "main thread, us a further triple of patches from archives",
        150,
        lambda m: m.further(MAIN),
        most=True,
    ),
    of_cold_store("verify", VERIFY_COLD),
    of_cold_store("stats", STATS_COLD),
    of_cold_store("index", INDEX_COLD),
    Goal(
        "verify --against, times as long as converting, all cold",
        2,
        lambda m: m.verifying(AGAINST_COLD, CONVERT_COLD),
        most=True,
    ),
    Goal(
        "verify --against, times as long as converting, all warm",
        2,
        lambda m: m.verifying(AGAINST_WARM, CONVERT_WARM),
        most=True,
    ),
    Goal("CPU seconds of convert --help", 0.08, lambda m: m.starting(HELP), most=True),
    Goal("CPU seconds of converting 18 patches", 0.35, lambda m: m.starting(SMALL), most=True),
    from_cold_folders("native"),
    from_cold_folders("stacked"),
    from_cold_folders("native", COLD_TO_MEMORY),
    from_cold_folders("stacked", COLD_TO_MEMORY),
    further_from_cold_folders("native"),
    further_from_cold_folders("stacked"),
    Goal(
        "folders on a disk that answers after 2 ms, against a file a worker at a time",
        8,
        lambda m: m.from_folders(LATE_ALONE, LATE),
    ),
    Goal(
        "MB of memory at the peak, all processes (PSS), the largest",
        400,
        lambda m: max(max(peaks.values()) for peaks in m.peaks()),
        most=True,
    ),
    Goal(
        "memory of the largest tree in times of that of the smallest, the worse layout",
        1.1,
        lambda m: max(peaks[max(peaks)] / peaks[min(peaks)] for peaks in m.peaks()),
        most=True,
    ),
    warm("NumPy memmap", 0.9),
    warm("ConfigILM", 25),
    warm("TorchGeo's way", 300),
    warm("litData, by index, default", 30),
    warm("litData, by index, batch_decode=0", 30),
    warm("Zarr v3, a chunk a patch", 20, "Zarr"),
    warm("HDF5, a chunk a patch", 4, "HDF5"),
    Goal(
        "PatchLoader against the bare read_batch loop, batch 256",
        0.85,
        lambda m: m.ratio("loader", LOADER, BARE, 256),
    ),
    Goal(
        "PatchLoader against DataLoader(2 workers) per item, batch 256",
        5,
        lambda m: m.usual(LOADER, 0),
    ),
    Goal(
        "stock DataLoader(2 workers) over PatchDataset against per item, batch 256",
        5,
        lambda m: m.usual(STOCK, 2),
    ),
    Goal(
        "cold direct against preadv of the flat file",
        0.9,
        lambda m: m.ratio("cold", DIRECT[0], "preadv, flat file"),
    ),
    Goal(
        "cold direct against the same, announced to the kernel first",
        0.9,
        lambda m: m.ratio("cold", DIRECT[0], "preadv, flat file, announced"),
    ),
    Goal(
        "cold direct against LMDB get without readahead",
        8,
        lambda m: m.ratio("cold", DIRECT[0], "LMDB get, readahead off"),
    ),
    Goal(
        "cold direct: bytes read for each needed, the worse layout",
        1.1,
        Medians.amplification,
        most=True,
    ),
    Goal("kB of a Blosc2 record, s2", 115, lambda m: m.layout(PACKED, "s2") / 1e3, most=True),
    Goal("kB of a Blosc2 record, s1", 92, lambda m: m.layout(PACKED, "s1") / 1e3, most=True),
    Goal(
        "GB of all BigEarthNet v2, native, blosc2, by computation",
        120,
        lambda m: m.layout(PACKED, "whole") / 1e9,
        most=True,
    ),
    Goal(
        "converting native, blosc2 against native",
        0.8,
        lambda m: m.layout(PLAIN, "seconds") / m.layout(PACKED, "seconds"),
    ),
    Goal(
        "cold native, blosc2 against the best without codec",
        1.2,
        lambda m: (
            min(m.layout(PLAIN, "cold"), m.layout("stacked, none", "cold"))
            / m.layout(PACKED, "cold")
        ),
    ),
    Goal("us a patch, warm, native, blosc2", 140, lambda m: m.layout(PACKED, "warm"), most=True),
    Goal("us a patch, warm, native", 70, lambda m: m.layout(PLAIN, "warm"), most=True),
    Goal(
        "patches/s of PatchLoader with 2 threads, native, blosc2",
        12_000,
        lambda m: m.layout(PACKED, "loader"),
    ),
    Goal(
        "B04 B03 B02 against all 12 bands",
        2.5,
        lambda m: m.ratio("rgb", f"{STACKED}, B04 B03 B02", STACKED),
    ),
    Goal(
        "a store of 16 shards against one data file",
        0.95,
        lambda m: m.ratio("shards", SHARDED, STACKED),
    ),
)


def run(sections: Sequence[CaseTable]) -> CaseTable:
    """Give the last table of a report."""
    measured = Medians(sections)
    rows = tuple(row for goal in GOALS if (row := goal.row(measured)))
    head = ("target (times as fast, batch 64 if none is named)", "wanted", "measured", "")
    notes = (
        "Ratios of medians. litData by index is here twice: with its defaults, and with the option "
        "that suits random access. preadv is here twice, too: plain, and announced to the kernel.",
    )
    names = ("target", "wanted", "measured", "result")
    raw: tuple[dict[str, object], ...] = tuple(dict(zip(names, row, strict=True)) for row in rows)
    return CaseTable("targets", "targets", notes, head, rows, raw)
