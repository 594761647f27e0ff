"""Bands of a record in the size that its source has them in, as far as a store keeps that."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from patchpress.converter.exports.record_pixels import RecordPixels
from patchpress.converter.exports.selection import ExportSelection
from patchpress.readers.format.modality import Band, Modality

Array = npt.NDArray[Any]


def bands_own_size(records: RecordPixels, key: str) -> Mapping[str, Array]:
    """Bands of a record by name, each ([steps,] height, width).

    Pixels that were only repeated to stack a coarse band are taken once; a band that was
    interpolated stays on the finest grid.

    Raises:
        KeyMissing, StoreDamaged: as `Store.read_bands`.
    """
    modality, bands = records.modality, records.bands(key)
    if modality.layout != "stacked":
        return bands
    return {
        band.name: _taken_once(bands[band.name], band) if _is_repeated(modality, band) else found
        for band, found in zip(modality.bands, bands.values(), strict=True)
    }


def _is_repeated(modality: Modality, band: Band) -> bool:
    """Whether each of its pixels stands on the finest grid several times, unchanged."""
    _, height, width = modality.shape
    fits = height % band.shape[0] == 0 and width % band.shape[1] == 0
    exact = modality.resampling == "nearest" or modality.kind == "classes"
    return band.shape != (height, width) and fits and exact


def _taken_once(found: Array, band: Band) -> Array:
    rows, columns = found.shape[-2] // band.shape[0], found.shape[-1] // band.shape[1]
    return found[..., ::rows, ::columns]


def own_size_notes(selection: ExportSelection) -> list[str]:
    """A sentence for each modality whose bands are not as in the source."""
    notes = []
    for modality in selection.modalities.values():
        _, height, width = modality.shape
        kept = [
            band.name
            for band in modality.bands
            if modality.layout == "stacked"
            and band.shape != (height, width)
            and not _is_repeated(modality, band)
        ]
        if kept:
            notes.append(
                f"bands of {modality.name} that the store has only as resampled to "
                f"{height} x {width} ({modality.resampling}), and that are written so: "
                f"{', '.join(kept)}"
            )
        if modality.size != "keep":
            notes.append(
                f"patches of {modality.name} with another size than the usual are written as the "
                f"store has them ({modality.size})"
            )
    return notes
