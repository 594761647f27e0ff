"""Patchpress: its command, and its reader over both layouts."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.adapters.protocol import Batch, Job, Sources, missing

if TYPE_CHECKING:
    from readers import Store


class PatchpressConverter:
    """`patchpress convert`, run from the source tree."""

    name = "Patchpress"
    note = "also checks every file's georeference, writes checksums, manifest and metadata.parquet"

    def available(self) -> str | None:
        """Say what is missing."""
        return missing("converter.__main__")

    def command(self, job: Job) -> list[str]:
        """Give the command line."""
        chosen = [word for modality in job.modalities for word in ("--modality", modality)]
        return [
            sys.executable, "-m", "converter", "convert", "bigearthnet-v2",
            str(job.tree), str(job.store), *chosen,
            "--layout", job.layout, "--workers", str(job.workers),
        ]  # fmt: skip


class PatchpressStacked:
    """`Store.read_batch` on a stacked store, into the reused buffer."""

    name = "Patchpress, stacked"
    note = "into the reused buffer"

    def __init__(self) -> None:
        self.store: Store | None = None

    def available(self) -> str | None:
        """Say what is missing."""
        return missing("lmdb", "readers")

    def path(self, sources: Sources) -> Path:
        """Choose the store."""
        return sources.stacked

    def prepare(self, sources: Sources) -> None:
        """Open the store."""
        from readers import open_store

        self.store = open_store(self.path(sources))

    def read(self, keys: Sequence[str], out: npt.NDArray[np.uint16]) -> Batch:
        """Read one batch."""
        assert self.store is not None
        return self.store.read_batch(keys, out=out)


class PatchpressNative(PatchpressStacked):
    """The same on a native store: coarse bands are repeated on reading."""

    name = "Patchpress, native"
    note = "into the reused buffer; 46 % of the stacked bytes on disk"

    def path(self, sources: Sources) -> Path:
        """Choose the store."""
        return sources.native
