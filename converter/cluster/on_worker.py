"""What runs inside a worker of Dask: its versions, what it sees of the disk, and how far a task is.

A task runs in a thread of the worker, which may be a daemon process: it starts no processes.
"""

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from patchpress.readers.errors import ClusterError

T = TypeVar("T")
R = TypeVar("R")

PACKAGES = ("patchpress", "imagecodecs", "lmdb", "numpy", "rasterio", "zstandard")
"""Their versions decide the bytes of a record, or of the file that it is in."""
CODE = "the code of patchpress"


@cache
def versions() -> dict[str, str]:
    """The versions of what decides bytes here, and a digest of this package's own code."""
    return {**{name: version(name) for name in PACKAGES}, CODE: _code_digest()}


def _code_digest() -> str:
    """Two checkouts of one version may have different code."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for room in (root, root.parent / "readers"):
        for path in sorted(room.rglob("*")):
            if path.suffix in (".py", ".toml"):
                digest.update(path.relative_to(room).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Visible:
    """What each worker must see."""

    token: str
    """A file that the client has just written."""
    content: str
    """What it wrote."""
    folder: str
    """Where a worker writes."""
    scratch: str | None
    """Where it writes before, if that is not its own folder."""
    sources: Sequence[tuple[str, int | None]]
    """Paths that it reads, with the size of those that are files."""


def look(visible: Visible, dask_worker: Any) -> list[str]:
    """What is not as it should be on this worker; each as ``does not see PATH``.

    Dask gives its own object of the worker for an argument of that name.
    """
    wrong = []
    for path, size in visible.sources:
        if not os.path.exists(path):
            wrong.append(f"does not see {path}")
        elif size is not None and os.path.getsize(path) != size:
            wrong.append(f"sees another file at {path}")
    try:
        seen = Path(visible.token).read_text(errors="replace")
    except OSError:
        seen = ""
    if seen != visible.content:
        wrong.append(f"does not see {visible.folder}")
    elif not os.access(visible.folder, os.W_OK | os.X_OK):
        wrong.append(f"may not write {visible.folder}")
    scratch = visible.scratch or str(dask_worker.local_directory)
    if not (os.path.isdir(scratch) and os.access(scratch, os.W_OK | os.X_OK)):
        wrong.append(f"may not write {scratch}, its scratch")
    return wrong


def _worker() -> Any:
    from distributed import get_worker

    return get_worker()


def local_directory() -> Path:
    """The folder that this worker has for itself."""
    return Path(_worker().local_directory)


@dataclass(frozen=True)
class Telling:
    """How a worker tells of a task."""

    number: int
    """Of the task."""
    topic: str
    """To which the client listens."""
    every: float
    """Seconds between two messages."""
    versions: Mapping[str, str]
    """Those of the client."""


class TaskProgress:
    """Tells the client how far a task is, and ends the task if nobody wants it any more."""

    def __init__(self, telling: Telling) -> None:
        self._telling, self._last = telling, time.monotonic()
        self.done = self.bytes = 0

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
        """A stage begins; only the client knows the total of all tasks."""

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        """So many more are done, of so many bytes.

        Raises:
            ClusterError: the client has cancelled the task, or is gone.
        """
        self.done += count
        self.bytes += nbytes
        now = time.monotonic()
        if now - self._last < self._telling.every:
            return
        self._last = now
        self.require_wanted()
        told = [self._telling.number, self.done, self.bytes, share]
        _worker().log_event(self._telling.topic, told)

    def require_wanted(self) -> None:
        """Dask cannot stop a task that runs: it stops itself if it learns that nobody wants it.

        Raises:
            ClusterError: the client has cancelled the task, or is gone.
        """
        worker = _worker()
        task = worker.state.tasks.get(worker.get_current_task())
        is_dropped = task is None or task.state == "cancelled"
        if is_dropped or worker.status.name not in ("running", "paused"):
            raise ClusterError("nobody waits for this task any more")


def do_task(
    function: Callable[[T, TaskProgress], R], item: T, telling: Telling
) -> tuple[R, int, int]:
    """Do a task on a worker that has the versions of the client.

    Returns:
        what the function gives, and of how many units and bytes it told.

    Raises:
        ClusterError: it has others; it may have joined after the client looked at all workers.
    """
    if telling.versions != versions():
        raise ClusterError(
            f"worker {_worker().address} has {difference(versions(), telling.versions)}: give all "
            "workers the same versions"
        )
    progress = TaskProgress(telling)
    result = function(item, progress)
    return result, progress.done, progress.bytes


def difference(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """The first difference between the versions of a worker and those of the client."""
    for name in here:
        if there.get(name) != here[name]:
            if name == CODE:
                return f"other code of patchpress {here['patchpress']} than this client"
            return f"{name} {there.get(name, 'nothing')}, and this client {here[name]}"
    return "other packages than this client"
