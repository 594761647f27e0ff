"""What a contestant is."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

Batch = npt.NDArray[np.uint16] | npt.NDArray[np.float32]


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


class Reader(Protocol):
    """Reads batches of whole Sentinel-2 patches; lives in a process of its own."""

    name: str
    note: str

    def available(self) -> str | None:
        """Say why it cannot run here, or None."""
        ...

    def prepare(self, sources: Sources) -> None:
        """Open what it reads from, once."""
        ...

    def read(self, keys: Sequence[str], out: npt.NDArray[np.uint16]) -> Batch:
        """Give the patches as (len(keys), 12, 120, 120), bands in the sensor's order.

        ``out`` is a reused buffer of that shape, for those who can fill one.
        """
        ...


def missing(*modules: str) -> str | None:
    """Name the first of some modules that is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed"
    return None
