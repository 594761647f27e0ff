"""The usual converter: rasterio, a band at a time, in a process pool; the parent fills the LMDB.

It does what rico-hdl does, in the same order and with as large chunks: spawned workers open the
files of a patch one by one and serialize it with safetensors; the parent writes 512 records, sorted
by key, in each transaction.

    python -m benchmarks.rasterio_pool TREE STORE --layout native --modality s2
"""

import argparse
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.tree import MODALITIES, RawPatch, find_patches

PATCHES_AT_ONCE = 512


def read_band(path: Path) -> npt.NDArray[np.generic]:
    """Read one band (height, width) in its own dtype."""
    import rasterio

    with rasterio.open(path) as source:
        band: npt.NDArray[np.generic] = source.read(1)
    return band


def stack(bands: list[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    """Repeat coarse bands onto the finest grid: (bands, height, width)."""
    finest = max(band.shape[0] for band in bands)
    return np.stack(
        [
            band.repeat(finest // band.shape[0], 0).repeat(finest // band.shape[0], 1)
            for band in bands
        ]
    )


def encode(patch: RawPatch, layout: str) -> bytes:
    """Read the files of one patch and give its record."""
    from safetensors.numpy import save

    bands = {name: read_band(path) for name, path in patch.files}
    if layout == "native":
        encoded: bytes = save(bands)
        return encoded
    stacked: bytes = save({patch.modality: stack(list(bands.values()))})
    return stacked


def convert(tree: Path, store: Path, layout: str, modalities: Sequence[str], workers: int) -> None:
    """Convert a tree; the records are on the disk when it returns."""
    import lmdb

    store.mkdir(parents=True)
    spawn = multiprocessing.get_context("spawn")
    # A map of 1 TiB is rico-hdl's, and sparse: only what is written takes space.
    with (
        lmdb.open(str(store), map_size=1 << 40, sync=False) as environment,
        ProcessPoolExecutor(workers, mp_context=spawn) as pool,
    ):
        for modality in modalities:
            patches = find_patches(tree, modality)
            for start in range(0, len(patches), PATCHES_AT_ONCE):
                chunk = patches[start : start + PATCHES_AT_ONCE]
                records = pool.map(partial(encode, layout=layout), chunk)
                with environment.begin(write=True) as transaction:
                    for patch, record in zip(chunk, records, strict=True):
                        transaction.put(patch.key.encode(), record)
        environment.sync(True)


def main() -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tree", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--layout", choices=["native", "stacked"], default="native")
    parser.add_argument("--modality", nargs="+", choices=list(MODALITIES), default=["s2"])
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    convert(args.tree, args.store, args.layout, args.modality, args.workers)


if __name__ == "__main__":
    main()
