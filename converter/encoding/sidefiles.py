"""Georeference that lies beside a TIFF: GDAL's ``.aux.xml``, world files, MapInfo's ``.tab``.

Other files beside a TIFF (``.ovr``, ``.msk``, statistics in ``.aux.xml``) do not change its pixels.
"""

import os
from collections.abc import Collection

from patchpress.converter.encoding.gdal import quiet_gdal
from patchpress.converter.encoding.tiff import Georeference, Ground, ground_of
from patchpress.readers.errors import PatchError

AUXILIARY = ".aux.xml"
"""Its georeference counts for GDAL more than that of the TIFF itself."""
_WORLD = (".tfw", ".tifw", ".wld", ".tab")
WORLD = (*_WORLD, *(ending.upper() for ending in _WORLD))
"""Endings, instead of that of the TIFF, of files that count if the TIFF has no georeference."""
_LARGEST = 1 << 20  # bytes of such a file


def files_beside(name: str) -> list[str]:
    """The names of all files that may have the georeference of a TIFF."""
    stem = os.path.splitext(name)[0]
    return [name + AUXILIARY, *(stem + ending for ending in WORLD)]


def with_files_beside(names: Collection[str], there: Collection[str]) -> frozenset[str]:
    """Which of some TIFFs have such a file among those that are `there`."""
    return frozenset(
        name for name in names if any(beside in there for beside in files_beside(name))
    )


def ground_with_files_beside(path: str) -> Ground | None:
    """The ground of a TIFF on the disk, as GDAL has it of the TIFF and of all files beside it.

    Raises:
        PatchError: GDAL does not open it, or such a file is far too large.
    """
    import rasterio

    for beside in files_beside(path):
        if os.path.isfile(beside) and os.path.getsize(beside) > _LARGEST:
            raise PatchError(f"{beside} is no file of a georeference: it has more than 1 MB")
    try:
        with quiet_gdal(), rasterio.open(path, driver="GTiff") as source:
            if source.transform.is_identity:
                return None
            epsg = source.crs.to_epsg() if source.crs else None
            known = Georeference(epsg, tuple(source.transform[:6]))
            return ground_of(known, source.height, source.width)
    except Exception as error:  # not all errors of GDAL are a RasterioError
        raise PatchError(f"{path} cannot be opened with the files beside it ({error})") from None
