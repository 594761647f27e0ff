"""Puts a coarse band onto the finest grid by repeating its pixels, and takes it out again."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

# A value times this constant, as an integer of twice the width, is the value twice in a row.
_TWICE: dict[int, tuple[type[np.unsignedinteger[Any]], Any]] = {
    1: (np.uint16, np.uint16(0x101)),
    2: (np.uint32, np.uint32(0x1_0001)),
    4: (np.uint64, np.uint64(0x1_0000_0001)),
}
_UNSIGNED: dict[int, type[np.unsignedinteger[Any]]] = {1: np.uint8, 2: np.uint16, 4: np.uint32}


def repeat_into(band: Array, out: Array) -> None:
    """Fill `out` (H, W) with `band` (h, w), each pixel repeated H/h times down and W/w across.

    Exact for every dtype and bit pattern; `out[:: H // h, :: W // w]` gives `band` back. Both are
    C-contiguous and of one dtype; H and W are multiples of h and w. Bands of one shape that lie one
    after the other in both are repeated fastest together, as one that is so many times as high.
    """
    height, width = band.shape
    down, across = out.shape[0] // height, out.shape[1] // width
    if down == 1 and across == 1:
        out[...] = band
        return
    rows = _repeated_across(band, across)
    out = out.view(rows.dtype)
    out.reshape(height, down, -1)[...] = rows[:, np.newaxis]


def repeat_many(
    bands: Array, out: Array, rows: Any, targets: Sequence[tuple[slice, slice]]
) -> None:
    """Repeat coarse bands of several patches onto a grid, as `repeat_into` does, in few steps.

    Args:
        bands: (patches, bands, h, w), of which pixels of a patch lie together.
        out: (N, channels, H, W), C-contiguous.
        rows: which patches of `out` they become: a slice, or a list of numbers.
        targets: which of the bands become which channels of `out`.
    """
    height, width = bands.shape[-2:]
    down, across = out.shape[-2] // height, out.shape[-1] // width
    lines = _repeated_across(bands, across)
    out = out.view(lines.dtype)
    grid = out.reshape(*out.shape[:2], height, down, -1)
    for source, channels in targets:
        grid[rows, channels] = lines[:, source, :, np.newaxis]


def _repeated_across(bands: Array, across: int) -> Array:
    """Bands (..., h, w), each pixel `across` times along its line; twice as one wide number."""
    size = bands.dtype.itemsize
    if across == 2 and size in _TWICE:
        # Wide numbers are written in one pass, which a repetition does element by element. To
        # multiply them in place is faster than to let the multiplication make them wide.
        wide, factor = _TWICE[size]
        lines = bands.view(_UNSIGNED[size]).astype(wide)
        lines *= factor
        return lines
    return bands if across == 1 else bands.take(_repeated(bands.shape[-1], across), axis=-1)


@lru_cache(maxsize=64)
def _repeated(count: int, times: int) -> npt.NDArray[np.intp]:
    """The first `count` numbers, each so many times."""
    return np.repeat(np.arange(count), times)


def unrepeat(band: Array, shape: tuple[int, int]) -> Array:
    """The coarse band (h, w) inside a repeated one (H, W): the exact inverse of `repeat_into`."""
    return band[:: band.shape[0] // shape[0], :: band.shape[1] // shape[1]]
