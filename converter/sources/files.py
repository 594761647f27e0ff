"""The files of one patch: in a folder on disk, or in memory if they come out of an archive.

Files out of an archive lie in memory that worker processes share (`memory.CellPool`), so that no
pixel is pickled on its way to a worker.

A `PatchError` names the whole path of the file or folder that is wrong, wherever it is raised.
"""

import errno
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.memory import Cell, HeldChunk
from patchpress.converter.shortage import shortage
from patchpress.converter.sources.file_run import ArchivePlaces, FileRun, RunPart
from patchpress.readers.access.advice import announce_bytes
from patchpress.readers.errors import PatchError, PatchpressError

Buffer = bytearray | memoryview
_ALIGNMENT = 8  # bytes, of each file in a cell: that of the widest pixel
LARGEST = 32 << 20
"""Bytes of a file, and of a patch that may have any size, unless twice the usual ones are more."""
_MOST_BUFFERS = 1024  # that Linux fills by one call
# A pipe would wait for somebody to write; O_NONBLOCK means nothing for a file.
TO_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_HEAD = 4096  # bytes that a file usually has before its pixels, at most; or a JSON file in all


def usual_files_size(modality: ModalitySource) -> int:
    """Bytes that the files of one patch usually have at most; pixels are not compressed.

    Of a place with several acquisitions, those of one.
    """
    sizes = {
        band.name: np.dtype(band.dtype).itemsize * band.shape[0] * band.shape[1]
        for band in modality.bands
    }
    pixels, files = sum(sizes.values()), modality.files or modality.bands
    for file in modality.files:  # bands that are not stored lie in their files all the same
        usual = next(sizes[name] for name in file.bands if name in sizes)
        pixels += usual * sum(name not in sizes for name in file.bands)
    if modality.time is not None and modality.time.order:
        pixels *= modality.steps
    return (2 if modality.any_size else 1) * pixels + _HEAD * (len(files) + 1)


def acquisitions_of(modality: ModalitySource) -> int:
    """How many acquisitions with files of their own a patch has at most."""
    return modality.steps if modality.is_dated else 1


def largest_file(modality: ModalitySource) -> int:
    """Bytes that a file out of an archive may have: many of them are in memory at a time."""
    usual = 4 * usual_files_size(modality)
    return max(LARGEST, usual) if modality.any_size else usual


class PatchFiles(Protocol):
    """The files of one patch, by name."""

    def path(self, name: str) -> str:
        """The path of a file, for sentences; the file need not be there."""

    def names(self) -> Iterable[str]:
        """The names of all files in the folder of the patch."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    def readv(self, name: str, into: Sequence[Buffer]) -> int:
        """Fill buffers, one after the other, from the beginning of a file.

        Returns:
            How many bytes the file had for them.

        Raises:
            PatchError: the file is absent or may not be read.
        """

    def read(self, name: str, most: int | None = None) -> bytes:
        """All bytes of a file.

        Raises:
            PatchError: the file is absent, may not be read, or has more than `most` bytes.
        """

    def close(self) -> None:
        """Close what is open."""


def copy_into(data: memoryview, into: Sequence[Buffer]) -> int:
    """Copy bytes into buffers, one after the other; gives how many of them they took."""
    at = 0
    for buffer in into:
        copied = data[at : at + len(buffer)]
        buffer[: len(copied)] = copied
        at += len(copied)
    return at


def check_size(path: str, nbytes: int, most: int | None) -> None:
    """Refuse a file that has more than `most` bytes.

    Raises:
        PatchError: it has.
    """
    if most is not None and nbytes > most:
        raise PatchError(f"{path} has {nbytes:,} bytes, far more than its pixels need")


def _refuse_shortage(error: OSError) -> None:
    """Stop if it is the process that lacks something: the patch is not damaged then.

    It must not be left out.

    Raises:
        PatchpressError: the sentence about what is short.
    """
    short = shortage(error) if error.errno != errno.EAGAIN else ""
    if short:
        raise PatchpressError(short)


class DiskFiles:
    """The files of a folder on disk, which is held open."""

    def __init__(self, folder: str) -> None:
        """Open the folder.

        Raises:
            PatchError: it is absent or may not be read.
        """
        self._folder = folder
        try:
            self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            _refuse_shortage(error)
            raise PatchError(f"{folder} cannot be opened ({error.strerror})") from None
        self._announced: dict[str, int] = {}  # files that are open already

    @property
    def device(self) -> int:
        """The device on which the folder is; a disk far away may have to be asked."""
        return os.fstat(self._fd).st_dev

    def announce(self, names: Iterable[str], nbytes: int, step: int) -> None:
        """Open files that are read soon, and tell the disk of all of them, if the system can.

        Who reads them says what is wrong with one. How large they are is not asked: a disk far away
        would answer late.

        Args:
            names: of the files.
            nbytes: that one has at most, as a rule.
            step: what `fetched_at_once` says of the device.
        """
        for name in dict.fromkeys(names):
            try:
                self._announced[name] = os.open(name, TO_READ, dir_fd=self._fd)
            except OSError:
                continue
        for fd in self._announced.values():
            with suppress(OSError):  # a pipe, or a file system that takes no advice
                announce_bytes(fd, 0, nbytes, step)

    def path(self, name: str) -> str:
        """The path of a file."""
        return f"{self._folder}/{name}"

    def names(self) -> Iterable[str]:
        """The names of all files."""
        return os.listdir(self._fd)

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return os.access(name, os.F_OK, dir_fd=self._fd)

    def readv(self, name: str, into: Sequence[Buffer]) -> int:
        """Fill buffers by one system call; gives how many bytes it read."""
        fd = self._open(name)
        try:
            if len(into) > _MOST_BUFFERS:
                return _readv_in_turns(fd, into)
            return os.readv(fd, into)
        except OSError as error:
            raise self._unreadable(name, error) from None
        finally:
            os.close(fd)

    def read(self, name: str, most: int | None = None) -> bytes:
        """All bytes of a file."""
        fd = self._open(name)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise self._no_file(name)
            check_size(self.path(name), status.st_size, most)
            with open(fd, "rb", buffering=0, closefd=False) as file:
                return file.read()
        except OSError as error:
            raise self._unreadable(name, error) from None
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the folder, and the files that were announced and not read."""
        for fd in self._announced.values():
            os.close(fd)
        self._announced.clear()
        os.close(self._fd)

    def _open(self, name: str) -> int:
        if self._announced:
            fd = self._announced.pop(name, None)
            if fd is not None:
                return fd
        try:
            return os.open(name, TO_READ, dir_fd=self._fd)
        except OSError as error:
            raise self._unreadable(name, error) from None

    def _unreadable(self, name: str, error: OSError) -> PatchError:
        _refuse_shortage(error)
        if error.errno in (errno.EISDIR, errno.EAGAIN):  # EAGAIN is of a pipe that is still empty
            return self._no_file(name)
        return PatchError(f"{self.path(name)} cannot be read ({error.strerror})")

    def _no_file(self, name: str) -> PatchError:
        return PatchError(f"{self.path(name)} is no file, but a folder, a pipe or a device")


def _readv_in_turns(fd: int, into: Sequence[Buffer]) -> int:
    """Fill more buffers than the system takes at once; gives how many bytes it read."""
    total = 0
    for start in range(0, len(into), _MOST_BUFFERS):
        some = into[start : start + _MOST_BUFFERS]
        got = os.readv(fd, some)
        total += got
        if got < sum(map(len, some)):
            break
    return total


class MemoryFiles:
    """Files whose bytes are in memory."""

    def __init__(self, files: Mapping[str, memoryview], folder: str = "") -> None:
        """Take the files by name; `folder` is what sentences call the folder that they are of."""
        self._files, self._folder = files, folder

    def path(self, name: str) -> str:
        """The path of a file; its name if the files are of no folder."""
        return f"{self._folder}/{name}" if self._folder else name

    def names(self) -> Iterable[str]:
        """The names of all files."""
        return self._files.keys()

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._files

    def readv(self, name: str, into: Sequence[Buffer]) -> int:
        """Copy a file into buffers; gives how many bytes of it they took."""
        return copy_into(self._file(name), into)

    def read(self, name: str, most: int | None = None) -> bytes:
        """All bytes of a file."""
        data = self._file(name)
        check_size(self.path(name), len(data), most)
        return bytes(data)

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _file(self, name: str) -> memoryview:
        try:
            return self._files[name]
        except KeyError:
            raise PatchError(f"{self.path(name)} is missing") from None


class ArchivedFiles:
    """The files of one patch out of an archive: in a cell of shared memory, as far as they fit.

    Or they stay where they were decompressed, in the same memory. A file that does not fit has
    memory of its own, and is pickled with this object. The bytes in shared memory are not pickled:
    a worker process sees them there.
    """

    __slots__ = (
        "_cell",
        "_chunk",
        "_chunk_at",
        "_end",
        "_own",
        "_run",
        "_spans",
        "fault",
        "places",
    )

    def __init__(self, cell: Cell | None = None, archive: str = "") -> None:
        """With `archive` the places of the files in it are noted, under its path."""
        self._cell = cell
        self._end = 0  # of what is used of the cell
        self._chunk: HeldChunk | None = None
        self._chunk_at = 0  # where files begin that lie in it
        self._run: FileRun | None = None
        self._spans: dict[str, tuple[int, int]] = {}  # name -> offset and length in the memory
        self._own: dict[str, bytearray] = {}
        self.fault = ""
        """A sentence about what is wrong with the files as a whole; empty if nothing is."""
        self.places = ArchivePlaces(archive, {}) if archive else None
        """Where the files lie in their archive, if that is noted. It is not pickled."""

    def __contains__(self, name: str) -> bool:
        run = self._run
        in_run = run is not None and any(run.before + part.rest == name for part in run.parts)
        return in_run or name in self._spans or name in self._own

    def __reduce__(self) -> tuple[object, ...]:
        return _unpickled, (self._spans, self._own, self.fault, self._run)

    def add(self, name: str, nbytes: int) -> memoryview:
        """Make room for a file; the caller fills the memory that this returns."""
        cell = self._cell
        if cell is None or self._end + nbytes > cell.pool.size:
            self._own[name] = bytearray(nbytes)
            return memoryview(self._own[name])
        start = cell.start + self._end
        self._end += nbytes + -nbytes % _ALIGNMENT
        self._spans[name] = start, nbytes
        return cell.pool.memory[start : start + nbytes]

    def stay(self, chunk: HeldChunk, at: int) -> bool:
        """Leave all files where they lie in a chunk, `at` its bytes; tells whether that can be.

        It must lie in the memory of the cell, which is given back.
        """
        cell = self._cell
        if cell is None or self._end or cell.pool.shared is not chunk.shared or at % _ALIGNMENT:
            return False
        self._chunk, self._chunk_at, self._cell = chunk, at, None
        return True

    def room_for_run(self, nbytes: int) -> memoryview | None:
        """Room for all files at once, before any other; None if there is not so much."""
        cell = self._cell
        if cell is None or self._end or nbytes > cell.pool.size:
            return None
        return cell.pool.memory[cell.start : cell.start + nbytes]

    def add_run(self, before: str, parts: tuple[RunPart, ...], nbytes: int) -> None:
        """Note the files that `stay`, or that the caller has put into `room_for_run(nbytes)`.

        Each is called `before` and the rest of its name.
        """
        if self._chunk is not None:
            self._run = FileRun(self._chunk.start + self._chunk_at, before, parts)
            return
        if self._cell is None:
            raise ValueError("there is no room for a run of files")
        self._run = FileRun(self._cell.start, before, parts)
        self._end = nbytes + -nbytes % _ALIGNMENT

    def announce(self) -> None:
        """Do nothing: they are in memory."""

    def open(self, folder: str, memory: memoryview | None) -> MemoryFiles:
        """The files, to be read.

        Args:
            folder: what sentences call the folder of the files.
            memory: that of the cells, as this process sees it; None if no cells are used.

        Raises:
            PatchError: the files have a fault.
        """
        if self.fault:
            raise PatchError(self.fault)
        files = {name: memoryview(data) for name, data in self._own.items()}
        if memory is not None:
            if self._run is not None:
                first, before, parts = self._run
                for rest, offset, nbytes in parts:
                    start = first + offset
                    files[before + rest] = memory[start : start + nbytes]
            for name, (start, nbytes) in self._spans.items():
                files[name] = memory[start : start + nbytes]
        return MemoryFiles(files, folder)


class FilesElsewhere(Protocol):
    """The files of one patch that do not lie in a folder on disk. It can be pickled."""

    def announce(self) -> None:
        """Tell the disk of them, if it can read them ahead; they are opened soon.

        Raises:
            PatchpressError: what holds them is not there, or has become another one.
        """

    def open(self, folder: str, memory: memoryview | None) -> PatchFiles:
        """The files, to be read; as `ArchivedFiles.open`."""


def open_files(
    folder: str, archived: FilesElsewhere | None, memory: memoryview | None = None
) -> PatchFiles:
    """The files of a patch, to be read: those in memory if there are such, else those on disk.

    Raises:
        PatchError: the folder is absent or may not be read, or the files in memory have a fault.
    """
    return DiskFiles(folder) if archived is None else archived.open(folder, memory)


def _unpickled(
    spans: dict[str, tuple[int, int]], own: dict[str, bytearray], fault: str, run: FileRun | None
) -> ArchivedFiles:
    """Files in another process, which holds no cell of the pool."""
    files = ArchivedFiles()
    files._spans, files._own, files.fault, files._run = spans, own, fault, run
    return files
