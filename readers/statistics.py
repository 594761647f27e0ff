"""Per-band statistics of a store, and statistics.json, the file that holds them.

`patchpress stats` writes the file, beside the manifest or elsewhere. Only NumPy is imported here.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import (
    BandMissing,
    OptionError,
    SelectionEmpty,
    StatisticsMissing,
    StatisticsStale,
    StoreDamaged,
)
from patchpress.readers.format.manifest import STATISTICS, Manifest
from patchpress.readers.format.modality import folded_band
from patchpress.readers.format.table import (
    HasRowNumbers,
    Split,
    flagged_choice,
    numbers_in,
    split_names,
)
from patchpress.readers.showing import columns_of, html_table

Array = npt.NDArray[Any]
Constants = tuple[Any, Any]  # (what is subtracted, what is divided by), each float32 (C, 1, 1)
Entries = dict[tuple[str, str], "Statistics"]

FORMAT = "patchpress-statistics"
FORMAT_VERSION = 1
HEAD = ("band", "mean", "std", "min", "max", "NaN")
SHOWN = 20  # bands that a repr lists
PERCENTILES = (1, 2, 5, 25, 50, 75, 95, 98, 99)
ROWS = "rows "  # what the entries of rows begin with that are no whole split
ALL = "all"  # the entry of all records, whatever their split
_NUMBERS = ("mean", "std", "minimum", "maximum")


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
    """The split's name, ``all``, or another name that `entry_name` gives."""
    patches: int
    bands: tuple[BandStatistics, ...]
    _constants: dict[Any, Constants] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __repr__(self) -> str:
        lines = columns_of([HEAD, *self._rows(SHOWN)])
        more = len(self.bands) - SHOWN
        tail = [f"  … and {more} bands more"] if more > 0 else []
        return "\n".join([f"Statistics({self._title})", *lines, *tail])

    def _repr_html_(self) -> str:
        return html_table(self._title, HEAD, self._rows(len(self.bands)))

    @property
    def _title(self) -> str:
        return f"{self.modality}, {self.split}: {self.patches:,} patches, {len(self.bands)} bands"

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


def read_statistics(
    path: str | os.PathLike[str],
    manifest: Manifest,
    modality: str,
    split: Split = None,
    flagged: str | None = None,
) -> Statistics:
    """The statistics of a modality over a split, or over all records for None.

    Args:
        path: the store's folder, or the file that `patchpress stats --out` wrote.
        manifest: the store's: statistics of other data are refused.
        modality: as in the manifest.
        split: as in the manifest (``val`` is understood as ``validation``), several splits, or
            samples.
        flagged: as `Store.table` has it.

    Raises:
        SelectionEmpty: the store has no such modality or split.
        StatisticsMissing: they were not computed.
        StatisticsStale: they were computed from other data.
        StoreDamaged: the file does not parse.
    """
    store, file = Path(path), Path(path) / STATISTICS
    again = f"patchpress stats {store}"
    if not store.is_dir():
        again, file = f"patchpress stats STORE --out {path}", Path(path)
    name = manifest.modality(modality).name
    entry = entry_name(manifest, split, flagged)
    again += _options(manifest, split, flagged)
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        there = ", ".join(manifest.splits) or "none"
        raise StatisticsMissing(
            f"there is no {file}: run `{again}` (splits of the store: {there})"
        ) from None
    except OSError as error:
        raise StoreDamaged(f"{file} cannot be read ({error.strerror}): run `{again}`") from None
    entries = from_bytes(data, manifest, file, again)
    if (name, entry) not in entries:
        there = ", ".join(f"{m} {s}" for m, s in entries) or "none"
        raise StatisticsMissing(
            f"{file} has no statistics of {name} {entry}, only of {there}: run "
            f"`{again} --modality {name}`"
        )
    return entries[name, entry]


def entry_name(manifest: Manifest, split: Split, flagged: str | None = None) -> str:
    """What the statistics of a selection of rows are called in the file.

    A split's statistics have its name and are of the rows that its publisher recommends; those of
    all records are called ``all``. Every other selection has a name of its own: ``train with
    flagged``, ``train flagged only``, ``all without flagged``, ``train+validation``; and rows that
    were chosen in any other way, ``rows `` and a hash over their numbers.

    Raises:
        SelectionEmpty: no such split, or no flagged row in it.
        OptionError: no such choice of flagged rows.
    """
    choice = flagged_choice(flagged, split)
    if isinstance(split, HasRowNumbers):
        numbers = np.sort(numbers_in(manifest, split)).astype("<i8")
        return f"{ROWS}{hashlib.blake2b(numbers.tobytes(), digest_size=8).hexdigest()}"
    if split == ALL and ALL not in manifest.splits:
        split, choice = None, flagged_choice(flagged, None)
    names = split_names(manifest, split)
    counts = manifest.flagged.splits
    marked = (
        sum(counts[n]["rows"] for n in names if n in counts) if names else manifest.flagged.rows
    )
    base = "+".join(names) or ALL
    if choice == "only":
        if not marked:
            raise SelectionEmpty(f"no row of {base} is flagged: leave out flagged='only'")
        return f"{base} flagged only"
    if not marked or choice == flagged_choice(None, split):
        return base
    return f"{base} with flagged" if choice == "include" else f"{base} without flagged"


def _options(manifest: Manifest, split: Split, flagged: str | None) -> str:
    """The options of `patchpress stats` for a selection."""
    if isinstance(split, HasRowNumbers):
        return " --where COLUMN=VALUE"
    names = [] if split == ALL and ALL not in manifest.splits else split_names(manifest, split)
    chosen = "" if flagged is None else f" --flagged {flagged}"
    return "".join(f" --split {name}" for name in names) + chosen


def to_bytes(entries: Mapping[tuple[str, str], Statistics], manifest: Manifest) -> bytes:
    """The bytes of statistics.json: the same for the same statistics, whatever their order."""
    content: dict[str, dict[str, Any]] = {}
    known = (*manifest.splits, ALL)
    others = sorted({split for _, split in entries} - set(known))
    for modality in manifest.modalities:
        for split in (*known, *others):
            found = entries.get((modality, split))
            if found is not None:
                bands = [_band_entry(band) for band in found.bands]
                one = {"patches": found.patches, "bands": bands}
                content.setdefault(modality, {})[split] = one
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, **_identity(manifest)}
    text = json.dumps(head | {"statistics": content}, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def from_bytes(data: bytes, manifest: Manifest, file: Path, again: str) -> Entries:
    """(modality, split) -> statistics, from the bytes of a file.

    Args:
        data: the bytes.
        manifest: of the store that the statistics must be of.
        file: where the bytes are from, for messages.
        again: the command that writes it anew, for messages.

    Raises:
        StatisticsStale: they are of other data than the manifest's.
        StoreDamaged: the bytes are no statistics, or of another version.
    """
    try:
        content = json.loads(data)
        if (content["format"], content["format_version"]) != (FORMAT, FORMAT_VERSION):
            raise ValueError(f"not {FORMAT} of version {FORMAT_VERSION}")
        identity = {key: content[key] for key in _identity(manifest)}
        entries = {
            (modality, split): Statistics(
                modality, split, int(one["patches"]), tuple(map(_band, one["bands"]))
            )
            for modality, splits in content["statistics"].items()
            for split, one in splits.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreDamaged(
            f"{file} is no file of statistics ({type(error).__name__}: {error}): remove it and "
            f"run `{again}`"
        ) from None
    if identity != _identity(manifest):
        raise StatisticsStale(f"{file} was made from other data than the store has: run `{again}`")
    return entries


def _identity(manifest: Manifest) -> dict[str, Any]:
    """What the statistics depend on: the records, and the table that has their splits."""
    digests = [shard.digest for shard in manifest.shards]
    return {"shards": digests, "metadata_digest": manifest.metadata_digest}


def _band_entry(band: BandStatistics) -> dict[str, Any]:
    """A band as JSON has it: JSON has no NaN, so a number that is none becomes null."""
    entry = asdict(band) | {key: _number(getattr(band, key)) for key in _NUMBERS}
    values = map(_number, band.percentiles)
    return entry | {"percentiles": dict(zip(map(str, PERCENTILES), values, strict=True))}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _band(entry: dict[str, Any]) -> BandStatistics:
    def real(value: float | None) -> float:
        return math.nan if value is None else float(value)

    if not isinstance(entry["name"], str):
        raise TypeError(f"band {entry['name']!r}")
    return BandStatistics(
        name=entry["name"],
        pixels=int(entry["pixels"]),
        nan=int(entry["nan"]),
        **{key: real(entry[key]) for key in _NUMBERS},
        percentiles=tuple(real(entry["percentiles"][str(p)]) for p in PERCENTILES),
    )
