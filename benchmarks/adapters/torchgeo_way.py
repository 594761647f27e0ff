"""TorchGeo's way: no store at all; rasterio opens and resamples each file when a patch is read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.adapters.protocol import Arrays, Pixels, Reader, Sources
from benchmarks.tree import MODALITIES, RawPatch, find_patches


class TorchGeoWay(Reader):
    """The steps of its BigEarthNet data set, with the nearest pixel instead of bilinear."""

    name = "TorchGeo's way"
    note = "raw tree, fresh float32; nearest and known file names instead of bilinear and a glob"
    needs = ("rasterio",)

    def __init__(self) -> None:
        super().__init__()
        self.patches: dict[str, RawPatch] = {}

    def source(self, sources: Sources) -> Path:
        """Give the folder of Sentinel-2."""
        return sources.tree / MODALITIES["s2"].folder

    def prepare(self, sources: Sources) -> None:
        """List the tree."""
        self.patches = {patch.key: patch for patch in find_patches(sources.tree, "s2")}

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        """Stack patches one by one; the reused buffer is of no use to it."""
        size = out.shape[-2:]
        return np.stack([read_patch(self.patches[key], size) for key in keys])


def read_patch(patch: RawPatch, size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Give one patch as float32 (12, height, width)."""
    import rasterio
    from rasterio.enums import Resampling

    bands = []
    for _, path in patch.files:
        with rasterio.open(path) as source:
            bands.append(
                source.read(
                    indexes=1, out_shape=size, out_dtype="int32", resampling=Resampling.nearest
                )
            )
    return np.stack(bands, axis=0).astype(np.float32)
