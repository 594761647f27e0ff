"""Makers of small trees in the form that documents and loaders tell, pixels made up.

Each gives the files of its records: key -> (file, or band -> file).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from tests.support.helpers import Array, geotiff

Files = dict[str, Path | dict[str, Path]]

DEGREES = Affine(8.983152841195e-05, 0, -0.78, 0, -8.983152841195e-05, 38.1)
S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
COARSE = {"B01": 6, "B09": 6, "B02": 1, "B03": 1, "B04": 1, "B08": 1}
WORLD_COVER = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)


def _write(path: Path, pixels: Array, transform: Affine, crs: str, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return geotiff(path, pixels, crs=crs, transform=transform, **options)


def make_sen12ms_cr(root: Path, scenes: Mapping[str, tuple[int, ...]]) -> Files:
    """Two triplets of each scene: season -> scenes."""
    random = np.random.default_rng(1)
    files: Files = {}
    for season, numbers in scenes.items():
        for scene in numbers:
            for patch in (30, 31):
                ground = Affine(10, 0, 300_000 + 1280 * patch, 0, -10, 5_400_000 - 10 * scene)
                for kind, bands in (("s2", 13), ("s2_cloudy", 13), ("s1", 2)):
                    name = f"{season}_{kind}_{scene}_p{patch}"
                    pixels = random.integers(0, 10_000, (bands, 256, 256), np.uint16)
                    if kind == "s1":
                        pixels = (pixels / 1_000 - 20).astype(np.float32)
                    path = root / f"{season}_{kind}" / f"{kind}_{scene}" / f"{name}.tif"
                    files[name] = _write(path, pixels, ground, "EPSG:32633")
    return files


def make_sen1floods11(root: Path, chips: Mapping[str, str], *, nan: bool = False) -> Files:
    """Chips with their lists: chip -> the list that has it (train, valid, test or bolivia)."""
    random = np.random.default_rng(2)
    files: Files = {}
    hand = root / "v1.1" / "data" / "flood_events" / "HandLabeled"
    lists = root / "v1.1" / "splits" / "flood_handlabeled"
    lists.mkdir(parents=True)
    for chip, name in chips.items():
        radar = random.normal(-12, 4, (2, 512, 512)).astype(np.float32)
        if nan:
            radar[:, :, 500:] = np.nan
        layers = {
            "S1Hand": radar,
            "S2Hand": random.integers(0, 9_000, (13, 512, 512), np.int16),
            "LabelHand": random.integers(-1, 2, (1, 512, 512), np.int16),
        }
        for layer, pixels in layers.items():
            path = hand / layer / f"{chip}_{layer}.tif"
            files[path.stem] = _write(path, pixels, DEGREES, "EPSG:4326", compress="deflate")
        with (lists / f"flood_{name}_data.csv").open("a") as file:
            file.write(f"{chip}_S1Hand.tif,{chip}_LabelHand.tif\n")
    return files


def make_ben_ge(root: Path, numbers: tuple[int, ...] = (1, 2, 3)) -> Files:
    """Patches of v1's names in one folder for each modality, as the published loaders have them."""
    random = np.random.default_rng(3)
    files: Files = {}
    meta = ["patch_id,patch_id_s1,timestamp_s2,timestamp_s1,season_s2,season_s1,lon,lat"]
    splits = root / "splits"
    splits.mkdir(parents=True)
    for number, split in zip(numbers, ("train", "val", "test"), strict=False):
        s2 = f"S2A_MSIL2A_20170613T101031_{number}_57"
        s1 = f"S1B_IW_GRDH_1SDV_20170612T165809_33UUP_{number}_57"
        corner = 300_000 + 1_200 * number

        def ground(pixel: int, corner: int = corner) -> Affine:
            return Affine(pixel, 0, corner, 0, -pixel, 5_400_000)

        optical, radar = {}, {}
        for band in S2_BANDS:
            times = COARSE.get(band, 2)
            size = 120 // times
            pixels = random.integers(0, 9_000, (1, size, size), np.uint16)
            path = root / "sentinel-2" / s2 / f"{s2}_{band}.tif"
            optical[band] = _write(path, pixels, ground(10 * times), "EPSG:32633")
        for band in ("VV", "VH"):
            pixels = random.normal(-12, 4, (1, 120, 120)).astype(np.float32)
            path = root / "sentinel-1" / s1 / f"{s1}_{band}.tif"
            radar[band] = _write(path, pixels, ground(10), "EPSG:32633")
        heights = random.integers(-5, 2_000, (1, 120, 120), np.int16)
        dem = _write(root / "dem" / f"{s2}_dem.tif", heights, ground(10), "EPSG:32633")
        cover = random.choice(np.array(WORLD_COVER, np.uint8), (1, 120, 120))
        path = root / "esaworldcover" / f"{s2}_esaworldcover.tif"
        cover_file = _write(path, cover, ground(10), "EPSG:32633")
        files |= {s2: optical, s1: radar, f"{s2}_dem": dem, f"{s2}_esaworldcover": cover_file}
        labels = {"labels": ["Pastures", "Water bodies"]}
        for folder, name, more in (
            ("sentinel-2", s2, {}),
            ("sentinel-1", s1, {"corresponding_s2_patch": s2}),
        ):
            sidecar = root / folder / name / f"{name}_labels_metadata.json"
            sidecar.write_text(json.dumps(labels | more))
        meta.append(f"{s2},{s1},2017-06-13,2017-06-12,0.99,0.99,12.3,48.7")
        (splits / f"ben-ge_{split}.csv").write_text(f"{s2}\n")
    (root / "ben-ge_meta.csv").write_text("\n".join(meta) + "\n")
    return files


GASES = {
    "co": "CO_column_number_density",
    "no2": "tropospheric_NO2_column_number_density",
    "o3": "O3_column_number_density",
    "so2": "SO2_column_number_density",
}


def make_copernicus_pretrain(root: Path, grids: tuple[int, ...] = (7, 8)) -> Files:
    """One image of each modality for each cell; of a gas two months."""
    random = np.random.default_rng(4)
    files: Files = {}

    def floats(bands: int, size: int) -> Array:
        return random.normal(0, 1, (bands, size, size)).astype(np.float32)

    for number in grids:
        grid, place = f"{number:07}_-0.25_38.50", f"{251_000 + number:07}_-0.20_38.41"
        utm, wgs = Affine(10, 0, 300_000, 0, -10, 4_000_000), DEGREES
        s2, s1 = "20220104T101029_20220104T101132_T33UUP", f"S1A_IW_GRDH_1SDV_2022010{number}T05"
        optical = random.integers(0, 9_000, (13, 264, 264), np.uint16)
        images = f"images/{grid}"
        made: list[tuple[str, str, Array, Affine, str]] = [
            (
                f"s2_toa_{place}_{s2}",
                f"s2_toa_mix/{images}/{place}/{s2}.tif",
                optical,
                utm,
                "32633",
            ),
            (
                f"s1_grd_{place}_{s1}",
                f"s1_grd_utm/{images}/{place}/{s1}.tif",
                floats(2, 264),
                utm,
                "32633",
            ),
            (
                f"s3_olci_{grid}_S3A_2022",
                f"s3_olci_wgs/{images}/S3A_2022.tif",
                floats(21, 96),
                wgs,
                "4326",
            ),
            (f"dem_{grid}", f"dem_grid_wgs/{images}/dem.tif", floats(1, 960), wgs, "4326"),
        ]
        for gas, folder in GASES.items():
            for month in ("2021-01-01_2021-02-01", "2021-03-01_2021-04-01"):
                path = f"s5p_l3_wgs/images/{folder}/{grid}/{month}.tif"
                made.append((f"s5p_{gas}_{grid}_{month}", path, floats(1, 28), wgs, "4326"))
        for key, path, pixels, transform, code in made:
            files[key] = _write(root / path, pixels, transform, f"EPSG:{code}")
    return files
