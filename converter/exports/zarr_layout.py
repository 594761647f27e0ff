"""Which arrays a group of Zarr has for a store: their names, dimensions and attributes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from patchpress.converter.descriptions.parse import built_in_descriptions, load_description
from patchpress.converter.exports.names import ColumnNames
from patchpress.converter.exports.samples import is_one_array
from patchpress.converter.exports.selection import ExportSelection
from patchpress.converter.text import size
from patchpress.readers.errors import OptionError
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality

ROWS = "patch"
"""The first dimension of all that has an entry a patch; the array of that name has their names."""


@dataclass(frozen=True)
class PixelArray:
    """The array of a modality."""

    name: str
    shape: tuple[int, ...]
    """Of a patch: ([steps,] bands, height, width)."""
    dtype: np.dtype[Any]
    dimensions: tuple[str, ...]
    """Of `shape`."""
    facts: Mapping[str, Any]

    @property
    def row_bytes(self) -> int:
        """Of the pixels of a patch."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def absent(self) -> Any:
        """The value of the pixels of a patch that has no record."""
        return np.nan if self.dtype.kind == "f" else 0


def pixel_array(modality: Modality, manifest: Manifest, names: ColumnNames) -> PixelArray:
    """The array of a modality.

    Raises:
        OptionError: its records may differ in size.
    """
    if modality.any_size or not is_one_array(modality):
        raise OptionError(
            f"patches of {modality.name} may differ in size, and an array of Zarr has one: leave "
            "that modality out (--modality), or export geotiff or webdataset"
        )
    step = (f"{modality.name}_step",) if modality.steps else ()
    dimensions = (*step, *(f"{modality.name}_{end}" for end in ("band", "y", "x")))
    names.keep(dimensions)
    return PixelArray(
        names.of(modality.name),
        modality.array_shape,
        modality.dtype,
        dimensions,
        _band_facts(modality, _wavelengths(modality, manifest)),
    )


def _wavelengths(modality: Modality, manifest: Manifest) -> Mapping[str, float]:
    """Band -> its wavelength in nanometres, of built-in data sets, as far as it is known."""
    path = built_in_descriptions().get(manifest.dataset.name)
    source = load_description(path).modalities.get(modality.name) if path else None
    return source.wavelengths if source else {}


def _band_facts(modality: Modality, wavelengths: Mapping[str, float]) -> dict[str, Any]:
    bands = modality.bands
    facts: dict[str, Any] = {
        "title": modality.title,
        "kind": modality.kind,
        "bands": [band.name for band in bands],
        "gsd": [band.gsd for band in bands],
        "own_shape": [list(band.shape) for band in bands],
    }
    if any(band.name in wavelengths for band in bands):
        facts["wavelengths"] = [wavelengths.get(band.name) for band in bands]
    if modality.rgb:
        facts["rgb"] = list(modality.rgb)
    return facts


def group_facts(selection: ExportSelection, columns: Sequence[str]) -> dict[str, Any]:
    """The attributes of the group; xarray takes `columns` for coordinates, not for data."""
    manifest = selection.manifest
    return {
        **asdict(manifest.dataset),
        "classes": {name: list(names) for name, names in manifest.classes.items()},
        "target": manifest.target,
        "metadata_digest": manifest.metadata_digest,
        "coordinates": " ".join(name for name in columns if not any(map(str.isspace, name))),
    }


def rows_of_shard(arrays: Sequence[PixelArray], rows: int, shard_size: int, chunk: int) -> int:
    """How many patches a file has: a multiple of `chunk`, with so many bytes of pixels in all.

    Raises:
        OptionError: a chunk is larger than a shard.
    """
    row_bytes = sum(array.row_bytes for array in arrays)
    found = max(1, shard_size // row_bytes) // chunk * chunk
    if not found:
        raise OptionError(
            f"a chunk of {chunk:,} patches has {size(chunk * row_bytes)} of pixels, and a shard "
            f"{size(shard_size)}: give a smaller --chunk, or a larger --shard-size"
        )
    return min(found, -(-rows // chunk) * chunk)
