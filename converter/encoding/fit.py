"""A band of another size than the usual one: cropped, padded or resized to it, and its ground.

Cropping and padding keep the upper left corner, so that bands of several resolutions stay one above
the other.
"""

import numpy as np

from patchpress.converter.encoding.resample import resample_into
from patchpress.converter.encoding.tiff import Array, Ground
from patchpress.readers.errors import PatchError


def fit(band: Array, shape: tuple[int, int], rule: str, method: str) -> Array:
    """A band (h, w) as one of `shape`.

    Args:
        band: of any size.
        shape: (height, width) wanted.
        rule: ``crop``, ``pad`` (with zeros, and cropped if it is larger) or ``resize``.
        method: how it is resized: ``nearest``, ``bilinear`` or ``cubic``.

    Raises:
        PatchError: a band that is too small to be cropped. Put the name of the file before it.
    """
    if band.shape == shape:
        return band
    if rule == "resize":
        resized = np.empty(shape, band.dtype)
        resample_into(np.ascontiguousarray(band), resized, method)
        return resized
    cut = band[: shape[0], : shape[1]]
    if cut.shape == shape:
        return cut
    if rule == "crop":
        raise PatchError(
            f"has {size_of(band)} pixels, from which {shape[0]} x {shape[1]} cannot be cropped: "
            "--size pad or resize takes it"
        )
    padded = np.zeros(shape, band.dtype)
    padded[: cut.shape[0], : cut.shape[1]] = cut
    return padded


def fitted_ground(
    ground: Ground | None, found: tuple[int, ...], shape: tuple[int, int], rule: str
) -> Ground | None:
    """The ground of a band after `fit`; before it had `found` pixels (height, width)."""
    if ground is None or rule == "resize":
        return ground
    down = (ground.top - ground.bottom) / found[0]
    across = (ground.right - ground.left) / found[1]
    bottom, right = ground.top - down * shape[0], ground.left + across * shape[1]
    return ground._replace(bottom=bottom, right=right)


def size_of(band: Array) -> str:
    """Height and width of a band, for sentences."""
    return f"{band.shape[0]} x {band.shape[1]}"
