"""Commands that read a store of which nothing is in memory do not let each page wait alone."""

import mmap
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress.converter.commands.index import index
from patchpress.converter.commands.stats import compute
from patchpress.converter.commands.verify import verify

needs_advice = pytest.mark.skipif(
    not hasattr(os, "posix_fadvise"), reason="this system drops no file from its memory"
)


def cold_copy(store: Path, copy: Path) -> Path:
    """A copy of a store whose data file was never mapped, and is on the disk alone."""
    shutil.copytree(store, copy)
    file = os.open(copy / "data.mdb", os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)
    return copy


@needs_advice
@pytest.mark.parametrize(
    "command",
    [
        lambda store: compute(store, workers=0),
        lambda store: verify(store, workers=0),
        index,
    ],
    ids=["stats", "verify", "index"],
)
def test_a_cold_store_is_not_faulted_in_page_by_page(
    stores: dict[tuple[str, str], Path], tmp_path: Path, command: Callable[[Path], object]
) -> None:
    store = stores["stacked", "none"]
    command(cold_copy(store, tmp_path / "first"))  # loads what it needs
    cold = cold_copy(store, tmp_path / "cold")
    pages = (cold / "data.mdb").stat().st_size // mmap.PAGESIZE
    before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    command(cold)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before
    assert faults < pages / 20
