"""The task graph alone: tasks of no work through a scheduler of Dask, in processes of its own."""

import os
import time
from itertools import islice
from pathlib import Path

from benchmarks.cluster.processes import DaskProcesses, cpu_seconds, peak_memory
from benchmarks.report import CaseTable

# How many tasks the client has handed on and not yet seen done, if it does not hand on all at once.
WINDOW = 2000
NOTES = (
    "Tasks that do nothing, from a client through a scheduler to workers of one thread, all of "
    "them processes of this machine. A client that hands on all at once has a future of each; one "
    "that hands on another for each that is done has a bounded number. Memory is the peak of a "
    "process.",
)
HEADER = (
    *("tasks", "workers", "handed on", "tasks/s", "seconds", "CPU of the scheduler"),
    *("scheduler", "a worker", "client"),
)


def nothing(number: int) -> None:
    """The work of a task."""


def run(folder: Path, tasks: int, workers: int, window: int | None = WINDOW) -> CaseTable:
    """Hand on so many tasks, at most `window` at once, None for all; wait until all are done."""
    from distributed import Client

    with DaskProcesses(folder) as processes:
        first = next(processes.add_worker() for _ in range(workers))
        with Client(processes.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
            begun = time.perf_counter()
            done = hand_on(client, tasks, window or tasks)
            seconds = time.perf_counter() - begun
            assert done == tasks
            assert processes.scheduler is not None
            cpu = cpu_seconds(processes.scheduler.pid)
            peaks = [peak_memory(p) for p in (processes.scheduler.pid, first.pid, os.getpid())]
    raw: dict[str, object] = {
        "tasks": tasks,
        "workers": workers,
        "window": window,
        "seconds": seconds,
    }
    raw |= dict(zip(("scheduler", "worker", "client"), peaks, strict=True))
    handed = f"{window:,} at once" if window else "all at once"
    row = (
        f"{tasks:,}",
        str(workers),
        handed,
        f"{tasks / seconds:,.0f}",
        f"{seconds:,.1f}",
        f"{cpu:,.1f} s",
    )
    memory = tuple(f"{peak / 1e6:,.0f} MB" for peak in peaks)
    return CaseTable("tasks", "Tasks of no work", NOTES, HEADER, ((*row, *memory),), (raw,))


def hand_on(client: object, tasks: int, window: int) -> int:
    """Hand on tasks, at most `window` that are not done; gives how many were done."""
    from distributed import Client, as_completed

    assert isinstance(client, Client)
    numbers = iter(range(tasks))

    def more(count: int) -> "list[object]":
        return list(client.map(nothing, list(islice(numbers, count)), pure=False))

    done = 0
    under_way = as_completed(more(window), loop=client.loop)
    for ended in under_way.batches():
        done += len(ended)
        for future in ended:
            future.result()
        ended = None  # whoever keeps a future keeps its result in the cluster
        if new := more(min(window, tasks - done)):
            under_way.update(new)
    return done
