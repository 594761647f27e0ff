"""The files of a store as they may be opened: regular ones, inside of it, no longer than expected.

A store may come from anybody: a name may be a folder, a pipe that nobody writes to, a device that
never ends, or a link to a file that is none of the store's.
"""

import os
import stat
from pathlib import Path

from patchpress.readers.errors import StoreDamaged, StoreError, cannot_read

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a disk",
    stat.S_IFSOCK: "a socket",
}


def require_inside(store: Path, name: str) -> Path:
    """The path of a file of a store, if no link leads out of its folder.

    Raises:
        StoreDamaged: one does.
    """
    path = store / name
    try:
        root, real = os.path.realpath(store), os.path.realpath(path)
    except OSError as error:
        raise cannot_read(path, error) from None
    if real != os.path.join(root, name) and os.path.commonpath([root, real]) != root:
        raise StoreDamaged(
            f"{path} is a link that leads out of the store, to {real}: put the file itself there "
            "(`cp -rL` copies a store without its links)"
        )
    return path


def open_regular(path: Path) -> int:
    """The descriptor of a file, if it is a regular one; nothing is waited for.

    Raises:
        StoreDamaged: it is a folder, a pipe or a device.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    if os.path.isdir(path):  # Windows does not open folders
        raise irregular(path, stat.S_IFDIR)
    descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise irregular(path, mode)
    return descriptor


def irregular(path: Path, mode: int) -> StoreError:
    """The error for a file that is a folder, a pipe or a device, as `mode` says."""
    kind = _KINDS.get(stat.S_IFMT(mode), "something else")
    return StoreDamaged(f"{path} is {kind} and no file: copy the store again")


def read_small(path: Path, limit: int) -> bytes:
    """All bytes of a file of at most `limit` bytes.

    Raises:
        StoreDamaged: it is longer, or no regular file.
        OSError: it cannot be opened.
    """
    with open(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise StoreDamaged(
                f"{path} has {size:,} bytes, where {limit:,} are the most: copy the store again"
            )
        return file.read(limit + 1)
