"""What an image file says of itself: bands, dtype, size, georeference; and the codes of a map."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchpress.converter.drafting.looking import format_of
from patchpress.converter.encoding.gdal import quiet_gdal
from patchpress.converter.sources.contents import START, content

METRES_A_DEGREE = 111_320.0  # of latitude, and of longitude at the equator
MOST_CODES = 64  # a map has no more
# No other drivers: some read what a file names elsewhere.
_DRIVERS = {
    "tiff": "GTiff",
    "png": "PNG",
    "jpeg": "JPEG",
    "jpeg2000": "JP2OpenJPEG",
}
MOST_PIXELS = 4_096 * 4_096  # of an image whose values are looked at


@dataclass(frozen=True, slots=True)
class Facts:
    """One image file."""

    format: str
    bands: int
    dtype: str
    height: int
    width: int
    names: tuple[str, ...] = ()
    """What the file calls its bands, if it names each, and all differently."""
    gsd: float = 0.0
    """Metres of a pixel from north to south; 0 if that is unknown."""
    degrees: float = 0.0
    """The same in degrees, if the coordinates are in degrees; else 0."""
    bounds: tuple[float, ...] = ()
    """Left, bottom, right, top in units of its system; empty without a georeference."""
    crs: str = ""
    """The system of the bounds."""
    is_colour: bool = False
    """Whether its first bands are red, green and blue."""
    axes: str = ""
    """Of an array of NumPy: ``chw``, ``hwc`` or ``hw``."""
    has_alpha: bool = False
    """Whether its fourth band is transparency."""
    has_palette: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


class NoImage(Exception):
    """A file that cannot be read as an image; its text says why, as a clause."""


def facts_of(path: Path) -> Facts:
    """What a file says of itself; its pixels are not decoded.

    Raises:
        NoImage: it cannot be read.
    """
    try:
        return _of_npy(path) if format_of(path.name) == "npy" else _of_raster(path)
    except OSError as error:
        raise NoImage(error.strerror or "cannot be read") from None


def _of_npy(path: Path) -> Facts:
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(file)
        except (ValueError, KeyError):
            raise NoImage("is no NumPy array (.npy)") from None
    if len(shape) not in (2, 3) or dtype.hasobject or 0 in shape:
        raise NoImage(f"is an array of shape {shape}, not (bands, height, width)")
    axes = "hw" if len(shape) == 2 else "hwc" if shape[2] < min(shape[:2]) else "chw"
    sizes = dict(zip(axes, shape, strict=True))
    name = dtype.newbyteorder("=").name
    return Facts("npy", sizes.get("c", 1), name, sizes["h"], sizes["w"], axes=axes)


def _of_raster(path: Path) -> Facts:
    import rasterio
    from rasterio.enums import ColorInterp
    from rasterio.errors import RasterioError

    with path.open("rb") as file:
        start = file.read(START)
    known = content(start)
    if known is not None and not known.name.endswith("TIFF"):
        raise NoImage(f"is {known.name}")
    try:
        with warnings.catch_warnings(), quiet_gdal():
            warnings.simplefilter("ignore")
            with rasterio.open(path, driver=_DRIVERS[format_of(path.name)]) as image:
                gsd, degrees = _ground(image)
                colours = image.colorinterp[:3]
                alpha = image.count == 4 and image.colorinterp[3] is ColorInterp.alpha
                return Facts(
                    format=format_of(path.name),
                    bands=image.count,
                    dtype=image.dtypes[0],
                    height=image.height,
                    width=image.width,
                    names=_names(image.descriptions),
                    gsd=gsd,
                    bounds=tuple(image.bounds) if gsd else (),
                    degrees=degrees,
                    crs=str(image.crs) if gsd else "",
                    is_colour=colours == (ColorInterp.red, ColorInterp.green, ColorInterp.blue),
                    has_alpha=alpha,
                    has_palette=image.count == 1 and ColorInterp.palette in colours,
                )
    except (RasterioError, ValueError, IndexError):
        raise NoImage("is no image that GDAL reads") from None


def _names(descriptions: Sequence[str | None]) -> tuple[str, ...]:
    names = [(name or "").strip() for name in descriptions]
    usable = all(0 < len(name) <= 40 and name.isprintable() for name in names)
    return tuple(names) if usable and len(set(names)) == len(names) else ()


def _ground(image: Any) -> tuple[float, float]:
    """Metres and degrees of a pixel; zeros if they are unknown."""
    crs, step = image.crs, abs(image.transform.e)
    if not crs or image.transform.is_identity or not step:
        return 0.0, 0.0
    if crs.is_geographic:
        return step * METRES_A_DEGREE, step
    try:
        return step * crs.linear_units_factor[1], 0.0
    except Exception:  # rasterio raises its own error of each kind for a system without units
        return step, 0.0


def codes_of(path: Path) -> set[int] | None:
    """The values of a map's only band; None if they are too many, or cannot be read."""
    import rasterio
    from rasterio.errors import RasterioError

    try:
        if format_of(path.name) == "npy":
            pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with warnings.catch_warnings(), quiet_gdal():
                warnings.simplefilter("ignore")
                with rasterio.open(path, driver=_DRIVERS[format_of(path.name)]) as image:
                    if image.height * image.width > MOST_PIXELS:
                        return None
                    pixels = image.read(1)
    except (OSError, ValueError, RasterioError, MemoryError):
        return None
    if pixels.size > MOST_PIXELS or pixels.dtype.kind not in "iub":
        return None
    found = np.unique(pixels)
    return {int(code) for code in found} if len(found) <= MOST_CODES else None
