"""Places of patches: as GDAL has them, in every system, and unknown ones counted as such."""

import numpy as np
import pytest
from rasterio.warp import transform

from patchpress.converter.tables.patch_places import patch_places

BOXES = {
    32633: (331_200, 5_330_400, 332_400, 5_331_600),
    32760: (520_000, 4_000_000, 520_600, 4_000_600),
    4326: (12.0, 41.0, 12.01, 41.01),
    3035: (4_321_000, 3_210_000, 4_322_000, 3_211_000),
    3413: (-500_000, -1_000_000, -499_000, -999_000),
    3031: (200_000, 300_000, 201_000, 301_000),
}


@pytest.mark.parametrize("code", BOXES)
def test_middles_and_corners_are_those_of_gdal(code: int) -> None:
    left, bottom, right, top = BOXES[code]
    places = patch_places(np.array([code]), np.array([BOXES[code]], float))
    (longitude,), (latitude,) = transform(
        f"EPSG:{code}", "EPSG:4326", [(left + right) / 2], [(bottom + top) / 2]
    )
    np.testing.assert_allclose(places.middles[0], [longitude, latitude], atol=1e-8)
    assert places.known.all()
    if code in (32633, 3035):
        np.testing.assert_allclose(places.side_km, (right - left) / 1000, rtol=0.01)


def test_what_has_no_place_is_not_known(capfd: pytest.CaptureFixture[str]) -> None:
    epsg = np.array([0, 32633, 9_999_999, 32633])
    bounds = np.array([BOXES[32633]] * 4, float)
    bounds[1, 2] = np.nan
    places = patch_places(epsg, bounds)
    assert places.known.tolist() == [False, False, False, True]
    assert places.unknown_codes == (9_999_999,)
    assert capfd.readouterr().err == ""
    assert np.isnan(patch_places(epsg[:1], bounds[:1]).side_km)
