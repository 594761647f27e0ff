"""Running a command in a process of its own: its time, or the memory of all its processes."""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tree import REPOSITORY

INTERVAL = 0.05  # seconds between two looks at the memory


@dataclass(frozen=True)
class Memory:
    """Memory in bytes, summed over processes.

    ``pss`` counts a page shared by k processes 1/k in each, so the sum counts it once;
    ``pss_anon`` is its part without files; ``rss`` counts a shared page in every process.
    """

    pss: int = 0
    pss_anon: int = 0
    rss: int = 0

    def highest(self, other: "Memory") -> "Memory":
        """Give the larger of each number."""
        return Memory(
            max(self.pss, other.pss),
            max(self.pss_anon, other.pss_anon),
            max(self.rss, other.rss),
        )


def processes_of(session: int) -> list[str]:
    """List the ids of the processes in a session: a command started in it, and all it started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            fields = folder.joinpath("stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                found.append(folder.name)
    return found


def memory_of(processes: Sequence[str]) -> Memory:
    """Sum the memory of processes from /proc/PID/smaps_rollup."""
    total = {"Pss:": 0, "Pss_Anon:": 0, "Rss:": 0}
    for process in processes:
        with contextlib.suppress(OSError):
            for line in Path("/proc", process, "smaps_rollup").read_text().splitlines()[1:]:
                field, size, *_ = line.split()
                if field in total:
                    total[field] += int(size) * 1024
    return Memory(total["Pss:"], total["Pss_Anon:"], total["Rss:"])


def watched(command: Sequence[str]) -> Memory:
    """Run a command and give the peak memory of its processes, looked at every 50 ms.

    Not in a run that is timed: looking takes time, above all at processes with large mappings.
    """
    peak = Memory()
    with tempfile.TemporaryFile() as log:
        process = start(command, log.fileno())
        while process.poll() is None:
            peak = peak.highest(memory_of(processes_of(process.pid)))
            time.sleep(INTERVAL)
        log.seek(0)
        check(process.returncode, command, log.read())
    return peak


def timed(command: Sequence[str], written: Path) -> float:
    """Run a command; give seconds until it has ended and what it wrote to a folder is on the disk.

    What earlier commands left to be written is written first, so that it is in nobody's time.
    """
    os.sync()
    with tempfile.TemporaryFile() as log:
        before = time.perf_counter()
        process = start(command, log.fileno())
        process.wait()
        flush(written)
        seconds = time.perf_counter() - before
        log.seek(0)
        check(process.returncode, command, log.read())
    return seconds


def ended(command: Sequence[str]) -> tuple[float, float]:
    """Run a command; give seconds until it ended, and until `sync` had written what was left.

    For commands that write very many files: an `fsync` of each would take most of the time.
    """
    os.sync()
    with tempfile.TemporaryFile() as log:
        before = time.perf_counter()
        process = start(command, log.fileno())
        process.wait()
        seconds = time.perf_counter() - before
        os.sync()
        on_disk = time.perf_counter() - before
        log.seek(0)
        check(process.returncode, command, log.read())
    return seconds, on_disk


def turned(names: Sequence[str], turn: int) -> list[str]:
    """The names in the order of a turn, so that each comes first once."""
    at = turn % len(names)
    return [*names[at:], *names[:at]]


def start(command: Sequence[str], log: int) -> "subprocess.Popen[bytes]":
    """Start a command as the leader of a session, in the repository's root."""
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True)


def check(status: int, command: Sequence[str], log: bytes) -> None:
    """Stop if a contestant failed: a benchmark of half the work is worth nothing."""
    if status != 0:
        tail = log.decode(errors="replace")[-3000:]
        raise SystemExit(f"{' '.join(command)}\nended with status {status}:\n{tail}")


def flush(folder: Path) -> None:
    """Wait until every file of a folder is on the disk."""
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
