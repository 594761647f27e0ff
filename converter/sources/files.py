"""The files of one patch, wherever they are: in a folder on disk, or in memory out of an archive.

Files of an archive lie in cells of memory that workers share, so that no pixel is pickled on its
way to them.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.memory import Cell
from patchpress.readers.errors import PatchError

Buffer = bytearray | memoryview
_ALIGNMENT = 8  # of each file in a cell: that of the widest pixel
_HEAD = 4096  # bytes that a file usually has before its pixels, at most; or a JSON file in all


def usual_files_size(modality: ModalitySource) -> int:
    """Bytes that the files of one patch usually have at most; pixels are not compressed."""
    pixels = sum(
        np.dtype(band.dtype).itemsize * band.shape[0] * band.shape[1] for band in modality.bands
    )
    return (2 if modality.any_size else 1) * pixels + _HEAD * (len(modality.bands) + 1)


class PatchFiles(Protocol):
    """What reading a patch needs of the place where its files are."""

    def names(self) -> Iterable[str]:
        """The names of all files there."""

    def readv(self, name: str, into: Sequence[Buffer]) -> int:
        """Fill buffers one after the other; how many bytes there were for them.

        Raises:
            PatchError: the file is absent or may not be read.
        """

    def read(self, name: str) -> bytes:
        """All bytes of a file.

        Raises:
            PatchError: it is absent or may not be read.
        """

    def close(self) -> None:
        """Let go of what is held open."""


class DiskFiles:
    """A folder as published, held open."""

    def __init__(self, path: str) -> None:
        """Open it.

        Raises:
            PatchError: it is absent or may not be read.
        """
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise PatchError(f"{path} cannot be opened ({error.strerror})") from None

    def names(self) -> Iterable[str]:
        """The names of all files there."""
        return os.listdir(self._fd)

    def readv(self, name: str, into: Sequence[Buffer]) -> int:
        """Fill buffers by one system call; how many bytes it gave."""
        fd = self._open(name)
        try:
            return os.readv(fd, into)
        except OSError as error:
            raise PatchError(f"{name} cannot be read ({error.strerror})") from None
        finally:
            os.close(fd)

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        fd = self._open(name)
        try:
            with open(fd, "rb", buffering=0, closefd=False) as file:
                return file.read()
        except OSError as error:
            raise PatchError(f"{name} cannot be read ({error.strerror})") from None
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close its descriptor."""
        os.close(self._fd)

    def _open(self, name: str) -> int:
        try:
            return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)
        except OSError as error:
            raise PatchError(f"{name} cannot be read ({error.strerror})") from None


class MemoryFiles:
    """Files that are in memory already."""

    def __init__(self, files: Mapping[str, memoryview]) -> None:
        self._files = files

    def names(self) -> Iterable[str]:
        """The names of all files there."""
        return self._files.keys()

    def readv(self, name: str, into: Sequence[Buffer]) -> int:
        """Copy a file into buffers; how many bytes of it they took."""
        data = self._file(name)
        at = 0
        for buffer in into:
            some = data[at : at + len(buffer)]
            buffer[: len(some)] = some
            at += len(some)
        return at

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        return bytes(self._file(name))

    def close(self) -> None:
        """Nothing is held open."""

    def _file(self, name: str) -> memoryview:
        try:
            return self._files[name]
        except KeyError:
            raise PatchError(f"{name} is missing") from None


class ArchivedFiles:
    """The files of one patch out of an archive.

    What finds no place in its cell is held by itself, and then pickled on its way to a worker.
    """

    __slots__ = ("_cell", "_end", "_places", "_spilled", "fault")

    def __init__(self, cell: Cell | None = None) -> None:
        self._cell = cell
        self._end = 0
        self._places: dict[str, tuple[int, int]] = {}
        self._spilled: dict[str, bytearray] = {}
        self.fault = ""
        """What is wrong with them as a whole, as a sentence; empty where nothing is."""

    def __contains__(self, name: str) -> bool:
        return name in self._places or name in self._spilled

    def __reduce__(self) -> tuple[object, ...]:
        return _sent, (self._places, self._spilled, self.fault)

    def add(self, name: str, nbytes: int) -> memoryview:
        """Memory for a file, to be filled by the caller."""
        cell = self._cell
        if cell is None or self._end + nbytes > cell.cells.size:
            self._spilled[name] = bytearray(nbytes)
            return memoryview(self._spilled[name])
        start = cell.start + self._end
        self._end += nbytes + -nbytes % _ALIGNMENT
        self._places[name] = start, nbytes
        return cell.cells.memory[start : start + nbytes]

    def open(self, memory: memoryview | None) -> MemoryFiles:
        """The files, in the memory of the cells as this process sees it.

        Raises:
            PatchError: they have a fault.
        """
        if self.fault:
            raise PatchError(self.fault)
        files = {name: memoryview(data) for name, data in self._spilled.items()}
        if memory is not None:
            for name, (start, nbytes) in self._places.items():
                files[name] = memory[start : start + nbytes]
        return MemoryFiles(files)


def open_files(
    path: str, archived: ArchivedFiles | None, memory: memoryview | None = None
) -> PatchFiles:
    """The files of a patch: those of a folder on disk, or those that came out of an archive.

    Raises:
        PatchError: the folder is absent or may not be read, or what came out has a fault.
    """
    return DiskFiles(path) if archived is None else archived.open(memory)


def _sent(
    places: dict[str, tuple[int, int]], spilled: dict[str, bytearray], fault: str
) -> ArchivedFiles:
    """ArchivedFiles in another process, which holds no cell of the pool."""
    archived = ArchivedFiles()
    archived._places, archived._spilled, archived.fault = places, spilled, fault
    return archived
