"""What one patch costs: each step of a conversion alone, and whole conversions by both writers."""

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from itertools import islice
from mmap import mmap
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.adapters.patchpress import PatchpressConverter
from benchmarks.adapters.protocol import Job
from benchmarks.archive import pack
from benchmarks.process import timed
from benchmarks.report import CaseTable
from benchmarks.stores import assert_same
from benchmarks.tree import MODALITIES, find_patches, warm

PATCHES = 1000  # at most: while the disk is measured, their records are held in memory
HELD = 200  # patches of an archive that are held in memory at once
A_TASK = 12  # records that a worker hands on together, about
ROUNDS = 5
NOTES = (
    "Microseconds a patch (12 bands), the best of some rounds; files are in the page cache. `in` "
    "says which process of a conversion does it: a worker, the one that writes, or a thread of it.",
    "A whole conversion is the command, start-up included, until its files are on the disk; all "
    "modalities, so that it is microseconds a patch with its partners. `pages` and `lmdb` are the "
    "values of --writer: stores of equal content, converted in turns, medians.",
)
LAYOUTS = ("native", "stacked")
WRITERS = ("pages", "lmdb")


class Cost(NamedTuple):
    """What one step costs."""

    step: str
    where: str  # "worker", "writer" or "thread"; "command" for all of it
    us: float  # microseconds a patch


def run(tree: Path, out: Path, workers: int) -> CaseTable:
    """Measure every step, and whole conversions."""
    warm(tree / MODALITIES["s2"].folder)
    measured = [*folders(tree), *archives(tree, out), *writing(tree, out)]
    measured += conversions(tree, out / "writers", workers)
    rows = tuple((one.step, one.where, f"{one.us:,.1f}") for one in measured)
    raw: tuple[dict[str, object], ...] = tuple(
        {"step": one.step, "in": one.where, "us": one.us} for one in measured
    )
    return CaseTable("costs", "What a patch costs", NOTES, ("step", "in", "us"), rows, raw)


def best(work: Callable[[], int], clock: Callable[[], float] = time.perf_counter) -> float:
    """Microseconds a patch, the best of some rounds; `work` gives how many patches it did."""
    costs = []
    for _ in range(ROUNDS):
        before = clock()
        count = work()
        costs.append(1e6 * (clock() - before) / count)
    return min(costs)


def encoder(layout: str) -> Any:
    """The encoder that a worker has for Sentinel-2."""
    from patchpress.converter.descriptions.parse import find_description
    from patchpress.converter.encoding.encoder import Encoder, Recipe

    modality = find_description("bigearthnet-v2").modalities["s2"]
    return Encoder(Recipe(modality, layout, "nearest", "none", 0))


def patches_of(tree: Path) -> list[Any]:
    """Patches of Sentinel-2, as the converter lists them."""
    from patchpress.converter.descriptions.parse import find_description
    from patchpress.converter.sources.folders import Walk
    from patchpress.converter.sources.patch import ignore_problem

    modality = find_description("bigearthnet-v2").modalities["s2"]
    return list(islice(Walk(modality, tree / modality.folder, ignore_problem), PATCHES))


def folders(tree: Path) -> list[Cost]:
    """The steps from the files of a folder to a record."""
    patches = patches_of(tree)
    paths = [sorted(os.listdir(patch.folder)) for patch in patches]
    buffer = bytearray(1 << 16)

    def system_calls() -> int:
        for patch, names in zip(patches, paths, strict=True):
            folder = os.open(patch.folder, os.O_RDONLY | os.O_DIRECTORY)
            os.listdir(folder)
            for name in names:
                file = os.open(name, os.O_RDONLY, dir_fd=folder)
                os.readv(file, (buffer,))
                os.close(file)
            os.close(folder)
        return len(patches)

    def walk() -> int:
        return len(patches_of(tree))

    found: list[Cost] = [
        Cost("walk: names to patches, twice", "writer", 2 * best(walk)),
        Cost("system calls alone: list, open, read, close", "worker", best(system_calls)),
    ]
    for layout in LAYOUTS:
        one = encoder(layout)
        record = memoryview(bytearray(one.capacity))
        found.append(
            Cost(f"{layout} record of a folder, all of it", "worker", encoding(one, patches))
        )
        found.append(
            Cost(f"of it the checksum ({one.capacity:,} bytes)", "worker", checksum(record))
        )
    return found


def encoding(one: Any, patches: Sequence[Any]) -> float:
    """Microseconds that a worker needs for a patch."""
    from patchpress.converter.sources.opener import PatchOpener

    record, opener = memoryview(bytearray(one.capacity)), PatchOpener()

    def work() -> int:
        for patch in patches:
            one.encode(patch, record, opener)
        return len(patches)

    return best(work)


def checksum(record: memoryview) -> float:
    """Microseconds of the XXH3-64 of a record."""
    import xxhash

    def work(times: int = 200) -> int:
        for _ in range(times):
            xxhash.xxh3_64_intdigest(record)
        return times

    return best(work)


def archives(tree: Path, out: Path) -> list[Cost]:
    """The steps from an archive to a record."""
    import zstandard

    from patchpress.converter.descriptions.parse import find_description
    from patchpress.converter.memory import CellPool
    from patchpress.converter.sources.archive_names import Archive
    from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
    from patchpress.converter.sources.files import usual_files_size
    from patchpress.converter.sources.patch import ignore_problem

    modality = find_description("bigearthnet-v2").modalities["s2"]
    path = pack(tree, out / "archives") / f"{modality.folder}.tar.zst"
    warm(path)
    count = sum(1 for _ in (tree / modality.folder).glob("*/*"))
    chunk = bytearray(1 << 20)

    def decompress() -> int:
        with path.open("rb", buffering=0) as file:
            reader = zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(file)
            while reader.readinto(chunk):
                pass
        return count

    def stream(options: StreamOptions) -> ArchiveStream:
        return ArchiveStream([Archive((path,))], [modality], ignore_problem, options)

    def names() -> int:
        return sum(1 for _ in stream(StreamOptions(names_only=True)))

    cells = CellPool(-(-usual_files_size(modality) // 4096) * 4096, 2)

    def read_files() -> int:
        return sum(1 for _ in stream(StreamOptions(cells=cells)))

    held = list(islice(stream(StreamOptions()), HELD))
    return [
        Cost("decompress the archive (zstd)", "thread", best(decompress)),
        Cost("tar headers to patches", "writer", best(names, time.thread_time)),
        Cost("the same, and pixels to shared memory", "writer", best(read_files, time.thread_time)),
        Cost("native record of an archive's patch", "worker", encoding(encoder("native"), held)),
        Cost("stacked record of an archive's patch", "worker", encoding(encoder("stacked"), held)),
    ]


def writing(tree: Path, out: Path) -> list[Cost]:
    """The steps from a record to the disk."""
    found: list[Cost] = []
    for layout in LAYOUTS:
        handing, disk = storing(tree, out / "costs", layout)
        found.append(Cost(f"{layout} record handed on, noted, counted", "writer", handing))
        found.append(Cost(f"{layout} record to the disk, waiting included", "thread", disk))
    return found


def storing(tree: Path, folder: Path, layout: str) -> tuple[float, float]:
    """Microseconds a record: those of the process that writes, and until all are on the disk."""
    from patchpress.converter.encoding.frame import ROOM, frame_size
    from patchpress.converter.sources.opener import PatchOpener
    from patchpress.converter.storage.journal import Journal
    from patchpress.converter.storage.writer import ShardWriter

    opener = PatchOpener()
    one, patches = encoder(layout), patches_of(tree)
    size = frame_size(one.capacity)
    frames = memoryview(mmap(-1, size * len(patches)))
    parts = [frames[at : at + size] for at in range(0, len(frames), size)]
    results = [one.encode(p, part[ROOM:], opener) for p, part in zip(patches, parts, strict=True)]
    spent: list[float] = []

    def store() -> int:
        folder.mkdir(parents=True, exist_ok=True)
        before = time.thread_time()
        with (
            Journal(folder / "journal") as journal,
            ShardWriter(folder, journal, paged=True) as writer,
        ):
            for at, (patch, result, part) in enumerate(
                zip(patches, results, parts, strict=True), 1
            ):
                writer.put(patch, result, part)
                if at % A_TASK == 0:
                    writer.flush()
            spent.append(1e6 * (time.thread_time() - before) / len(patches))
            writer.finish()
        return len(patches)

    def fresh() -> int:
        shutil.rmtree(folder, ignore_errors=True)
        return store()

    disk = best(fresh)
    shutil.rmtree(folder)
    return min(spent), disk


def conversions(tree: Path, out: Path, workers: int) -> list[Cost]:
    """Whole conversions in both layouts, the data file written in pages and by LMDB."""
    patches = len(find_patches(tree, "s2"))
    found: list[Cost] = []
    for layout in LAYOUTS:
        jobs = {writer: Job(tree, out / f"{layout}-{writer}", layout, tuple(MODALITIES), workers)
                for writer in WRITERS}  # fmt: skip
        seconds: dict[str, list[float]] = {writer: [] for writer in WRITERS}
        for turn in range(ROUNDS + 1):
            for writer in WRITERS if turn % 2 else WRITERS[::-1]:
                shutil.rmtree(jobs[writer].store, ignore_errors=True)
                warm(tree)
                command = [*PatchpressConverter().command(jobs[writer]), "--writer", writer]
                seconds[writer].append(timed(command, jobs[writer].store))
            if turn == 0:  # this turn is not counted
                pages, by_lmdb = (jobs[writer].store for writer in WRITERS)
                assert content_digests(pages) == content_digests(by_lmdb)
                assert_same(pages, by_lmdb, layout)
        for writer, job in jobs.items():
            us = 1e6 * median(seconds[writer][1:]) / patches
            found.append(Cost(f"a whole conversion, {layout}, {writer}", "command", us))
            shutil.rmtree(job.store)
    return found


def content_digests(store: Path) -> list[str]:
    """The digest over keys and checksums that the manifest gives for each data file."""
    manifest = json.loads((store / "manifest.json").read_text())
    return [shard["digest"] for shard in manifest["shards"]]
