"""Makers of small trees in the published forms of BigEarthNet v1 and SEN12MS, pixels made up."""

import json
import shutil
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from patchpress.converter.descriptions.classes import load_class_list
from tests.support.helpers import geotiff
from tests.support.synthetic import Row

SCENE = "ROIs1158_spring"
DROPPED = "Green urban areas"  # one of the 43 classes that belongs to none of the 19


def labels_43(labels: list[str]) -> list[str]:
    """For each of these labels of 19 classes, the first of the 43 classes that becomes it."""
    old = load_class_list("corine-43")
    new = load_class_list("bigearthnet-19")
    back: dict[str | None, str] = {}
    for name, target in old.mapping_to(new).items():
        back.setdefault(target, name)
    return [back[label] for label in labels]


def make_v1(root: Path, v2: Path, rows: list[Row]) -> Path:
    """Write the patches of a v2 tree as v1 has them; the last one has only a dropped class."""
    for row in rows:
        s2, s1 = row["s2v1_name"], row["s1_name"]
        given = labels_43(row["labels"]) if row is not rows[-1] else [DROPPED]
        (old,) = (v2 / "BigEarthNet-S2").glob(f"*/{row['patch_id']}")
        folder = root / "BigEarthNet-v1.0" / s2
        folder.mkdir(parents=True)
        for file in old.iterdir():
            shutil.copy(file, folder / file.name.replace(row["patch_id"], s2))
        corners = _corners(folder / f"{s2}_B02.tif")
        content: dict[str, object] = {"labels": given, "coordinates": corners, "projection": "x"}
        _sidecar(folder, s2, content | {"tile_source": "x", "acquisition_date": "x"})
        (old,) = (v2 / "BigEarthNet-S1").glob(f"*/{s1}")
        folder = root / "BigEarthNet-S1-v1.0" / s1
        shutil.copytree(old, folder)
        content["coordinates"] = {k.replace("lry", "lly"): v for k, v in corners.items()}
        _sidecar(folder, s1, content | {"corresponding_s2_patch": s2, "scene_source": "x"})
    return root


def _corners(path: Path) -> dict[str, int]:
    with rasterio.open(path) as file:
        box = file.bounds
    return {k: int(v) for k, v in zip(("ulx", "lry", "lrx", "uly"), box, strict=True)}


def _sidecar(folder: Path, name: str, content: dict[str, object]) -> None:
    (folder / f"{name}_labels_metadata.json").write_text(json.dumps(content))


def make_sen12ms(root: Path, scenes: tuple[int, ...] = (1, 63), patches: int = 2) -> list[str]:
    """Write triplets of 256 x 256 pixels; gives the names of Sentinel-2.

    Scene 63 is one of those that the publisher holds out as the test split.
    """
    random = np.random.default_rng(3)
    names = []
    for scene in scenes:
        for number in range(patches):
            arrays = {
                "s2": random.integers(0, 10_000, (13, 256, 256), np.uint16),
                "s1": random.normal(-12, 4, (2, 256, 256)).astype(np.float32),
                "lc": _land_cover(random),
            }
            # The published corners are no whole metres.
            west, north = 286_708.59690667305 + 1280 * number, 5_400_000.25 - scene
            ground = Affine(10, 0, west, 0, -10, north)
            for kind, array in arrays.items():
                folder = root / SCENE / f"{kind}_{scene}"
                folder.mkdir(parents=True, exist_ok=True)
                file = folder / f"{SCENE}_{kind}_{scene}_p{30 + number}.tif"
                geotiff(file, array, crs="EPSG:32633", transform=ground)
            names.append(f"{SCENE}_s2_{scene}_p{30 + number}")
    return sorted(names)


def _land_cover(random: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """Draw IGBP codes in blocks of 16 pixels, some unclassified, and three bands of other codes."""
    blocks = random.choice([1, 4, 10, 12, 17, 255], (16, 16), p=[0.3, 0.05, 0.3, 0.2, 0.1, 0.05])
    igbp = np.kron(blocks, np.ones((16, 16))).astype(np.uint16)
    return np.stack([igbp, igbp + 1, igbp + 2, igbp + 3])
