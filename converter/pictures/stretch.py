"""`Stretch`: which values of a band are black and white in a picture, for all patches alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PERCENTILES = (2, 98)
"""Percentiles that become black and white."""
MOST_PIXELS = 4_000_000  # of more, evenly spaced ones are taken: percentiles need no more


@dataclass(frozen=True, slots=True)
class Stretch:
    """Values from `low` to `high` become 0 to 1; both are NaN if there is no finite pixel."""

    low: float
    high: float

    @classmethod
    def over(cls, bands: Iterable[npt.NDArray[np.generic]]) -> "Stretch":
        """The stretch of all finite pixels of some bands, from percentile 2 to 98.

        If nearly all pixels are alike, the lowest and highest take the place of the percentiles.
        """
        finite = [band[np.isfinite(band)] for band in bands]
        pixels = sum(known.size for known in finite)
        step = -(-pixels // MOST_PIXELS) if pixels else 1
        # Halves, because the difference of two large numbers may be larger than any number.
        known = np.concatenate([part[::step].astype(np.float64) / 2 for part in finite] or [[]])
        if not known.size:
            return cls(np.nan, np.nan)
        low, high = np.percentile(known, PERCENTILES)
        if low == high:
            low, high = known.min(), known.max()
        return cls(float(low) * 2, float(high) * 2)

    def apply(self, band: npt.NDArray[np.generic]) -> Floats:
        """A band with values 0 to 1; pixels that are no finite numbers are 0.

        If all finite pixels that were seen are alike, they are 0.5.
        """
        values = band.astype(np.float64) / 2
        finite = np.isfinite(values)
        low, high = self.low / 2, self.high / 2
        if not np.isfinite(low):
            return np.zeros_like(values)
        if low == high:
            return np.where(finite, 0.5, 0.0)
        shown = np.clip(np.where(finite, values, low), low, high)
        return np.where(finite, (shown - low) / (high - low), 0.0)

    def text(self) -> str:
        """The range for people, as in ``212 to 1,630``."""
        if not np.isfinite(self.low):
            return "no finite pixel"
        if self.low == self.high:
            return f"{_number(self.low)} alone"
        return f"{_number(self.low)} to {_number(self.high)}"


def stretched(channels: Sequence[npt.NDArray[np.generic]], stretches: Sequence[Stretch]) -> Floats:
    """The channels (channels, height, width) of a picture, each stretched by its own.

    A pixel that is NaN in one of them is black: 0 in all, since the others alone would give it a
    colour that means nothing.
    """
    shown = np.stack([one.apply(band) for one, band in zip(stretches, channels, strict=True)])
    shown[:, np.logical_or.reduce([np.isnan(band) for band in channels])] = 0
    return shown


def _number(value: float) -> str:
    return f"{value:,.0f}" if 100 <= abs(value) < 1e7 else f"{value:.3g}"
