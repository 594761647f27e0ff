"""A group of processes that may have so much memory: beyond it the kernel kills one of them."""

import os
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
def memory_group(
    name: str, groups: Path = _GROUPS, own: Path = Path("/proc/self/cgroup")
) -> Iterator[MemoryGroup]:
    """A group near this process's own one, removed at the end; skips the test if none is allowed.

    Give ``join`` to a command that is started, as ``preexec_fn``. `groups` is where groups are
    mounted, `own` the file that says in which of them this process is.
    """
    found = None
    for folder, limit in _own_groups(groups, own):
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


def _own_groups(groups: Path, own: Path) -> Iterator[tuple[Path, str]]:
    """(folder of a group in which this process is, name of the limit of a group below it)."""
    for line in own.read_text().splitlines():
        _, kinds, path = line.split(":", 2)
        if not kinds:
            yield from ((folder, "memory.max") for folder in _that_limit(groups, path))
        elif "memory" in kinds.split(","):
            yield groups / "memory" / path.lstrip("/"), "memory.limit_in_bytes"


def _that_limit(groups: Path, path: str) -> Iterator[Path]:
    """Of version 2 the groups, from a process's own one upwards, that limit those below them.

    Its own one seldom does: a group that has processes of its own may not. This process needs the
    right to leave them, too. If memory is a matter of version 1, there are none.
    """
    folder = groups / path.lstrip("/")
    while folder.is_relative_to(groups):
        limited = folder / "cgroup.subtree_control"
        limits = limited.is_file() and "memory" in limited.read_text().split()
        if limits and os.access(folder / "cgroup.procs", os.W_OK):
            yield folder
        folder = folder.parent
