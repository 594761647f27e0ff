"""A group of processes that may have so much memory: beyond it the kernel kills one of them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_GROUPS = Path("/sys/fs/cgroup")


class MemoryGroup:
    """A control group (cgroup) for memory, of either version."""

    def __init__(self, path: Path, limit: str) -> None:
        self._path, self._limit = path, limit

    def allow(self, nbytes: int) -> None:
        """Its processes may have so many bytes together."""
        (self._path / self._limit).write_text(str(nbytes))

    def join(self) -> None:
        """Put this process into it, and those that it starts."""
        (self._path / "cgroup.procs").write_text("0")


@contextmanager
def memory_group(name: str) -> Iterator[MemoryGroup]:
    """A group below this process's own one, removed at the end; skips the test if none is allowed.

    Give ``join`` to a command that is started, as ``preexec_fn``.
    """
    found = None
    for folder, limit in _own_groups():
        path = folder / f"patchpress-{name}"
        with suppress(OSError):
            path.mkdir()
            found = MemoryGroup(path, limit)
            found.allow(1 << 40)
            break
        found = None
        with suppress(OSError):
            path.rmdir()
    if found is None:
        pytest.skip("this user may make no control group with a limit on memory")
    try:
        yield found
    finally:
        path.rmdir()


def _own_groups() -> Iterator[tuple[Path, str]]:
    """(folder, name of the limit) of the groups in which this process is."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, kinds, path = line.split(":", 2)
        if not kinds:
            yield _GROUPS / path.lstrip("/"), "memory.max"
        elif "memory" in kinds.split(","):
            yield _GROUPS / "memory" / path.lstrip("/"), "memory.limit_in_bytes"
