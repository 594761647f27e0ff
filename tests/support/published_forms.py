"""What smaller datasets look like as published, and a maker of such trees with made-up pixels.

Each `PublishedTree` lists records as rico-hdl writes them: key, tensors, and the file and band that
each tensor comes from. Its `sampled` records are those of the real samples; `further` ones show
what the samples lack: odd sizes, another folder level, a second sensor.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class File:
    """One TIFF: its bands become the tensors with these names."""

    path: str
    tensors: tuple[str, ...]
    dtype: str
    shape: tuple[int, int]
    pixel: float = 10
    """Size of a pixel in units of the coordinate reference system."""
    shift: float = 0
    """How far it lies to the north-west of the patch's other files, in the same units."""


@dataclass(frozen=True)
class Record:
    """One record: its key, its files, and what its row of the table says."""

    key: str
    files: tuple[File, ...]
    row: Mapping[str, object] = field(default_factory=dict)
    modality: str = "s2"
    usual: bool = True
    """Whether it has the size that most records of the dataset have."""

    @property
    def tensors(self) -> dict[str, File]:
        """Tensor -> its file, in the order of the bands."""
        return {name: file for file in self.files for name in file.tensors}


@dataclass(frozen=True)
class PublishedTree:
    """One dataset: the folder of its real samples, records, GDAL's options for its files."""

    sampled: tuple[Record, ...]
    further: tuple[Record, ...]
    folder: str = ""
    profile: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    """Files beside the patches that are no patches."""

    @property
    def records(self) -> tuple[Record, ...]:
        """All of them."""
        return self.sampled + self.further

    def write(self, root: Path, records: Iterable[Record] | None = None) -> Path:
        """Write files for the records, all of them by default; gives `root`."""
        random = np.random.default_rng(5)
        for record in self.records if records is None else records:
            for file in record.files:
                write_tiff(root / file.path, pixels_for(file, random), file, self.profile)
        for name in self.others:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"no patch")
        return root


def pixels_for(file: File, random: np.random.Generator) -> Array:
    """Draw (bands, height, width) of the file's dtype; floats are decibels."""
    shape = (len(file.tensors), *file.shape)
    if file.dtype == "float32":
        return random.normal(-12, 5, shape).astype(np.float32)
    most = np.iinfo(file.dtype).max
    return random.integers(0, min(most, 16_000), shape, file.dtype, endpoint=True)


def write_tiff(path: Path, pixels: Array, file: File, profile: Mapping[str, Any]) -> None:
    """Let GDAL write one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"driver": "GTiff", "dtype": file.dtype, "count": len(pixels)}
    options |= {"height": file.shape[0], "width": file.shape[1], **profile}
    if "crs" in options:
        left, top = (73.0, 30.0) if options["crs"] == "EPSG:4326" else (600_000.0, 5_300_000.0)
        corner = left - file.shift, top + file.shift
        options["transform"] = Affine(file.pixel, 0, corner[0], 0, -file.pixel, corner[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **options) as out:
            out.write(pixels)


def numbered(count: int) -> tuple[str, ...]:
    """B1, B2 and so on."""
    return tuple(f"B{number}" for number in range(1, count + 1))


S2_13 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B08A")
S2_12 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
COARSENESS = {"1": 6, "9": 6, "10": 6, "2": 1, "3": 1, "4": 1, "8": 1}
"""Number of a Sentinel-2 band -> how much coarser than 10 m it is; 2 for all others."""


def eurosat(label: str, number: int) -> Record:
    name = f"{label}_{number}"
    file = File(f"{label}/{name}.tif", S2_13, "uint16", (64, 64))
    return Record(name, (file,), {"patch_id": name, "label": label})


def uc_merced(label: str, number: int, shape: tuple[int, int] = (256, 256)) -> Record:
    name = f"{label}{number:02}"
    file = File(f"Images/{label}/{name}.tif", ("Red", "Green", "Blue"), "uint8", shape)
    row = {"patch_id": name, "label": label, "left": None, "epsg": None}
    return Record(name, (file,), row, "rgb", usual=shape == (256, 256))


def hydro(number: int) -> Record:
    name = f"patch_{number}"
    return Record(name, (File(f"{name}.tif", S2_12, "uint16", (256, 256)),), {"patch_id": name})


ENMAP_TILE = "ENMAP01-____L2A-DT0000004950_20221103T162438Z_001_V010110_20221118T145147Z"


def hyspecnet(place: str, *, above: str = "") -> Record:
    name = f"{ENMAP_TILE}-{place}"
    path = f"{above}{name}/{name}-SPECTRAL_IMAGE.TIF"
    file = File(path, numbered(224), "int16", (128, 128), 30)
    return Record(name, (file,), {"patch_id": name, "tile": ENMAP_TILE}, "enmap")


def spectralearth(place: str, number: int) -> Record:
    file = File(f"enmap/{place}/{number}.tif", numbered(202), "int16", (128, 128), 30)
    name = f"{place}_{number}"
    return Record(f"{name}.tif", (file,), {"patch_id": name, "place": place}, "enmap")


def by_band(
    folder: str, bands: tuple[str, ...], size: int, pixel: float, longer: int = 0, drift: float = 0
) -> tuple[File, ...]:
    """A file for each band. `drift`: fine pixels that 60 m bands lie off. `longer`: more rows."""
    files = []
    for band in bands:
        times = COARSENESS.get(band.removeprefix("B").lstrip("0"), 2 if band[0] == "B" else 1)
        shape = (size // times + (longer if times == 1 else 0), size // times)
        dtype = "uint16" if band[0] == "B" else "float32"
        shift = drift * pixel * (times - 1) / 5
        files.append(File(f"{folder}/{band}.tif", (band,), dtype, shape, pixel * times, shift))
    return tuple(files)


def ssl4eo(modality: str, place: str, product: str, longer: int = 0) -> Record:
    bands: tuple[str, ...] = ("VV", "VH")
    if modality != "s1":
        unpadded = (1, 2, 3, 4, 5, 6, 7, 8, "8A", 9, 10, 11, 12)
        bands = tuple(f"B{n}" for n in unpadded if n != 10 or modality == "s2c")
    files = by_band(f"{modality}/{place}/{product}", bands, 264, 0.0001, longer, drift=2.5)
    row = {"patch_id": f"{place}_{product}", "place": place, "product": product, "epsg": 4326}
    return Record(f"{modality}_{place}_{product}", files, row, modality, usual=not longer)


def major_tom(cell: str, product: str, size: int = 1068, pixel: float = 10) -> Record:
    modality, folder = ("s1", "S1RTC") if product.startswith("S1") else ("s2", "S2L2A")
    bands = ("vv", "vh") if modality == "s1" else S2_12
    place = f"{folder}/{cell.split('_')[0]}/{cell}/{product}"
    row = {"patch_id": f"{cell}_{product}", "cell": cell, "product": product}
    files = by_band(place, bands, size, pixel)
    return Record(f"{cell}_{product}", files, row, modality, usual=size == 1068)


S2_OPTICAL = "20200604T054639_20200604T054831_T43RCP"
S2_LATER = "20200823T054639_20200823T055618_T43RCP"
S1_SCENE = "S1A_IW_GRDH_1SDV_20200607T010800_20200607T010825_032904_03CFBA_D457"
TOM_S2 = "S2B_MSIL2A_20200223T032739_N9999_R018_T48QUE_20230924T183543"
TOM_S1 = "S1B_IW_GRDH_1SDV_20210827T012624_20210827T012653_028425_036437_rtc"
UTM = {"crs": "EPSG:32632"}

TREES = {
    "eurosat": PublishedTree(
        (eurosat("AnnualCrop", 1), eurosat("Pasture", 300)),
        (eurosat("SeaLake", 3000),),
        "EuroSAT_MS",
        {"interleave": "pixel", **UTM},
    ),
    "uc-merced": PublishedTree(
        (uc_merced("airplane", 0), uc_merced("airplane", 42)),
        (uc_merced("forest", 10, (256, 242)), uc_merced("beach", 7, (247, 257))),
        "UCMerced_LandUse",
        {"interleave": "pixel", "photometric": "rgb"},
    ),
    "hydro": PublishedTree(
        (hydro(0), hydro(10)),
        (hydro(1000),),
        "Hydro",
        {"interleave": "pixel", "compress": "lzw", "tiled": True, **UTM},
    ),
    "hyspecnet-11k": PublishedTree(
        (hyspecnet("Y01460273_X03110438"),),
        (hyspecnet("Y01460273_X04390566", above=f"{ENMAP_TILE}/"),),
        "HySpecNet-11k",
        {"interleave": "band", "compress": "deflate", "nodata": -32768, **UTM},
        (
            f"{ENMAP_TILE}-Y01460273_X03110438/{ENMAP_TILE}-Y01460273_X03110438-QL_SWIR.TIF",
            f"{ENMAP_TILE}-Y01460273_X03110438/{ENMAP_TILE}-Y01460273_X03110438-THUMBNAIL.jpg",
        ),
    ),
    "spectralearth": PublishedTree(
        (), (spectralearth("0001_33UVP", 0), spectralearth("0001_33UVP", 1)), profile=UTM
    ),
    "ssl4eo-s12": PublishedTree(
        (
            ssl4eo("s2c", "0000200", S2_OPTICAL),
            ssl4eo("s2a", "0000200", S2_OPTICAL),
            ssl4eo("s1", "0000200", S1_SCENE),
        ),
        (ssl4eo("s2c", "0000201", S2_LATER, longer=1), ssl4eo("s1", "0000201", S1_SCENE, longer=1)),
        "SSL4EO-S12",
        {"crs": "EPSG:4326"},
        (f"s2c/0000200/{S2_OPTICAL}/metadata.json",),
    ),
    "major-tom-core": PublishedTree(
        (),
        (
            major_tom("199U_1099R", TOM_S2),
            major_tom("199U_1099R", TOM_S1),
            major_tom("195D_241R", TOM_S1, 1424, 7.5),
        ),
        profile=UTM,
        others=(
            f"S2L2A/199U/199U_1099R/{TOM_S2}/cloud_mask.tif",
            f"S2L2A/199U/199U_1099R/{TOM_S2}/thumbnail.png",
            f"S1RTC/199U/199U_1099R/{TOM_S1}/thumbnail.png",
        ),
    ),
}

OTHER_RECORDS = {"ssl4eo-s12": ["ssl4eo-s12-seasons"]}
"""Data set -> further descriptions of the same tree, which make other records of it."""
