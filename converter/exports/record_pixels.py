"""Pixels of records that are exported: all bands of a modality, or those that are chosen."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.format.modality import Modality
from patchpress.readers.store import Store

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class RecordPixels:
    """Reads records of a modality of which perhaps only some bands are exported."""

    store: Store
    modality: Modality
    """As it is exported."""

    @property
    def _whole(self) -> Modality:
        return self.store.manifest.modalities[self.modality.name]

    @property
    def _names(self) -> list[str] | None:
        """The chosen bands; None for all, in the order of the store."""
        names = self.modality.band_names
        return None if names == self._whole.band_names else list(names)

    def read(self, key: str) -> Array:
        """A record as ([steps,] bands, height, width), on the finest grid of the bands.

        Raises:
            KeyMissing, StoreDamaged: as `Store.read`.
        """
        names = self._names
        if names is None:
            return self.store.read(key)
        if len({band.shape for band in self.modality.bands}) == 1:
            # In a native record these perhaps fit on no grid with bands that are left out.
            return np.stack(list(self.bands(key).values()), axis=-3)
        return self._on_own_grid(self.store.read(key, names))

    def bands(self, key: str) -> dict[str, Array]:
        """Each band as ([steps,] height, width), as `Store.read_bands` gives it.

        Raises:
            KeyMissing, StoreDamaged: as `Store.read_bands`.
        """
        names = self._names
        found = self.store.read_bands(key, names)
        if names is None or self._whole.layout != "stacked":
            return found
        return {name: self._on_own_grid(pixels) for name, pixels in found.items()}

    def _on_own_grid(self, pixels: Array) -> Array:
        """The pixels without the repetitions that only bands which are left out needed."""
        (_, height, width), whole = self.modality.shape, self._whole.shape
        return pixels[..., :: whole[1] // height, :: whole[2] // width]
