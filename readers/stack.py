"""Bands at their own resolution to one (bands, height, width) array, by repetition. NumPy only."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

# A value times this constant, as an integer of twice the width, is the value twice in a row.
_TWICE = {1: (np.uint16, 0x101), 2: (np.uint32, 0x1_0001), 4: (np.uint64, 0x1_0000_0001)}
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def repeat_into(band: Array, out: Array) -> None:
    """Fill `out` (H, W) with `band` (h, w), each pixel repeated H/h times down and W/w across.

    Exact for every dtype and bit pattern; `out[:: H // h, :: W // w]` gives `band` back. Both must
    have one dtype, `out` C-contiguous rows, H and W multiples of h and w.
    """
    height, width = band.shape
    down, across = out.shape[0] // height, out.shape[1] // width
    if down == 1 and across == 1:
        out[...] = band
        return
    rows = out[::down]
    size = band.dtype.itemsize
    if across % 2 == 0 and size in _TWICE:
        # Multiplying is one pass of wide stores, where a broadcast writes element by element.
        wide, factor = _TWICE[size]
        bits = np.ascontiguousarray(band).view(_UNSIGNED[size])
        pairs = np.multiply(bits, factor, dtype=wide)
        if across == 2:
            rows.view(wide)[...] = pairs
        else:
            target = rows.view(wide)
            for column in range(across // 2):
                target[:, column :: across // 2] = pairs
    else:
        for column in range(across):
            rows[:, column::across] = band
    for row in range(1, down):
        out[row::down] = rows


def unrepeat(band: Array, shape: tuple[int, int]) -> Array:
    """The coarse band (h, w) inside a repeated one (H, W): the exact inverse of `repeat_into`."""
    return band[:: band.shape[0] // shape[0], :: band.shape[1] // shape[1]]
