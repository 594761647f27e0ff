"""Images that are no TIFF, as GDAL reads them."""

import numpy as np

from patchpress.converter.encoding.gdal import quiet_gdal
from patchpress.converter.encoding.promises import Expected, check_image
from patchpress.converter.encoding.tiff import Array, Georeference
from patchpress.readers.errors import PatchError


def by_gdal(data: bytes, driver: str, expected: Expected) -> Array:
    """What GDAL reads of a file whose size was checked.

    Raises:
        PatchError: GDAL refuses it, or it is not as expected.
    """
    import rasterio

    try:
        with (
            quiet_gdal(),
            rasterio.MemoryFile(data) as memory,
            memory.open(driver=driver) as source,
        ):
            dtype = np.dtype(source.dtypes[0])
            check_image(expected, dtype, source.count, source.height, source.width)
            return np.asarray(source.read())
    except PatchError:
        raise
    except Exception as error:  # not all errors of GDAL are a RasterioError
        raise PatchError(f"is no {driver} that can be read ({error.__cause__ or error})") from None


def georeference_by_gdal(data: bytes, driver: str) -> Georeference | None:
    """What GDAL finds in the file itself."""
    import rasterio

    try:
        with (
            quiet_gdal(),
            rasterio.MemoryFile(data) as memory,
            memory.open(driver=driver) as source,
        ):
            if source.transform.is_identity:
                return None
            epsg = source.crs.to_epsg() if source.crs else None
            return Georeference(epsg, tuple(source.transform[:6]))
    except Exception as error:  # not all errors of GDAL are a RasterioError
        reason = error.__cause__ or error
        raise PatchError(f"has a georeference that cannot be read ({reason})") from None
