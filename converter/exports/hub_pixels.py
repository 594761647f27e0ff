"""Pixels as columns of Arrow that `datasets` reads as arrays, in the store's own dtype.

They are nested lists, which Parquet has, and which hold NaN and unsigned numbers as they are; what
makes them arrays of a shape is a feature of type ``Array3D``.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.exports.samples import is_one_array
from patchpress.readers.errors import OptionError
from patchpress.readers.format.modality import Band, Modality

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
Feature = dict[str, Any]
"""A column's type, as JSON of `datasets.Features`."""


@dataclass(frozen=True)
class PixelColumn:
    """A column with the pixels of a modality, or of one of its bands."""

    source: str
    """As `sample_arrays` names it."""
    name: str
    """As the column is called."""
    modality: Modality
    bands: tuple[Band, ...]
    dtype: str
    shape: tuple[int | None, ...]
    """Without numbers if each record has its own."""

    @property
    def feature(self) -> Feature:
        """Its type for `datasets`: an array of one shape, else lists in lists."""
        if None not in self.shape:
            shape = list(self.shape)
            return {"shape": shape, "dtype": self.dtype, "_type": f"Array{len(shape)}D"}
        nested: Feature = {"dtype": self.dtype, "_type": "Value"}
        for _ in self.shape:
            nested = {"feature": nested, "_type": "List"}
        return nested

    @property
    def field(self) -> "pa.Field":
        """Its field in a file, which names the extension type that `datasets` registers."""
        import pyarrow as pa

        kind = pa.from_numpy_dtype(np.dtype(self.dtype))
        for _ in self.shape:
            kind = pa.list_(kind)
        if None in self.shape:
            return pa.field(self.name, kind)
        described = {
            "ARROW:extension:name": "datasets.features.features."
            f"Array{len(self.shape)}DExtensionType",
            "ARROW:extension:metadata": json.dumps([list(self.shape), self.dtype]),
        }
        return pa.field(self.name, kind, metadata=described)

    def values(self, arrays: Sequence[Array | None]) -> "pa.Array":
        """The arrays of some rows as one column; None is null."""
        return nested_lists(arrays, len(self.shape), self.dtype)


def pixel_columns(modality: Modality) -> list[PixelColumn]:
    """The columns of a modality, under the names that nobody else has yet.

    Raises:
        OptionError: a dtype that Arrow does not have.
    """
    for band in modality.bands:
        if np.dtype(band.dtype).kind not in "biuf":
            raise OptionError(
                f"band {band.name} of {modality.name} is {band.dtype}, which Parquet does not "
                "have: leave that modality out (--modality)"
            )
    name, time = modality.name, (modality.steps,) if modality.steps else ()
    if is_one_array(modality):
        shape: tuple[int | None, ...] = (*time, *modality.shape)
        if modality.any_size:
            shape = (None,) * len(shape)
        return [PixelColumn(name, name, modality, modality.bands, modality.dtype.name, shape)]
    return [
        PixelColumn(
            f"{name}.{band.name}",
            f"{name}_{band.name}",
            modality,
            (band,),
            np.dtype(band.dtype).name,
            (None,) * (len(time) + 2) if modality.any_size else (*time, *band.shape),
        )
        for band in modality.bands
    ]


def nested_lists(arrays: Sequence[Array | None], dimensions: int, dtype: str) -> "pa.Array":
    """Arrays of so many dimensions as lists in lists, each in its own shape; None is null."""
    import pyarrow as pa

    known = [array for array in arrays if array is not None]
    flat = [np.ascontiguousarray(array, np.dtype(dtype)).ravel() for array in known]
    values = pa.array(np.concatenate(flat) if flat else np.empty(0, np.dtype(dtype)))
    for depth in range(dimensions - 1, 0, -1):
        lengths = [np.full(np.prod(a.shape[:depth]), a.shape[depth]) for a in known]
        values = pa.ListArray.from_arrays(_offsets(lengths), values)
    outer = np.array([0 if array is None else len(array) for array in arrays], np.int64)
    absent = pa.array([array is None for array in arrays], pa.bool_())
    return pa.ListArray.from_arrays(_offsets([outer]), values, mask=absent)


def _offsets(lengths: Sequence[Array]) -> "pa.Array":
    """Where each list begins and the last one ends."""
    import pyarrow as pa

    ends = np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64)
    return pa.array(ends.astype(np.int32))
