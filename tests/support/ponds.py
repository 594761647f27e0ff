"""A tiny data set of one band a patch, and the description of it, for tests of its tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from patchpress import Report, convert
from tests.support.helpers import geotiff

NAMES = "abcd"
"""The names of the patches."""
_HEAD = """
[dataset]
name = "ponds"
version = "1"
title = "Ponds"
licence = "CC0-1.0"
url = "https://example.org"
citation = "nobody"

[modalities.s2]
title = "Reflectance"
kind = "image"
folder = "."
path = "{path}"
key = "{{patch_id}}"
{name}
bands = [{{ name = "B1", gsd = 10, dtype = "uint8", shape = [4, 4] }}]

[modalities.s2.fields]
{fields}
"""
_FLAT = {"path": "{patch_id}.tif", "name": "", "fields": "patch_id = '[a-z]'"}
_SITES = {
    "path": "{site}/{chip}.tif",
    "name": 'name = "{site}/{chip}"',
    "fields": "site = '[a-z]+'\nchip = '[a-z]'",
}


def ponds(tmp_path: Path, sites: Mapping[str, str] | None = None) -> Path:
    """The folder of the data set: flat, or with a folder for each site."""
    root = tmp_path / "ponds"
    for site, names in (sites or {"": NAMES}).items():
        (root / site).mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            pixels = np.full((1, 4, 4), number, np.uint8)
            ground = Affine(10, 0, 40 * number, 0, -10, 0)
            geotiff(root / site / f"{name}.tif", pixels, crs="EPSG:32633", transform=ground)
    return root


def described_ponds(root: Path, text: str) -> Path:
    """The description beside the folder, with more tables of TOML at its end."""
    flat = (root / "a.tif").exists()
    file = root.parent / "ponds.toml"
    file.write_text(_HEAD.format(**(_FLAT if flat else _SITES)) + text)
    return file


def convert_ponds(root: Path, text: str, **options: Any) -> Report:
    """Convert in this process to `store` beside the folder of the data set."""
    return convert(described_ponds(root, text), root, root.parent / "store", workers=0, **options)
