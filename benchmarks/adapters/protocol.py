"""What a contestant is: the base classes of readers, loaders and feeds, and what they are given."""

import importlib.util
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.tree import S2_BANDS

Pixels = npt.NDArray[np.uint16]
Arrays = Pixels | npt.NDArray[np.float32]
# What a loader hands out: which patches (by key, or by row of the flat file), and their pixels.
KeyedBatch = tuple[Iterable[Any], Any]

OWN = ""  # the environment that the benchmarks themselves run in
STACKED = 345_600  # bytes of a stacked patch, and of a patch in all forms made from the flat file
NATIVE = 160_000  # bytes of a patch with each band at its own resolution


@dataclass(frozen=True)
class Job:
    """One conversion: a raw tree into a store folder that does not exist yet."""

    tree: Path
    store: Path
    layout: str  # "native" or "stacked"
    modalities: tuple[str, ...]
    workers: int


@dataclass(frozen=True)
class Sources:
    """The same Sentinel-2 patches in every form that a reader may want."""

    tree: Path
    stacked: Path  # a store of Patchpress, and the next one
    native: Path
    flat: Path  # .npy, (patches, 12, 120, 120) uint16: what rasterio reads, coarse bands repeated
    forms: Path  # a folder for what contestants make of the flat file, once
    keys: tuple[str, ...]  # of the patches in `flat`, in its order


class Converter(Protocol):
    """Turns a raw tree into an LMDB environment of safetensors records, as a command."""

    name: str
    note: str  # what it does more or less than the others

    def available(self) -> str | None:
        """Say why it cannot run here, or None."""
        ...

    def command(self, job: Job) -> list[str]:
        """Give the command line, run in the repository's root."""
        ...


class Peer(ABC):
    """A contestant that reads; it lives in a process of its own, in the environment it names."""

    name: str
    note: str  # what it does more or less than the others
    environment: str = OWN  # a file benchmarks/environments/NAME.txt
    needs: tuple[str, ...] = ()  # modules to import

    def __init__(self) -> None:
        self.path = Path()
        self.row: dict[str, int] = {}

    def available(self) -> str | None:
        """Say why it cannot run here, or None."""
        return missing(*self.needs)

    @abstractmethod
    def source(self, sources: Sources) -> Path:
        """Give the file or the folder with the pixels that it reads."""

    def write(self, sources: Sources) -> None:  # noqa: B027 -- most have nothing to write
        """Make its form of the patches from the flat file, unless it is there."""

    def prepare(self, sources: Sources) -> None:
        """Open what it reads, once. At least, note where that is, and the row of each key."""
        self.path = self.source(sources)
        self.row = {key: row for row, key in enumerate(sources.keys)}


class FlatFile(Peer):
    """Reads the flat file."""

    def source(self, sources: Sources) -> Path:
        """Give the flat file."""
        return sources.flat


class StackedStore(Peer):
    """Reads the stacked store."""

    def source(self, sources: Sources) -> Path:
        """Give the store."""
        return sources.stacked


class NativeStore(Peer):
    """Reads the native store."""

    def source(self, sources: Sources) -> Path:
        """Give the store."""
        return sources.native


class OwnForm(Peer):
    """Reads a file or a folder that it makes itself of the flat file, once."""

    file: str  # its name below `Sources.forms`

    def source(self, sources: Sources) -> Path:
        """Give its file or folder."""
        return sources.forms / self.file

    def write(self, sources: Sources) -> None:
        """Write it unless it is there."""
        flat: Pixels = np.load(sources.flat, mmap_mode="r")
        once(self.source(sources), lambda path: self.write_form(path, flat))

    @abstractmethod
    def write_form(self, path: Path, flat: Pixels) -> None:
        """Write all patches, (patches, 12, 120, 120) uint16, to a path where nothing is yet."""


class Reader(Peer):
    """Reads any patches in any order."""

    bands: tuple[str, ...] = S2_BANDS
    stored: int = STACKED  # bytes of a patch in its form, the least that it must read

    @abstractmethod
    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        """Give the patches as (len(keys), bands, 120, 120).

        ``out`` is a reused buffer of that shape, for those who can fill one.
        """


class RowReader(Reader):
    """Reads a patch at a time, by its row in the flat file, and copies it into the buffer."""

    @abstractmethod
    def patch(self, row: int) -> Pixels:
        """Give one patch, (12, 120, 120)."""

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        """Read patch by patch."""
        for slot, key in enumerate(keys):
            out[slot] = self.patch(self.row[key])
        return out


class Sequential(Peer):
    """Reads all patches in the order in which they are stored, and no other."""

    @abstractmethod
    def samples(self) -> Iterator[tuple[int, Pixels]]:
        """Give every patch once, with its row in the flat file."""


class Loader(Peer):
    """Hands out shuffled batches, epoch after epoch."""

    workers: tuple[int, ...] = (0, 1, 2)

    @abstractmethod
    def epochs(self, batch: int, workers: int) -> Iterable[KeyedBatch]:
        """Give something that yields the batches of one epoch each time that it is iterated."""


def missing(*modules: str) -> str | None:
    """Name the first of some modules that is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed"
    return None


def once(target: Path, write: Callable[[Path], None]) -> None:
    """Let a file or folder be written unless it is there.

    It gets its name when it is whole, so that one that was begun is never taken for it.
    """
    if target.exists():
        return
    part = target.with_name(f"part-{target.name}")
    if part.is_dir():
        shutil.rmtree(part)
    part.parent.mkdir(parents=True, exist_ok=True)
    write(part)
    part.rename(target)
