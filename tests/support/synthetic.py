"""A maker of BigEarthNet v2 raw trees: the published names, tables and TIFF bytes, made-up pixels.

    python -m tests.support.synthetic --out DIR --n 1000 [--flagged 125] [--seed 0]

Only pixels, labels and the choice of patches are invented. Every TIFF has the layout of the
published ones, byte for byte: a file depends on its pixels, its EPSG code and its corner alone.
"""

import argparse
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.land import BANDS, Land, backscatter, draw_areas, draw_land, reflectance

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]
Pixels = npt.NDArray[np.uint16] | Floats

TABLE = "metadata.parquet"
FLAGGED_TABLE = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
GRID = 91  # patches along each side of a tile
GROUND = 1200  # metres along each side of a patch


class Product(NamedTuple):
    """One Sentinel-2 acquisition of one tile, and the Sentinel-1 scene paired with it."""

    name: str
    scene: str
    country: str
    epsg: int
    west: int  # upper-left corner of the tile, metres
    north: int


class Row(TypedDict):
    """One row of the official tables."""

    patch_id: str
    labels: list[str]
    split: str
    country: str
    s1_name: str
    s2v1_name: str
    contains_seasonal_snow: bool
    contains_cloud_or_shadow: bool


# Names, scenes and countries are those of rows of the official metadata.parquet (zenodo 10891137).
# Corners: a tile begins on the 60 m grid, at the edge of its MGRS square of 100 km; they agree with
# the published footprints of BigEarthNet v1.
PRODUCTS = (
    Product("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP", "S1B_IW_GRDH_1SDV_20170612T165809",
            "Austria", 32633, 300_000, 5_400_000),
    Product("S2A_MSIL2A_20171002T112111_N9999_R037_T29SNB", "S1A_IW_GRDH_1SDV_20171004T183450",
            "Portugal", 32629, 499_980, 4_200_000),
    Product("S2B_MSIL2A_20180326T112109_N9999_R037_T29SNB", "S1B_IW_GRDH_1SDV_20180327T183408",
            "Portugal", 32629, 499_980, 4_200_000),
    Product("S2B_MSIL2A_20180515T094029_N9999_R036_T35VNJ", "S1B_IW_GRDH_1SDV_20180517T154802",
            "Finland", 32635, 499_980, 6_900_000),
    Product("S2A_MSIL2A_20171208T093351_N9999_R136_T34TEN", "S1A_IW_GRDH_1SDV_20171207T162450",
            "Serbia", 32634, 499_980, 4_800_000),
    Product("S2B_MSIL2A_20180506T105029_N9999_R051_T31UER", "S1A_IW_GRDH_1SDV_20180508T055029",
            "Belgium", 32631, 499_980, 5_600_040),
)  # fmt: skip
FIRST_CELLS = ((26, 57), (3, 8), (15, 40), (0, 90))  # test, train, validation, a one-digit column

# CORINE level-3 codes of each class, from the BigEarthNet nomenclature.
CLASSES = {
    "Urban fabric": (111, 112), "Industrial or commercial units": (121,),
    "Arable land": (211, 212, 213), "Permanent crops": (221, 222, 223, 241), "Pastures": (231,),
    "Complex cultivation patterns": (242,),
    "Land principally occupied by agriculture, with significant areas of natural vegetation":
        (243,),
    "Agro-forestry areas": (244,), "Broad-leaved forest": (311,), "Coniferous forest": (312,),
    "Mixed forest": (313,), "Natural grassland and sparsely vegetated areas": (321, 333),
    "Moors, heathland and sclerophyllous vegetation": (322, 323),
    "Transitional woodland, shrub": (324,), "Beaches, dunes, sands": (331,),
    "Inland wetlands": (411, 412), "Coastal wetlands": (421, 422), "Inland waters": (511, 512),
    "Marine waters": (521, 522, 523),
}  # fmt: skip
CLASS_OF = {code: name for name, codes in CLASSES.items() for code in codes}
UNLABELLED = (122, 124, 131, 142, 332, 999)

# Band -> pixels along a side.
SIZES = {band: 20 if band in ("B01", "B09") else 120 if band in ("B02", "B03", "B04", "B08") else 60
         for band in BANDS}  # fmt: skip


def split_of(column: int, row: int) -> str:
    """Give the split of a cell, counted from west and north: test is the middle of the tile."""
    if 23 <= column <= 68 and 23 <= row <= 68:
        return "test"
    return "validation" if 13 <= column <= 77 and 13 <= row <= 77 else "train"


def tiff(pixels: Pixels, epsg: int, x: int, y: int, *, optical: bool = True,
         deflate: bool = False) -> bytes:  # fmt: skip
    """Give a GeoTIFF with one band (height, width), as published; x and y of its corner in metres.

    ``optical`` files have the nodata tag "0"; ``deflate`` is how reference maps are compressed.
    """
    height, width = pixels.shape
    rows = min(height, 8192 // (width * pixels.itemsize))  # of a strip: GDAL's default of 8 KiB
    strips = [encode(pixels[i : i + rows], deflate) for i in range(0, height, rows)]
    step = GROUND / width
    zone = f"WGS 84 / UTM zone {epsg % 100}N|WGS 84|\0".encode()
    keys = (1, 1, 0, 7, 1024, 0, 1, 1, 1025, 0, 1, 1, 1026, 34737, 22, 0, 2049, 34737, 7, 22,
            2054, 0, 1, 9102, 3072, 0, 1, epsg, 3076, 0, 1, 9001)  # fmt: skip
    sizes = "H" if optical and len(strips) > 1 and not deflate else "I"
    tags: list[tuple[int, str, Sequence[float]]] = [
        (256, "H", [width]), (257, "H", [height]), (258, "H", [8 * pixels.itemsize]),
        (259, "H", [8 if deflate else 1]), (262, "H", [1]), (273, "I", [0] * len(strips)),
        (277, "H", [1]), (278, "H", [rows]), (279, sizes, [len(s) for s in strips]),
        (284, "H", [1]), *([(317, "H", [2])] if deflate else []),
        (339, "H", [3 if pixels.dtype.kind == "f" else 1]), (33550, "d", [step, step, 0]),
        (33922, "d", [0, 0, 0, x, y, 0]), (34735, "H", keys), (34737, "B", zone),
        *([(42113, "B", b"0\0")] if optical else []),
    ]  # fmt: skip
    return directory(tags, strips)


def encode(strip: Pixels, deflate: bool) -> bytes:
    """Give the bytes of one strip; ``deflate`` first takes differences along each row."""
    if not deflate:
        return strip.tobytes()
    return zlib.compress(np.diff(strip, axis=1, prepend=strip.dtype.type(0)).tobytes())


def directory(tags: list[tuple[int, str, Sequence[float]]], strips: list[bytes]) -> bytes:
    """Join header, tags (code, struct kind, values), longer values and strips into one file."""
    kinds = {"B": 2, "H": 3, "I": 4, "d": 12}  # B: ASCII
    # Values too long for their tag follow the tags, in GDAL's order: the strips' byte counts first.
    values = {code: struct.pack(f"<{len(value)}{kind}", *value) for code, kind, value in tags}
    end = 8 + 2 + 12 * len(tags) + 4
    outside = sorted((c for c in values if len(values[c]) > 4), key=lambda c: (c != 279, c))
    start, at = {}, end
    for code in outside:
        start[code] = at
        at += len(values[code]) + len(values[code]) % 2
    offsets = [at + sum(map(len, strips[:i])) for i in range(len(strips))]
    values[273] = struct.pack(f"<{len(strips)}I", *offsets)
    entries = b"".join(
        struct.pack("<HHI4s", code, kinds[kind], len(values[code]) // struct.calcsize(kind),
                    struct.pack("<I", start[code]) if code in start else values[code])
        for code, kind, _ in tags
    )  # fmt: skip
    body = [values[c] + bytes(len(values[c]) % 2) for c in outside]
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    return b"".join([header, entries, bytes(4), *body, *strips])


def sentinel2(rng: np.random.Generator, land: Land, haze: str | None = None) -> dict[str, Codes]:
    """Draw the bands at their own resolution, uint16 in 1 .. 14,000; ``haze`` is snow or cloud."""
    seen = reflectance(rng, land, haze)
    bands = {}
    for pixels, (band, size) in zip(seen, SIZES.items(), strict=True):
        value = pixels.reshape(size, 120 // size, size, 120 // size).mean((1, 3))
        bands[band] = np.clip(value, 1, 14_000).astype(np.uint16)
    return bands


def sentinel1(rng: np.random.Generator, land: Land) -> dict[str, Floats]:
    """Draw VV and VH (120, 120), float32 decibels in -53 .. 23 with all their fraction bits."""
    return dict(zip(("VV", "VH"), np.clip(backscatter(rng, land), -53, 23), strict=True))


def reference_map(rng: np.random.Generator) -> Codes:
    """Draw areas of CORINE codes (120, 120), some with a corner of a code without a label."""
    classes = rng.choice(np.array(list(CLASSES), object), rng.integers(1, 6), replace=False)
    drawn = draw_areas(rng, np.array([rng.choice(CLASSES[name]) for name in classes], np.uint16))
    if rng.random() < 0.3:  # 3,500 of 14,400 pixels at most: reBEN keeps less than a quarter
        along = np.arange(120)
        corner = along[:, None] ** 2 + along**2 < rng.uniform(10, 65) ** 2
        drawn[corner] = rng.choice(UNLABELLED)
    return drawn


def draw_row(product: Product, column: int, row: int, codes: Codes, flag: str | None) -> Row:
    """Describe a patch as the official tables do; its labels are the classes on its map."""
    sensor, level, time, _, _, tile = product.name.split("_")
    return Row(
        patch_id=f"{product.name}_{column:02}_{row:02}",
        labels=sorted({CLASS_OF[c] for c in np.unique(codes).tolist() if c in CLASS_OF}),
        split=split_of(column, row),
        country=product.country,
        s1_name=f"{product.scene}_{tile[1:]}_{column}_{row}",
        s2v1_name=f"{sensor}_{level}_{time}_{column}_{row}",
        contains_seasonal_snow=flag == "snow",
        contains_cloud_or_shadow=flag == "cloud",
    )


def write_patch(root: Path, product: Product, cell: tuple[int, int], seed: int,
                flag: str | None) -> Row:  # fmt: skip
    """Write the fifteen files of one patch and give its row. The seed decides their bytes."""
    column, row = cell
    rng = np.random.default_rng((seed, PRODUCTS.index(product), column, row))
    codes = reference_map(rng)
    drawn = draw_row(product, column, row, codes, flag)
    s2, s1 = drawn["patch_id"], drawn["s1_name"]
    corner = product.epsg, product.west + GROUND * column, product.north - GROUND * row

    optical, radar, maps = (
        root / "BigEarthNet-S2" / product.name / s2,
        root / "BigEarthNet-S1" / product.scene / s1,
        root / "Reference_Maps" / product.name / s2,
    )
    for folder in (optical, radar, maps):
        folder.mkdir(parents=True)
    land = draw_land(rng, codes)
    for band, pixels in sentinel2(rng, land, flag).items():
        (optical / f"{s2}_{band}.tif").write_bytes(tiff(pixels, *corner))
    for band, decibels in sentinel1(rng, land).items():
        (radar / f"{s1}_{band}.tif").write_bytes(tiff(decibels, *corner, optical=False))
    (maps / f"{s2}_reference_map.tif").write_bytes(tiff(codes, *corner, deflate=True))
    return drawn


def is_flagged(row: Row) -> bool:
    """Whether a row is of the patches with snow, clouds or shadow."""
    return row["contains_seasonal_snow"] or row["contains_cloud_or_shadow"]


def write_table(path: Path, rows: list[Row]) -> None:
    """Write rows, sorted by patch, under the official schema and in the published form."""
    text = pa.string()
    schema = pa.schema([
        ("patch_id", text), ("labels", pa.list_(pa.field("element", text))), ("split", text),
        ("country", text), ("s1_name", text), ("s2v1_name", text),
        ("contains_seasonal_snow", pa.bool_()), ("contains_cloud_or_shadow", pa.bool_()),
    ])  # fmt: skip
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["patch_id"]), schema)
    pq.write_table(table, path, version="1.0", compression="zstd", use_dictionary=False,
                   store_schema=False, row_group_size=122_880)  # fmt: skip


def make_tree(root: Path, n: int = 8, flagged: int = 2, seed: int = 0) -> list[Row]:
    """Write a whole tree under ``root``: n patches, and ``flagged`` ones with snow or clouds.

    Gives all rows: those of metadata.parquet first, then the flagged ones, each part sorted by
    patch. Any n from 4 on has all three splits and an index of one digit.
    """
    random = np.random.default_rng(seed).permutation(GRID * GRID * len(PRODUCTS)).tolist()
    fixed = [GRID * GRID * i + GRID * column + row for i, (column, row) in enumerate(FIRST_CELLS)]
    cells = (fixed + [cell for cell in random if cell not in fixed])[: n + flagged]
    if n + flagged > len(random):
        raise ValueError(f"{n} + {flagged} patches asked for, but there are {len(random)} cells")
    clear: list[Row] = []
    hazy: list[Row] = []
    for i, numbered in enumerate(cells):
        flag = None if i < n else ("snow", "cloud")[(i - n) % 2]
        product, cell = divmod(numbered, GRID * GRID)
        drawn = write_patch(Path(root), PRODUCTS[product], divmod(cell, GRID), seed, flag)
        (clear if flag is None else hazy).append(drawn)
    write_table(Path(root) / TABLE, clear)
    write_table(Path(root) / FLAGGED_TABLE, hazy)
    return [row for rows in (clear, hazy) for row in sorted(rows, key=lambda row: row["patch_id"])]


def main() -> None:
    """Make a tree from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--n", type=int, default=1000, help="patches")
    parser.add_argument("--flagged", type=int, help="patches with snow or clouds (default: n / 8)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    flagged = args.n // 8 if args.flagged is None else args.flagged
    make_tree(args.out, args.n, flagged, args.seed)


if __name__ == "__main__":
    main()
