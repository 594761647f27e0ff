"""Conversions by one and by two workers of Dask, beside those of one process, in turns."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.cluster.processes import DaskProcesses, cpu_seconds, peak_memory
from benchmarks.process import check
from benchmarks.report import CaseTable
from benchmarks.tree import REPOSITORY, warm

NOTES = (
    "The whole command, with its start and the join of the table; schedulers and workers run "
    "before. A worker of Dask is one process that reads, encodes and writes, as `--workers 0` is; "
    "`--workers 1` is two processes, one of which writes. All files of all stores were compared "
    "before anything was timed. CPU is that of all processes but the scheduler. Memory is the peak "
    "(RSS) of the command, and of a worker.",
)
HEADER = (
    "stacked, all modalities",
    "s",
    "best to worst",
    "patches/s",
    "CPU",
    "command",
    "a worker",
)
ONE, TWO = "one worker of Dask", "two workers of Dask"
ALONE = "this process alone (`--workers 0`)"
WITH_ONE = "a process that writes and one that decodes (`--workers 1`)"


NO_PROFILE = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
"""As docs/cluster.md sets it for workers."""


@dataclass
class Way:
    """A way to convert, and what was measured of it."""

    name: str
    options: tuple[str, ...]
    workers: DaskProcesses | None = None
    before: tuple[str, ...] = ()
    """Words before its command."""
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int = 0


def run(tree: Path, out: Path, shards: int, rounds: int, *, pinned: bool = False) -> CaseTable:
    """Convert a tree in each way, `rounds` times; all is in the page cache, or in memory.

    With `pinned` each worker, and the process alone, has one core to itself.
    """
    warm(tree)
    patches = sum(1 for _ in (tree / "BigEarthNet-S2").glob("*/*"))
    with ExitStack() as stack:
        ways = list(_ways(stack, out, pinned=pinned))
        _require_equal(ways, tree, out, shards)
        for turn in range(rounds):
            for way in ways if turn % 2 else ways[::-1]:
                seconds, cpu, peak = _convert(way, tree, out / "store", shards)
                way.seconds.append(seconds)
                way.cpu.append(cpu)
                way.peak = max(way.peak, peak)
        rows = tuple(_row(way, patches) for way in ways)
        raw: tuple[dict[str, object], ...] = tuple(
            {"name": way.name, "seconds": way.seconds, "cpu": way.cpu} for way in ways
        )
    times = {way.name: median(way.seconds) for way in ways}
    return CaseTable(
        "cluster",
        f"Conversions by workers of Dask: {patches:,} patches, {shards} shards",
        (*NOTES, ratios(times)),
        HEADER,
        rows,
        raw,
    )


def ratios(times: Mapping[str, float]) -> str:
    """What two workers bring, and what one costs."""
    return (
        f"Two workers are {times[ONE] / times[TWO]:.2f} times as fast as one. One worker takes "
        f"{times[ONE] / times[ALONE]:.2f} of the time of one process alone, and "
        f"{times[ONE] / times[WITH_ONE]:.2f} of that of two processes."
    )


def _ways(stack: ExitStack, out: Path, *, pinned: bool) -> Iterator[Way]:
    yield Way(ALONE, ("--workers", "0"), before=_on_core(0) if pinned else ())
    yield Way(WITH_ONE, ("--workers", "1"))
    for name, count in ((ONE, 1), (TWO, 2)):
        machines = stack.enter_context(DaskProcesses(out / f"machines-{count}"))
        for number in range(count):
            machines.add_worker(env=NO_PROFILE, before=_on_core(number) if pinned else ())
        yield Way(name, ("--scheduler", machines.address), machines)


def _on_core(number: int) -> tuple[str, ...]:
    """Words before a command that leave it one core of those that this process may use."""
    cores = sorted(os.sched_getaffinity(0))
    return ("taskset", "--cpu-list", str(cores[number % len(cores)]))


def _require_equal(ways: list[Way], tree: Path, out: Path, shards: int) -> None:
    """Stop unless each way gives the same files."""
    first: dict[str, bytes] = {}
    for way in ways:
        _convert(way, tree, out / "store", shards)
        found = {
            str(path.relative_to(out / "store")): _digest(path)
            for path in sorted((out / "store").rglob("*"))
            if path.is_file()
        }
        assert len(found) == shards + 3
        first = first or found
        assert found == first, f"{way.name} gives other files"


def _digest(path: Path) -> bytes:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _convert(way: Way, tree: Path, store: Path, shards: int) -> tuple[float, float, int]:
    """Run the command; gives its seconds, those of CPU with its workers', and its peak memory."""
    shutil.rmtree(store, ignore_errors=True)
    command = [
        *way.before,
        sys.executable,
        "-m",
        "patchpress",
        "convert",
        "bigearthnet-v2",
        str(tree),
    ]
    command += [str(store), "--shards", str(shards), *way.options]
    log, before = store.with_suffix(".log"), _cpu_of_workers(way)
    with log.open("wb") as written:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=written, stderr=written)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    check(process.returncode, command, log.read_bytes())
    cpu = used.ru_utime + used.ru_stime + _cpu_of_workers(way) - before
    return seconds, cpu, used.ru_maxrss * 1024


def _cpu_of_workers(way: Way) -> float:
    return sum(cpu_seconds(one.pid) for one in way.workers.workers) if way.workers else 0.0


def _row(way: Way, patches: int) -> tuple[str, ...]:
    times = sorted(way.seconds)
    middle = median(times)
    peak: Callable[[int], str] = lambda nbytes: f"{nbytes / 1e6:,.0f} MB"  # noqa: E731
    workers = way.workers.workers if way.workers else []
    worker = max((peak_memory(one.pid) for one in workers), default=0)
    return (
        way.name,
        f"{middle:.2f}",
        f"{times[0]:.2f} to {times[-1]:.2f}",
        f"{patches / middle:,.0f}",
        f"{median(way.cpu):.1f} s",
        peak(way.peak),
        peak(worker) if worker else "",
    )
