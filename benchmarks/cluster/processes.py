"""A scheduler of Dask and its workers, as processes of their own on this machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.tree import REPOSITORY

START = 60.0  # seconds that a scheduler may take to begin
HOST = "127.0.0.1"


class DaskProcesses:
    """They are started with the block, and ended with it."""

    def __init__(self, folder: Path, *, host: str = HOST, threads: int = 1) -> None:
        """`folder` is for their logs and scratch; they listen on `host`."""
        self.folder, self.host, self.threads = folder, host, threads
        self.file = folder / "scheduler.json"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.unlink(missing_ok=True)
        words = ["scheduler", "--host", self.host, "--port", "0", "--no-dashboard"]
        self.scheduler = self._start([*words, "--scheduler-file", str(self.file)], "scheduler")
        end = time.monotonic() + START
        while not (self.file.exists() and self.file.read_text().endswith("}")):
            if self.scheduler.poll() is not None or time.monotonic() > end:
                self.end()
                raise SystemExit(f"no scheduler: {self.log('scheduler')}")
            time.sleep(0.02)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def address(self) -> str:
        """Of the scheduler: ``tcp://127.0.0.1:41234``."""
        address: str = json.loads(self.file.read_text())["address"]
        return address

    def add_worker(
        self,
        *options: str,
        before: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        scheduler: str = "",
    ) -> "subprocess.Popen[bytes]":
        """Start a worker, with scratch of its own.

        `before` are words that stand before its command: ``ip netns exec NAME`` lets it run in
        another network. `scheduler` is its address from there.
        """
        name = f"worker-{len(self.workers)}"
        words = [
            "worker",
            scheduler or self.address,
            "--name",
            name,
            "--nthreads",
            str(self.threads),
        ]
        words += ["--no-dashboard", "--local-directory", str(self.folder / name)]
        # Without a nanny, the process that is started is the worker itself, and can be killed.
        words += ["--no-nanny", "--death-timeout", "60", *options]
        worker = self._start(words, name, before=before, env=env, cwd=cwd)
        self.workers.append(worker)
        return worker

    def log(self, name: str) -> str:
        """What a process has printed: ``scheduler``, ``worker-0``, …."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def end(self) -> None:
        """End all of them, and wait for that."""
        for process in self.workers:  # they say good-bye to the scheduler, so they end first
            process.terminate()
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(
        self,
        words: Sequence[str],
        name: str,
        *,
        before: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> "subprocess.Popen[bytes]":
        command = [*before, sys.executable, "-m", "dask", *words]
        # A worker imports what a task is made of, wherever it was started.
        paths = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": paths, **(env or {})}
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=cwd, env=environment)


def peak_memory(process: int) -> int:
    """The most memory that a process had so far (VmHWM, pages shared with others too), in bytes."""
    for line in Path("/proc", str(process), "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"process {process} has no memory: it has ended")


def cpu_seconds(process: int) -> float:
    """Seconds of CPU that a process has used so far, all of its threads together."""
    fields = Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
