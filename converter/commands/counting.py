"""The pixels of one band counted: exactly where they are small integers, in fine bins elsewhere.

Bands of integers of up to 16 bits are counted value by value: their numbers are exact. Others have
moments in float64, merged in an order that only the data give, and percentiles from bins of float32
bits: each of the two pixel values that a percentile lies between is met within 2^-12 of itself.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from patchpress.readers.statistics import PERCENTILES, BandStatistics

Array = npt.NDArray[Any]

BIN_BITS = 21
_DROPPED = 32 - BIN_BITS  # mantissa bits of a float32 that its bin does not tell
_ABSOLUTE = np.int32(0x7FFF_FFFF)


class Moments(NamedTuple):
    """Mean, and sum of squared differences from it, of so many values."""

    values: int = 0
    mean: float = 0.0
    m2: float = 0.0

    def merged(self, other: "Moments") -> "Moments":
        """Those of both together, by Chan, Golub and LeVeque's formula."""
        if not self.values or not other.values:
            return self if self.values else other
        values = self.values + other.values
        share, delta = other.values / values, other.mean - self.mean
        return Moments(
            values,
            self.mean + delta * share,
            self.m2 + other.m2 + delta * delta * self.values * share,
        )


class CountedBand(NamedTuple):
    """What a worker sends of one band: only the bins that are not empty."""

    pixels: int
    nan: int
    moments: Moments
    minimum: float
    maximum: float
    bins: Array
    """int32."""
    counts: Array
    """int64, of each of them."""


@dataclass
class Tally:
    """What the pixels of one band add up to."""

    offset: int
    """Exact values: the least value that the dtype can have, which bin 0 counts."""
    exact: bool
    bins: Array
    """int64: how many pixels each value, or each bin of float32 bits, has."""
    pixels: int = 0
    nan: int = 0
    moments: Moments = field(default_factory=Moments)
    minimum: float = math.inf
    maximum: float = -math.inf

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> "Tally":
        """An empty one for pixels of a dtype."""
        exact = dtype.kind in "bui" and dtype.itemsize <= 2
        size = 1 << (8 * dtype.itemsize if exact else BIN_BITS)
        offset = -(size // 2) if exact and dtype.kind == "i" else 0
        return cls(offset, exact, np.zeros(size, np.int64))

    def add(self, pixels: Array) -> None:
        """Count pixels (N,) of the band's dtype."""
        self.pixels += len(pixels)
        if self.exact:
            codes = pixels.view(np.uint8) if pixels.dtype == np.bool_ else pixels
            counts = np.bincount(codes if not self.offset else codes.astype(np.intp) - self.offset)
            self.bins[: len(counts)] += counts
            return
        finite = np.isfinite(pixels)
        if not finite.all():
            pixels = pixels[finite]
            self.nan += len(finite) - len(pixels)
        if len(pixels):
            self.minimum = min(self.minimum, float(pixels.min()))
            self.maximum = max(self.maximum, float(pixels.max()))
            self.moments = self.moments.merged(moments_of(pixels))
            # Unlike np.bincount it makes no array as long as the bins.
            np.add.at(self.bins, float_bins(pixels), 1)

    def part(self) -> CountedBand:
        """What there is to send."""
        full = np.flatnonzero(self.bins)
        return CountedBand(
            *(self.pixels, self.nan, self.moments, self.minimum, self.maximum),
            *(full.astype(np.int32), self.bins[full]),
        )

    def merge(self, part: CountedBand) -> None:
        """Add what another counted; for the same bits, always in the same order."""
        self.pixels += part.pixels
        self.nan += part.nan
        self.moments = self.moments.merged(part.moments)
        self.minimum = min(self.minimum, part.minimum)
        self.maximum = max(self.maximum, part.maximum)
        self.bins[part.bins] += part.counts

    def result(self, name: str) -> BandStatistics:
        """The statistics of all that was counted."""
        bins = np.flatnonzero(self.bins)
        if not len(bins):
            nan = math.nan
            nothing = (nan,) * len(PERCENTILES)
            return BandStatistics(name, self.pixels, self.nan, nan, nan, nan, nan, nothing)
        counts = self.bins[bins]
        if self.exact:
            values = bins + self.offset
            mean, std = _exact_moments(values, counts)
            low, high = float(values[0]), float(values[-1])
            edges = values.astype(float), values.astype(float)
        else:
            count, mean, m2 = self.moments
            low, high = self.minimum, self.maximum
            # Rounding must not make a band vary that does not.
            mean, std = (mean, math.sqrt(m2 / count)) if low < high else (low, 0.0)
            edges = bin_edges(bins)
        between = tuple(min(max(p, low), high) for p in _percentiles(*edges, counts))
        return BandStatistics(name, self.pixels, self.nan, mean, std, low, high, between)


def _exact_moments(values: Array, counts: Array) -> tuple[float, float]:
    """Mean and standard deviation, rounded only at the end: Python's integers do not overflow."""
    pairs = list(zip(values.tolist(), counts.tolist(), strict=True))
    count = sum(n for _, n in pairs)
    total = sum(v * n for v, n in pairs)
    squares = sum(v * v * n for v, n in pairs)
    return total / count, math.sqrt((count * squares - total * total) / (count * count))


def moments_of(pixels: Array) -> Moments:
    """The moments of pixels (N,), in float64 and two passes."""
    values = pixels.astype(np.float64)
    mean = float(values.sum()) / len(values)
    values -= mean
    # Not np.dot: the number of its threads would show in the last bits.
    return Moments(len(values), mean, float(np.multiply(values, values, out=values).sum()))


def float_bins(pixels: Array) -> Array:
    """The bin of each finite value, (N,) intp: greater values have no smaller bins.

    The bits of a float32 are ordered as integers are, but for the negative ones, whose order is
    turned round; a bin drops the last `_DROPPED` of them. float64 beyond float32 is in the last.
    """
    if pixels.dtype != np.float32:
        greatest = np.finfo(np.float32).max
        pixels = np.clip(pixels, -greatest, greatest, dtype=np.float64).astype(np.float32)
    bits = pixels.view(np.int32)
    bins = bits >> 31
    bins &= _ABSOLUTE
    bins ^= bits
    bins >>= _DROPPED
    return bins.astype(np.intp) + (1 << (BIN_BITS - 1))


def bin_edges(bins: Array) -> tuple[Array, Array]:
    """The least and the greatest value of each bin of `float_bins`, float64 (N,)."""
    first = (bins.astype(np.int64) - (1 << (BIN_BITS - 1))) << _DROPPED

    def values(ordered: Array) -> Array:
        signed = ordered.astype(np.int32)
        return (signed ^ ((signed >> 31) & _ABSOLUTE)).view(np.float32).astype(np.float64)

    return values(first), values(first + (1 << _DROPPED) - 1)


def _percentiles(low: Array, high: Array, counts: Array) -> Iterator[float]:
    """`PERCENTILES` of pixels in bins: as ``numpy.percentile`` of all, linear between two pixels.

    The pixels of a bin are taken to lie evenly between its edges.
    """
    ends = counts.cumsum()
    total = int(ends[-1])

    def pixel(rank: int) -> float:
        at = int(np.searchsorted(ends, rank, side="right"))
        place = (rank - int(ends[at] - counts[at]) + 0.5) / int(counts[at])
        return float(low[at] + (high[at] - low[at]) * place)

    for percent in PERCENTILES:
        rank, rest = divmod((total - 1) * percent, 100)
        below, above = pixel(rank), pixel(min(rank + 1, total - 1))
        yield below + (above - below) * (rest / 100)
