"""Files that appear whole or not at all, and never through a link that lies in their place."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_RANDOM = 8  # bytes in the name of a file that is being written
_BEING_WRITTEN = re.compile(rf"(.+)\.[0-9a-f]{{{2 * _RANDOM}}}\.partial")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A new file to write, which takes the place of `path` at the end of the block.

    It has a random name until then, so that nothing that lies there is written, nor what a link
    there points to. It is flushed to the disk, and so is its folder. After an error nothing of it
    is left.

    Raises:
        OSError: the folder cannot be written.
    """
    partial = path.with_name(partial_name(path.name))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(partial, flags | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    flush_folder(path.parent)


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file as `whole_file` does.

    Raises:
        OSError: the folder cannot be written; nothing of the new file is left.
    """
    with whole_file(path) as file:
        for part in parts:
            file.write(part)


def flush_folder(path: Path) -> None:
    """Wait until the names of the files in a folder are on the disk."""
    folder = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def partial_name(name: str) -> str:
    """A random name for a file that is to get this one: `name_when_whole` tells it."""
    return f"{name}.{os.urandom(_RANDOM).hex()}.partial"


def name_when_whole(name: str) -> str:
    """The name that a file is to get whose writing was interrupted; empty for any other file."""
    match = _BEING_WRITTEN.fullmatch(name)
    return match[1] if match else ""
