"""Counts the pixels of one band: value by value if these are small integers, else in fine bins.

Statistics of integers of up to 16 bits are exact. Of other types, mean and standard deviation are
computed in float64, and merged in an order that only the data give. Their percentiles come from
bins that are made of the upper bits of a float32: each of the two pixel values that a percentile
lies between is met within 2^-12 of itself.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from patchpress.readers.statistics import PERCENTILES, BandStatistics

Array = npt.NDArray[Any]

BIN_BITS = 21  # the upper bits of a float32 that choose its bin
_DROPPED = 32 - BIN_BITS  # its lower bits, all of the mantissa
_ABSOLUTE = np.int32(0x7FFF_FFFF)  # all bits but the sign


class Moments(NamedTuple):
    """What mean and standard deviation of some values follow from."""

    values: int = 0
    """How many."""
    mean: float = 0.0
    m2: float = 0.0
    """The sum of their squared differences from the mean."""

    def merged(self, other: "Moments") -> "Moments":
        """The moments of both sets of values together.

        The formula is that of Chan, Golub and LeVeque, "Algorithms for computing the sample
        variance" (1983).
        """
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
    """What a worker counted of one band, in a form to be sent: without empty bins."""

    pixels: int
    nan: int
    """How many of the pixels are not finite."""
    moments: Moments
    minimum: float
    maximum: float
    bins: Array
    """Numbers of bins (N,), int32."""
    counts: Array
    """How many pixels each of these bins has (N,), int64."""


@dataclass
class BandCounter:
    """Counts the pixels of one band. Its moments and range are used if it is not exact."""

    exact: bool
    """Whether each value has its own bin."""
    offset: int
    """The least value that the dtype can have, which bin 0 counts, if it is exact."""
    bins: Array
    """How many pixels each bin has, int64."""
    pixels: int = 0
    nan: int = 0
    moments: Moments = field(default_factory=Moments)
    minimum: float = math.inf
    maximum: float = -math.inf

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> "BandCounter":
        """A counter for pixels of a dtype, which has counted none yet."""
        exact = dtype.kind in "bui" and dtype.itemsize <= 2
        size = 1 << (8 * dtype.itemsize if exact else BIN_BITS)
        offset = -(size // 2) if exact and dtype.kind == "i" else 0
        return cls(exact, offset, np.zeros(size, np.int64))

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

    def counted(self) -> CountedBand:
        """What was counted, to be sent to another process."""
        full = np.flatnonzero(self.bins)
        return CountedBand(
            pixels=self.pixels,
            nan=self.nan,
            moments=self.moments,
            minimum=self.minimum,
            maximum=self.maximum,
            bins=full.astype(np.int32),
            counts=self.bins[full],
        )

    def merge(self, other: CountedBand) -> None:
        """Add what another process counted. The order decides the last bits of float moments."""
        self.pixels += other.pixels
        self.nan += other.nan
        self.moments = self.moments.merged(other.moments)
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.bins[other.bins] += other.counts

    def result(self, name: str) -> BandStatistics:
        """The statistics of all that was counted."""
        bins = np.flatnonzero(self.bins)
        if not len(bins):
            return _nothing(name, self.pixels, self.nan)
        counts = self.bins[bins]
        if self.exact:
            values = bins + self.offset
            mean, std = _exact_moments(values, counts)
            least, greatest = float(values[0]), float(values[-1])
            low = high = values.astype(float)
        else:
            least, greatest = self.minimum, self.maximum
            mean, std = self.moments.mean, math.sqrt(self.moments.m2 / self.moments.values)
            if least == greatest:  # rounding must not make a band vary that does not
                mean, std = least, 0.0
            low, high = bin_edges(bins)
        percentiles = [min(max(p, least), greatest) for p in _percentiles(low, high, counts)]
        return BandStatistics(
            name=name,
            pixels=self.pixels,
            nan=self.nan,
            mean=mean,
            std=std,
            minimum=least,
            maximum=greatest,
            percentiles=tuple(percentiles),
        )


def _nothing(name: str, pixels: int, nan: int) -> BandStatistics:
    """The statistics of a band without a finite pixel."""
    none = math.nan
    return BandStatistics(
        name=name,
        pixels=pixels,
        nan=nan,
        mean=none,
        std=none,
        minimum=none,
        maximum=none,
        percentiles=(none,) * len(PERCENTILES),
    )


def _exact_moments(values: Array, counts: Array) -> tuple[float, float]:
    """Mean and standard deviation of values that occur `counts` times, both arrays of integers.

    Sums are Python's integers, which do not overflow; only the results are rounded.
    """
    pairs = list(zip(values.tolist(), counts.tolist(), strict=True))
    count = sum(n for _, n in pairs)
    total = sum(v * n for v, n in pairs)
    squares = sum(v * v * n for v, n in pairs)
    return total / count, math.sqrt((count * squares - total * total) / (count * count))


def moments_of(pixels: Array) -> Moments:
    """The moments of pixels (N,), in float64 and two passes: the mean first."""
    values = pixels.astype(np.float64)
    mean = float(values.sum()) / len(values)
    values -= mean
    # Not by np.dot: its result depends, in the last bits, on its number of threads.
    return Moments(len(values), mean, float(np.multiply(values, values, out=values).sum()))


def float_bins(pixels: Array) -> Array:
    """The bin of each finite value, (N,) intp. The bin of a greater value is never a smaller one.

    Read as integers, the bits of positive float32 are in the order of their values, and those of
    negative ones in the opposite order, so these are turned round. The bin is what remains without
    the lowest `_DROPPED` bits. Values of float64 beyond float32 are in its first or last bin.
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
    """The `PERCENTILES` of pixels that were counted in bins from `low` to `high`.

    As ``numpy.percentile`` computes them, linear between two pixels. The pixels of a bin are taken
    to lie evenly between its edges.
    """
    ends = counts.cumsum()
    total = int(ends[-1])

    def pixel(rank: int) -> float:
        """The pixel of a rank, 0 for the least."""
        at = int(np.searchsorted(ends, rank, side="right"))
        share = (rank - int(ends[at] - counts[at]) + 0.5) / int(counts[at])
        return float(low[at] + (high[at] - low[at]) * share)

    for percent in PERCENTILES:
        rank, rest = divmod((total - 1) * percent, 100)
        below, above = pixel(rank), pixel(min(rank + 1, total - 1))
        yield below + (above - below) * (rest / 100)
