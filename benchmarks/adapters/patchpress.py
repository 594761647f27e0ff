"""Patchpress: its command, and its reader over both layouts."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.adapters.memmap import RGB
from benchmarks.adapters.protocol import NATIVE, Batch, Job, Pixels, Reader, Sources, missing
from benchmarks.tree import S2_BANDS

if TYPE_CHECKING:
    from patchpress import Store


class PatchpressConverter:
    """`patchpress convert`, run from the source tree."""

    name = "Patchpress"
    note = "also checks every file's georeference, writes checksums, manifest and metadata.parquet"

    def available(self) -> str | None:
        """Say what is missing."""
        return missing("patchpress")

    def command(self, job: Job) -> list[str]:
        """Give the command line."""
        chosen = [word for modality in job.modalities for word in ("--modality", modality)]
        return [
            sys.executable, "-m", "patchpress", "convert", "bigearthnet-v2",
            str(job.tree), str(job.store), *chosen,
            "--layout", job.layout, "--workers", str(job.workers),
        ]  # fmt: skip


class PatchpressStacked(Reader):
    """`Store.read_batch` on a stacked store, into the reused buffer."""

    name = "Patchpress, stacked"
    note = "into the reused buffer"
    needs = ("lmdb", "patchpress")

    def __init__(self) -> None:
        self.store: Store | None = None

    def path(self, sources: Sources) -> Path:
        """Choose the store."""
        return sources.stacked

    def files(self, sources: Sources) -> tuple[Path, ...]:
        """Name the store."""
        return (self.path(sources),)

    def prepare(self, sources: Sources) -> None:
        """Open the store."""
        from patchpress import open_store

        self.store = open_store(self.path(sources))

    def read(self, keys: Sequence[str], out: Pixels) -> Batch:
        """Read one batch."""
        assert self.store is not None
        bands = None if self.bands == S2_BANDS else self.bands
        return self.store.read_batch(keys, bands=bands, out=out)


class PatchpressNative(PatchpressStacked):
    """The same on a native store: coarse bands are repeated on reading."""

    name = "Patchpress, native"
    note = "into the reused buffer; 46 % of the stacked bytes on disk"
    stored = NATIVE

    def path(self, sources: Sources) -> Path:
        """Choose the store."""
        return sources.native


class PatchpressStackedRGB(PatchpressStacked):
    """Three bands of the stacked store."""

    name = "Patchpress, stacked, B04 B03 B02"
    bands = RGB


class PatchpressNativeRGB(PatchpressNative):
    """Three bands of the native store, none of which has to be repeated."""

    name = "Patchpress, native, B04 B03 B02"
    bands = RGB


class PatchpressStackedCold(PatchpressStacked):
    """A stacked store, opened in a mode of its own choice."""

    layout = "stacked"

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.name = f"Patchpress, {self.layout}, {mode}"

    def prepare(self, sources: Sources) -> None:
        """Open the store."""
        from patchpress import open_store

        self.store = open_store(self.path(sources), mode=self.mode)


class PatchpressNativeCold(PatchpressStackedCold):
    """The same on a native store."""

    layout = "native"
    note = "into the reused buffer; 46 % of the stacked bytes to read"
    stored = NATIVE

    def path(self, sources: Sources) -> Path:
        """Choose the store."""
        return sources.native
