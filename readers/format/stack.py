"""Puts a coarse band onto the finest grid by repeating its pixels, and takes it out again."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

# A value times this constant, as an integer of twice the width, is the value twice in a row.
_TWICE: dict[int, tuple[type[np.unsignedinteger[Any]], int]] = {
    1: (np.uint16, 0x101),
    2: (np.uint32, 0x1_0001),
    4: (np.uint64, 0x1_0000_0001),
}
_UNSIGNED: dict[int, type[np.unsignedinteger[Any]]] = {1: np.uint8, 2: np.uint16, 4: np.uint32}


def repeat_into(band: Array, out: Array) -> None:
    """Fill `out` (H, W) with `band` (h, w), each pixel repeated H/h times down and W/w across.

    Exact for every dtype and bit pattern; `out[:: H // h, :: W // w]` gives `band` back. Both are
    C-contiguous and of one dtype; H and W are multiples of h and w.
    """
    height, width = band.shape
    down, across = out.shape[0] // height, out.shape[1] // width
    if down == 1 and across == 1:
        out[...] = band
        return
    size = band.dtype.itemsize
    if across % 2 == 0 and size in _TWICE:
        # Multiplying writes wide numbers in one pass; a repetition writes element by element.
        wide, factor = _TWICE[size]
        row = np.multiply(band.view(_UNSIGNED[size]), factor, dtype=wide)
        across //= 2
        target = out.view(wide)
    else:
        row, target = band, out
    if across > 1:
        row = np.repeat(row, across, axis=1)
    target.reshape(height, down, -1)[...] = row[:, None, :]


def unrepeat(band: Array, shape: tuple[int, int]) -> Array:
    """The coarse band (h, w) inside a repeated one (H, W): the exact inverse of `repeat_into`."""
    return band[:: band.shape[0] // shape[0], :: band.shape[1] // shape[1]]
