"""Where the patches of a store lie: longitude and latitude of their centres."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("epsg", "left", "bottom", "right", "top")
"""Columns of the table that tell a patch's EPSG code and corners, in its units."""


def places_of(table: "pa.Table") -> npt.NDArray[np.float32] | None:
    """Longitude and latitude in degrees (rows, 2) of the centres; None if the table has no places.

    Rows without a place, and those whose EPSG code PROJ does not know, are NaN.
    """
    if any(name not in table.column_names for name in COLUMNS):
        return None
    from rasterio.errors import RasterioError
    from rasterio.warp import transform

    codes, *corners = (
        table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in COLUMNS
    )
    left, bottom, right, top = corners
    found = np.full((len(table), 2), np.nan, np.float32)
    for code in np.unique(codes[np.isfinite(codes)]).astype(int).tolist():
        here = codes == code
        across, up = (left[here] + right[here]) / 2, (bottom[here] + top[here]) / 2
        try:
            found[here] = np.transpose(transform(f"EPSG:{code}", "EPSG:4326", across, up))
        except (RasterioError, ValueError):
            continue  # they stay NaN, and the page counts them
    return found if np.isfinite(found).any() else None
