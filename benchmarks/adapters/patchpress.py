"""Patchpress: its command, and its reader over both layouts."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.adapters.memmap import RGB
from benchmarks.adapters.protocol import (
    NATIVE,
    Arrays,
    Job,
    Pixels,
    Reader,
    Sources,
    StackedStore,
    missing,
)
from benchmarks.tree import REPOSITORY, S2_BANDS

if TYPE_CHECKING:
    from patchpress import Store

SHARDS = 16


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


class PatchpressStacked(StackedStore, Reader):
    """`Store.read_batch` on a stacked store, into the reused buffer."""

    name = "Patchpress, stacked"
    note = "into the reused buffer"
    needs = ("lmdb", "patchpress")

    mode = "auto"

    def __init__(self) -> None:
        super().__init__()
        self.store: Store | None = None

    def prepare(self, sources: Sources) -> None:
        """Open the store."""
        from patchpress import open_store

        super().prepare(sources)
        self.store = open_store(self.path, mode=self.mode)

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        """Read one batch."""
        assert self.store is not None
        bands = None if self.bands == S2_BANDS else self.bands
        return self.store.read_batch(keys, bands=bands, out=out)


class PatchpressNative(PatchpressStacked):
    """The same on a native store: coarse bands are repeated on reading."""

    name = "Patchpress, native"
    note = "into the reused buffer; 46 % of the stacked bytes on disk"
    stored = NATIVE

    def source(self, sources: Sources) -> Path:
        """Give the native store."""
        return sources.native


class PatchpressSharded(PatchpressStacked):
    """The same on a stacked store of 16 shards, converted afresh, with the others' options."""

    name = f"Patchpress, stacked, {SHARDS} shards"
    note = "into the reused buffer"

    def source(self, sources: Sources) -> Path:
        """Give the store, beside the one of a single file."""
        return sources.stacked.with_name(f"{sources.stacked.name}-{SHARDS}")

    def write(self, sources: Sources) -> None:
        """Convert the tree."""
        store = self.source(sources)
        shutil.rmtree(store, ignore_errors=True)
        job = Job(sources.tree, store, "stacked", ("s2",), 1)
        command = [*PatchpressConverter().command(job), "--shards", str(SHARDS)]
        subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)


class PatchpressStackedRGB(PatchpressStacked):
    """Three bands of the stacked store."""

    name = "Patchpress, stacked, B04 B03 B02"
    bands = RGB


class PatchpressNativeRGB(PatchpressNative):
    """Three bands of the native store, none of which has to be repeated."""

    name = "Patchpress, native, B04 B03 B02"
    bands = RGB


class PatchpressStackedCold(PatchpressStacked):
    """A stacked store, opened in a given mode."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.name = f"{PatchpressStacked.name}, {mode}"


class PatchpressNativeCold(PatchpressNative):
    """A native store, opened in a given mode."""

    note = "into the reused buffer; 46 % of the stacked bytes to read"

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.name = f"{PatchpressNative.name}, {mode}"
