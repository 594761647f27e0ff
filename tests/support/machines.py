"""Machines for tests: a real scheduler of Dask and real workers, as processes of this one."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from benchmarks.cluster.processes import DaskProcesses

ROOT = Path(__file__).parents[2]
NO_DASK = "dask is not installed"
"""The reason with which tests are skipped; CI has Dask, and fails if one is."""


def with_root() -> dict[str, str]:
    """An environment in which a script anywhere finds this package and its tests."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextmanager
def cluster(folder: Path, workers: int = 1, host: str = "127.0.0.1") -> Iterator[DaskProcesses]:
    """A scheduler with some workers of one thread, each with scratch of its own."""
    with DaskProcesses(folder, host=host) as processes:
        for _ in range(workers):
            processes.add_worker()
        yield processes


class Networks:
    """Network namespaces, each joined to this one by a cable; removed at the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, name: str) -> tuple[list[str], str]:
        """Make one; gives the words before a command that runs in it, and the host's address there.

        Raises:
            OSError, subprocess.CalledProcessError: that needs root and iproute2.
        """
        self._count += 1
        net, here, there = f"10.199.{self._count}", f"pp{name}a", f"pp{name}b"
        run = _ip(self._stack.callback)
        run(f"netns add pp{name}", undo=f"netns del pp{name}")
        run(f"link add {here} type veth peer name {there}", undo=f"link del {here}")
        run(f"link set {there} netns pp{name}")
        run(f"addr add {net}.1/24 dev {here}")
        run(f"link set {here} up")
        run(f"-n pp{name} addr add {net}.2/24 dev {there}")
        run(f"-n pp{name} link set {there} up")
        run(f"-n pp{name} link set lo up")
        return ["ip", "netns", "exec", f"pp{name}"], f"{net}.1"


def _ip(later: Callable[..., object]) -> Callable[..., None]:
    def run(words: str, undo: str = "") -> None:
        subprocess.run(["ip", *words.split()], check=True, capture_output=True)
        if undo:
            later(subprocess.run, ["ip", *undo.split()], check=False, capture_output=True)

    return run


def trap(folder: Path, event: str, end: str, does: str) -> tuple[list[str], Path]:
    """Options of a worker that is stopped, once, at the first of some events on a path.

    Args:
        folder: for what is made.
        event: an audit event of Python: ``open``, ``os.rename``.
        end: what the last path of the event contains.
        does: ``kill``, which ends the worker as a lack of memory does, or ``sleep``.

    Returns:
        the options, and the file that is there when it was stopped.
    """
    script, sprung = folder / "trap.py", folder / "sprung"
    script.write_text(
        "import os, signal, sys, time\n"
        "def spring(event, args):\n"
        f"    if event != {event!r} or not args:\n"
        "        return\n"
        "    path = args[1] if event == 'os.rename' else args[0]\n"
        f"    if {end!r} not in str(path) or os.access({str(sprung)!r}, os.F_OK):\n"
        "        return\n"
        f"    os.close(os.open({str(sprung)!r}, os.O_CREAT | os.O_WRONLY))\n"
        + (
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            if does == "kill"
            else "    time.sleep(120)\n"
        )
        + "sys.addaudithook(spring)\n"
    )
    return ["--preload", str(script)], sprung
