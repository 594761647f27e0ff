"""The coastlines of the world, from a file of this package: nothing is fetched.

Natural Earth 1:50m land, version 4.1.0, which is in the public domain, by way of world-atlas 2.0.2
(ISC licence, copyright 2013-2019 Michael Bostock). Rings below 0.01 square degrees are left out,
and points that lie within 0.03 degrees of a line through others. A ring that crosses longitude 180
is there twice, on both sides of the map.
"""

from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

UNIT = 0.01
"""Degrees."""


@cache
def coastlines() -> tuple[npt.NDArray[np.float64], ...]:
    """Closed rings (points, 2) of longitude and latitude in degrees, from large to small.

    `steps` (2, points) in the file has the way from each point of a ring to the next, the first one
    from 0, 0; `lengths` how many points each ring has.
    """
    with (files(__package__) / "coastline.npz").open("rb") as file:
        data = np.load(file, allow_pickle=False)
        steps, lengths = data["steps"].astype(np.int64), data["lengths"].astype(np.int64)
    ends = np.cumsum(lengths)
    return tuple(
        np.cumsum(steps[:, end - length : end], axis=1).T * UNIT
        for length, end in zip(lengths.tolist(), ends.tolist(), strict=True)
    )
