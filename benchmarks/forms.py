"""The same patches in every form: two stores, the flat file, and a folder for the peers' forms."""

import hashlib
import json
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.adapters.patchpress import PatchpressConverter
from benchmarks.adapters.protocol import Job, Sources
from benchmarks.convert import converted
from benchmarks.rasterio_pool import read_band, stack
from benchmarks.tree import RawPatch, find_patches


def prepare(tree: Path, out: Path, workers: int) -> Path:
    """Write the same patches in every form; give the file that says where they are.

    Stores are converted afresh, since the converter is what changes here. The flat file, and what
    peers made of it, are kept as long as the tree is the same.
    """
    patches = find_patches(tree, "s2")
    stores = {layout: out / f"read-{layout}" for layout in ("stacked", "native")}
    for layout, store in stores.items():
        converted(PatchpressConverter(), Job(tree, store, layout, ("s2",), workers))
    flat, forms, listed = out / "read-flat.npy", out / "forms", out / "read-sources.json"
    mark = fingerprint(patches)
    if not listed.exists() or json.loads(listed.read_text()).get("fingerprint") != mark:
        listed.unlink(missing_ok=True)
        shutil.rmtree(forms, ignore_errors=True)
        write_flat(flat, patches, workers)
    keys = tuple(patch.key for patch in patches)
    sources = Sources(tree, stores["stacked"], stores["native"], flat, forms, keys)
    content = {**asdict(sources), "fingerprint": mark}
    listed.write_text(json.dumps(content, default=str))
    return listed


def fingerprint(patches: list[RawPatch]) -> str:
    """Give a digest that changes when the name, size or time of any file of the patches does."""
    digest = hashlib.sha256()
    for patch in patches:
        for _, path in patch.files:
            status = path.stat()
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def write_flat(path: Path, patches: list[RawPatch], workers: int) -> None:
    """Write all patches into one .npy, as rasterio reads them: what all others must equal."""
    shape = (len(patches), 12, 120, 120)
    flat = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=shape)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        for row, array in enumerate(pool.map(stacked, patches, chunksize=16)):
            flat[row] = array
    flat.flush()


def stacked(patch: RawPatch) -> npt.NDArray[np.generic]:
    """Read one patch with rasterio, coarse bands repeated."""
    return stack([read_band(path) for _, path in patch.files])
