"""A band on another grid, mostly a finer one: nearest, bilinear or cubic.

Both grids cover the same ground, so their pixel centres differ (PyTorch calls that
``align_corners=False``). Nearest repeats pixels, which can be undone exactly. Bilinear and cubic
(Catmull-Rom, a = -0.5) are those of GDAL: at an edge, pixels outside have no weight, and the other
weights are scaled so that their sum is 1. On a coarser grid their kernels are as many times wider.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from patchpress.converter.encoding.tiff import Array
from patchpress.readers.format.stack import repeat_into

# Half a step of rounding, and a little more than the error of a sum of 16-bit values: that must not
# make less of a half.
_HALF = 0.5 + 1e-9


def resample_into(band: Array, out: Array, method: str) -> None:
    """Fill `out` (H, W) from `band` (h, w) of the same dtype.

    Integers are rounded to the nearest, halves away from zero as GDAL does, and to the limits of
    their dtype if they exceed those.
    """
    if method == "nearest" or band.shape == out.shape:
        if out.shape[0] % band.shape[0] or out.shape[1] % band.shape[1]:
            rows, columns = (_nearest(n, to) for n, to in zip(band.shape, out.shape, strict=True))
            np.take(band[rows], columns, axis=1, out=out)
        else:
            repeat_into(band, out)
        return
    down = weights(band.shape[0], out.shape[0], method)
    across = weights(band.shape[1], out.shape[1], method)
    # In float64 the error of a sum of 16-bit values is far below 0.5, the step of rounding.
    exact = band.astype(np.float64)
    finite = np.isfinite(exact)
    values = down @ np.where(finite, exact, 0) @ across.T
    if not finite.all():
        _mark_infinite(values, exact, down, across)
    if np.issubdtype(out.dtype, np.integer):
        limits = np.iinfo(out.dtype)
        values = np.copysign(np.floor(np.abs(values) + _HALF), values)
        np.clip(values, limits.min, limits.max, out=values)
    out[...] = values


def _mark_infinite(
    values: npt.NDArray[np.float64],
    band: npt.NDArray[np.float64],
    down: npt.NDArray[np.float64],
    across: npt.NDArray[np.float64],
) -> None:
    """Make those pixels NaN or infinite to which a pixel of the band contributes that is so.

    In a product of matrices each such pixel would spoil all others of its row, as 0 times NaN is
    NaN.
    """

    def touched(pixels: npt.NDArray[np.bool_], *, positive: bool) -> npt.NDArray[np.bool_]:
        """Where pixels come in with a weight above 0, or below it."""
        found = np.zeros(values.shape, bool)
        for one in (1, -1):
            other = one if positive else -one
            rows, columns = (one * down > 0), (other * across > 0)
            found |= rows.astype(np.float64) @ pixels @ columns.T > 0
        return found

    high, low = np.isposinf(band), np.isneginf(band)
    up = touched(high, positive=True) | touched(low, positive=False)
    under = touched(low, positive=True) | touched(high, positive=False)
    nan = np.isnan(band)
    values[up], values[under] = np.inf, -np.inf
    values[(up & under) | touched(nan, positive=True) | touched(nan, positive=False)] = np.nan


def _nearest(pixels: int, wanted: int) -> npt.NDArray[np.int64]:
    """The pixel of an axis that is nearest to the centre of each of those wanted."""
    return (2 * np.arange(wanted) + 1) * pixels // (2 * wanted)


@lru_cache(maxsize=64)
def weights(pixels: int, wanted: int, method: str) -> npt.NDArray[np.float64]:
    """The matrix that resamples one axis: (wanted, pixels), how much of each pixel goes where."""
    centres = (np.arange(wanted) + 0.5) * pixels / wanted - 0.5
    distance = np.abs(centres[:, None] - np.arange(pixels)[None, :])
    distance /= max(1.0, pixels / wanted)
    matrix = _linear(distance) if method == "bilinear" else _cubic(distance)
    normal: npt.NDArray[np.float64] = matrix / matrix.sum(axis=1, keepdims=True)
    return normal


def _linear(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - distance)


def _cubic(distance: npt.NDArray[np.float64], a: float = -0.5) -> npt.NDArray[np.float64]:
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
