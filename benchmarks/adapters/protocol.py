"""What a contestant is."""

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

Batch = npt.NDArray[np.uint16] | npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint16]
# What a loader hands out: which patches (names, or rows of the flat file), and their pixels.
Fed = tuple[Iterable[Any], Any]

OWN = ""  # the environment that the harness itself runs in
STACKED = 345_600  # bytes of a stacked patch, and in all forms made from the flat file
NATIVE = 160_000


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
    stacked: Path  # Patchpress stores
    native: Path
    flat: Path  # .npy, (patches, 12, 120, 120) uint16: what rasterio reads, coarse bands repeated
    forms: Path  # a folder for what contestants make of the flat file, once
    keys: tuple[str, ...]  # of the patches in flat, in its order


class Converter(Protocol):
    """Turns a raw tree into an LMDB environment of safetensors records, as a command."""

    name: str
    note: str  # bias: what it does more or less than the others

    def available(self) -> str | None:
        """Say why it cannot run here, or None."""
        ...

    def command(self, job: Job) -> list[str]:
        """Give the command line, run in the repository's root."""
        ...


class Peer(ABC):
    """A contestant that reads; it lives in a process of its own, in the environment it names."""

    name: str
    note: str
    environment: str = OWN  # a file benchmarks/environments/NAME.txt
    needs: tuple[str, ...] = ()  # modules to import

    def available(self) -> str | None:
        """Say why it cannot run here, or None."""
        return missing(*self.needs)

    @abstractmethod
    def files(self, sources: Sources) -> tuple[Path, ...]:
        """Name the files and folders with the pixels that it reads."""

    def write(self, sources: Sources) -> None:  # noqa: B027 - most have nothing to write
        """Make its form of the patches from the flat file, unless it is there."""

    @abstractmethod
    def prepare(self, sources: Sources) -> None:
        """Open what it reads from, once."""


class Reader(Peer):
    """Reads any patches in any order."""

    bands: tuple[str, ...] = S2_BANDS
    stored: int = STACKED  # bytes of a patch in its form, the least that it must read

    @abstractmethod
    def read(self, keys: Sequence[str], out: Pixels) -> Batch:
        """Give the patches as (len(keys), bands, 120, 120).

        ``out`` is a reused buffer of that shape, for those who can fill one.
        """


class Sequential(Peer):
    """Reads all patches in the order in which they are stored, and no other."""

    @abstractmethod
    def samples(self) -> Iterator[tuple[int, Pixels]]:
        """Give every patch once, with its row in the flat file."""


class Loader(Peer):
    """Hands out shuffled batches, epoch after epoch."""

    workers: tuple[int, ...] = (0, 1, 2)

    @abstractmethod
    def epochs(self, batch: int, workers: int) -> Iterable[Fed]:
        """Give what an epoch comes from each time that it is iterated."""


class Feed(Peer):
    """Brings batches into the memory of a GPU."""

    @abstractmethod
    def epochs(self, batch: int, device: Any) -> Iterable[Fed]:
        """Give the batches of an epoch, on the device, each time that it is iterated."""


def missing(*modules: str) -> str | None:
    """Name the first of some modules that is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed"
    return None


def once(target: Path, write: Callable[[Path], None]) -> None:
    """Let a file or folder be written unless it is there; half of it is never taken for it."""
    if target.exists():
        return
    part = target.with_name(f"part-{target.name}")
    if part.is_dir():
        shutil.rmtree(part)
    part.parent.mkdir(parents=True, exist_ok=True)
    write(part)
    part.rename(target)
