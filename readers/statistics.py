"""Per-band statistics of a selection of records, and the constants that `normalize` needs of them.

Only NumPy is imported here. `patchpress stats` computes them; see `statistics_file` for what keeps
them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import BandMissing, OptionError
from patchpress.readers.format.modality import folded_band
from patchpress.readers.showing import columns_of, html_table, plain

Array = npt.NDArray[Any]
Constants = tuple[Any, Any]  # (what is subtracted, what is divided by), each float32 (C, 1, 1)

HEAD = ("band", "mean", "std", "min", "max", "NaN")
BANDS_SHOWN = 20  # bands that a repr lists
PERCENTILES = (1, 2, 5, 25, 50, 75, 95, 98, 99)


@dataclass(frozen=True, slots=True)
class BandStatistics:
    """Statistics of one band over its own pixels, in the units of the source.

    A band without a finite pixel has NaN for each number.
    """

    name: str
    pixels: int
    """Pixels at the band's own resolution; those counted in `nan` are among them."""
    nan: int
    """Pixels that are NaN or infinite; the numbers below are computed without them."""
    mean: float
    std: float
    """Standard deviation of the population: divided by the number of pixels."""
    minimum: float
    maximum: float
    percentiles: tuple[float, ...]
    """In the order of `PERCENTILES`."""


@dataclass(frozen=True, repr=False)
class Statistics:
    """Statistics of some bands over the records of one split; hashable, and pickles."""

    modality: str
    split: str
    """The split's name, ``all``, or what else `statistics_file.entry_name` calls a selection."""
    patches: int
    bands: tuple[BandStatistics, ...]
    _constants: dict[Any, Constants] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __repr__(self) -> str:
        lines = columns_of([HEAD, *self._rows(BANDS_SHOWN)])
        more = len(self.bands) - BANDS_SHOWN
        tail = [f"  … and {more} bands more"] if more > 0 else []
        return "\n".join([f"Statistics({self._title})", *lines, *tail])

    def _repr_html_(self) -> str:
        return html_table(self._title, HEAD, self._rows(len(self.bands)))

    @property
    def _title(self) -> str:
        bands = f"{len(self.bands)} band{'s' if len(self.bands) > 1 else ''}"
        return plain(f"{self.modality}, {self.split}: {self.patches:,} patches, {bands}")

    def _rows(self, most: int) -> list[tuple[str, ...]]:
        return [
            (b.name, *(f"{n:.6g}" for n in (b.mean, b.std, b.minimum, b.maximum)), f"{b.nan:,}")
            for b in self.bands[:most]
        ]

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(band.name for band in self.bands)

    def pick(self, bands: Sequence[str]) -> "Statistics":
        """The statistics of some bands, in that order: what `normalize` needs for a batch of them.

        Raises:
            BandMissing: a name that is not there, or there twice.
        """
        return replace(self, bands=self._picked(bands))

    def mean(self, bands: Sequence[str] | None = None, dtype: npt.DTypeLike = np.float32) -> Array:
        """Means, (C,), of some bands in the order asked for.

        Raises:
            BandMissing: as `pick`.
        """
        return np.array([band.mean for band in self._picked(bands)], dtype)

    def std(self, bands: Sequence[str] | None = None, dtype: npt.DTypeLike = np.float32) -> Array:
        """Standard deviations, (C,); otherwise as `mean`."""
        return np.array([band.std for band in self._picked(bands)], dtype)

    def minimum(
        self, bands: Sequence[str] | None = None, dtype: npt.DTypeLike = np.float32
    ) -> Array:
        """Least values, (C,); otherwise as `mean`."""
        return np.array([band.minimum for band in self._picked(bands)], dtype)

    def maximum(
        self, bands: Sequence[str] | None = None, dtype: npt.DTypeLike = np.float32
    ) -> Array:
        """Greatest values, (C,); otherwise as `mean`."""
        return np.array([band.maximum for band in self._picked(bands)], dtype)

    def percentile(
        self,
        percent: int,
        bands: Sequence[str] | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> Array:
        """One of the stored percentiles, (C,); otherwise as `mean`.

        Raises:
            OptionError: none of `PERCENTILES`.
            BandMissing: as `pick`.
        """
        if percent not in PERCENTILES:
            raise OptionError(
                f"there is no percentile {percent!r}; choose {', '.join(map(str, PERCENTILES))}"
            )
        at = PERCENTILES.index(percent)
        return np.array([band.percentiles[at] for band in self._picked(bands)], dtype)

    def constants(
        self, how: str, low: int, high: int, *, device: Any, move: Callable[[Array], Any]
    ) -> Constants:
        """What `normalize` subtracts and divides by, moved to a device once and then kept.

        Raises:
            OptionError: no such way to normalise, or no such percentiles.
        """
        wanted = (how, low, high, device)
        if wanted not in self._constants:
            shift, scale = self._shift_and_scale(how, low, high)
            self._constants[wanted] = move(shift), move(scale)
        return self._constants[wanted]

    def _shift_and_scale(self, how: str, low: int, high: int) -> tuple[Array, Array]:
        if how == "standard":
            shift, scale = self.mean(), self.std()
        elif how == "range":
            if low >= high:
                raise OptionError(f"percentile {low} does not lie below percentile {high}")
            shift = self.percentile(low)
            scale = (self.percentile(high, dtype=float) - self.percentile(low, dtype=float)).astype(
                np.float32
            )
        else:
            raise OptionError(f"how must be standard or range, not {how!r}")
        # A constant band becomes 0, not NaN.
        return shift[:, None, None], np.where(scale == 0, np.float32(1), scale)[:, None, None]

    def _picked(self, bands: Sequence[str] | None) -> tuple[BandStatistics, ...]:
        if bands is None:
            return self.bands
        names = self.band_names
        folded = [folded_band(name) for name in names]
        bands = [
            names[folded.index(folded_band(name))]
            if name not in names and folded.count(folded_band(name)) == 1
            else name
            for name in bands
        ]
        wrong = next((name for name in bands if names.count(name) != 1), None)
        if wrong is not None or not bands:
            what = f"band {wrong!r} twice" if wrong in names else f"no band {wrong!r}"
            what = what if bands else "to be asked for at least one band"
            raise BandMissing(
                f"the statistics of {self.modality} have {what}; there are {', '.join(names)}"
            )
        return tuple(self.bands[names.index(name)] for name in bands)

    def __getstate__(self) -> dict[str, Any]:
        # Constants may lie on a device that the other process does not have.
        return self.__dict__ | {"_constants": {}}


def check_statistics(given: object) -> Statistics:
    """What was given, if it is statistics.

    Raises:
        OptionError: it is of another type.
    """
    if not isinstance(given, Statistics):
        raise OptionError(
            "statistics must be what store.statistics('s2', 'train') gives (of several "
            f"modalities, a dict of them by modality), not {type(given).__name__}"
        )
    return given


def one_statistics(given: object) -> Statistics:
    """Statistics of one tensor: as they are given, or of a dict by modality joined in its order.

    Raises:
        OptionError: it is neither, or has statistics of different splits.
    """
    if isinstance(given, Statistics):  # most often, once a batch
        return given
    if isinstance(given, Mapping):
        return joined(*map(check_statistics, given.values()))
    return check_statistics(given)


def joined(*parts: Statistics) -> Statistics:
    """Statistics for a tensor that has the bands of several modalities one after another.

    `patches` is the smallest of their numbers.

    Raises:
        OptionError: no statistics at all, or some of different splits.
    """
    splits = dict.fromkeys(part.split for part in parts)
    if len(splits) != 1:
        there = ", ".join(splits) or "none at all"
        raise OptionError(f"statistics to be joined must be of one split, not of {there}")
    return Statistics(
        modality="+".join(part.modality for part in parts),
        split=parts[0].split,
        patches=min(part.patches for part in parts),
        bands=tuple(band for part in parts for band in part.bands),
    )
