"""Memory that ends for real: the kernel kills a process of the conversion."""

import os
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tests.support.helpers import TINY, command, folder_bytes, geotiff
from tests.support.small_memory import memory_group

pytestmark = pytest.mark.slow


def large_patches(root: Path) -> Path:
    """12 patches of 16 MB each, and their description, whose path it gives."""
    sizes = {"fine": 2000, "coarse": 1000}
    text = TINY.replace("{kind}", "image").replace("[12, 12]", "[2000, 2000]")
    for number in range(12):
        folder = root / "raw" / "A" / "g" / f"p{number:02}"
        folder.mkdir(parents=True)
        for band, size in sizes.items():
            geotiff(
                folder / f"{folder.name}_{band}.tif",
                np.full((1, size, size), number, np.uint16),
                crs="EPSG:32633",
                transform=Affine(20_000 / size, 0, 0, 0, -20_000 / size, 20_000),
                compress="deflate",
            )
    path = root / "large.toml"
    path.write_text(text.replace("[6, 6]", "[1000, 1000]"))
    return path


def test_a_worker_is_killed_not_the_process_that_can_tell(tmp_path: Path) -> None:
    description, source = large_patches(tmp_path), tmp_path / "raw"

    def convert_to(store: Path) -> tuple[object, ...]:
        return ("convert", description, source, store, "--workers", 3)

    with memory_group(f"test-{os.getpid()}") as group:
        group.allow(150 << 20)
        ended = command(*convert_to(tmp_path / "store"), preexec_fn=group.join)
    assert ended.code == 2
    assert ended.sentence == (
        "a decoding process died (killed, or out of memory?): try again with fewer --workers"
    )
    assert not (tmp_path / "store" / "manifest.json").exists()
    assert command(*convert_to(tmp_path / "store")).code == 0
    assert command(*convert_to(tmp_path / "whole")).code == 0
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")
