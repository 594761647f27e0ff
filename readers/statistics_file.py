"""statistics.json: what `patchpress stats` keeps of a store, beside the manifest or elsewhere.

Statistics of different selections of rows have entries of different names, so that none is taken
for another.
"""

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from patchpress.readers.errors import (
    OptionError,
    SelectionEmpty,
    StatisticsMissing,
    StatisticsStale,
    StoreDamaged,
)
from patchpress.readers.format.manifest import STATISTICS, Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.schema import (
    FieldError,
    Fields,
    List,
    Number,
    OneOf,
    Optional,
    Table,
    Text,
    Whole,
)
from patchpress.readers.format.sealed import parse, seal, unsealed
from patchpress.readers.format.shown_paths import shown
from patchpress.readers.format.store_files import read_small, require_inside
from patchpress.readers.format.table import (
    HasRowNumbers,
    Split,
    flagged_choice,
    numbers_in,
    split_names,
)
from patchpress.readers.statistics import PERCENTILES, BandStatistics, Statistics

Entries = dict[tuple[str, str], Statistics]

FORMAT = "patchpress-statistics"
FORMAT_VERSION = 2
FILE_LIMIT = 64 << 20  # bytes
ROWS = "rows "  # what the entries of rows begin with that are no whole split
ALL = "all"  # the entry of all records, whatever their split
_NUMBERS = ("mean", "std", "minimum", "maximum")
_REAL = Optional(Number())
BAND = Fields(
    {
        "name": Text(),
        "pixels": Whole(),
        "nan": Whole(),
        **dict.fromkeys(_NUMBERS, _REAL),
        "percentiles": Fields({str(percent): _REAL for percent in PERCENTILES}),
    }
)
STATISTICS_FILE = Fields(
    {
        "format": OneOf((FORMAT,)),
        "format_version": OneOf((FORMAT_VERSION,)),
        "shards": List(Text(), least=1),
        "metadata_digest": Text(),
        "statistics": Table(Table(Fields({"patches": Whole(), "bands": List(BAND, least=1)}))),
    }
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
        OptionError: a modality of codes.
        StatisticsMissing: they were not computed.
        StatisticsStale: they were computed from other data.
        StoreDamaged: the file does not parse.
    """
    is_store = Path(path).is_dir()
    again = (
        f"patchpress stats {shown(Path(path))}"
        if is_store
        else f"patchpress stats STORE --out {path}"
    )
    name = image_modality(manifest, modality).name
    entry = entry_name(manifest, split, flagged)
    again += _options(manifest, split, flagged)
    entries = read_file(Path(path), manifest, again)
    file = Path(path) / STATISTICS if is_store else Path(path)
    if (name, entry) not in entries:
        there = ", ".join(f"{m} {s}" for m, s in entries) or "none"
        raise StatisticsMissing(
            f"{shown(file)} has no statistics of {name} {entry}, only of {there}: run "
            f"`{again} --modality {name}`"
        )
    return entries[name, entry]


def read_file(path: Path, manifest: Manifest, again: str) -> Entries:
    """All statistics that a file has: that of a store, whose folder is given, or another.

    `again` is the command that writes it anew, for messages.

    Raises:
        StatisticsMissing, StatisticsStale, StoreDamaged: as `read_statistics`.
    """
    file = path
    try:
        if path.is_dir():
            file = require_inside(path, STATISTICS)
        data = read_small(file, FILE_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        there = ", ".join(manifest.splits) or "none"
        raise StatisticsMissing(
            f"there is no {shown(file)}: run `{again}` (splits of the store: {there})"
        ) from None
    except OSError as error:
        raise StoreDamaged(
            f"{shown(file)} cannot be read ({error.strerror}): run `{again}`"
        ) from None
    return from_bytes(data, manifest, file, again)


def image_modality(manifest: Manifest, name: str) -> Modality:
    """The modality of that name, if it can have statistics.

    Raises:
        SelectionEmpty: the store has none of that name.
        OptionError: its pixels are codes of classes.
    """
    modality = manifest.modality(name)
    if modality.kind == "classes":
        there = ", ".join(m.name for m in manifest.modalities.values() if m.kind != "classes")
        raise OptionError(
            f"modality {name!r} has codes of classes, which have no mean: choose one of images "
            f"({there or 'this store has none'})"
        )
    return modality


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
    return seal(head | {"statistics": content})


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
        content = unsealed(data, parse(data))
        STATISTICS_FILE.check(content, "")
    except FieldError as error:
        raise StoreDamaged(
            f"{shown(file)} is no file of statistics as it was written ({error}): remove it and "
            f"run `{again}`"
        ) from None
    entries = {
        (modality, split): Statistics(
            modality, split, one["patches"], tuple(map(_band, one["bands"]))
        )
        for modality, splits in content["statistics"].items()
        for split, one in splits.items()
    }
    identity = {key: content[key] for key in _identity(manifest)}
    if identity != _identity(manifest):
        raise StatisticsStale(
            f"{shown(file)} was made from other data than the store has: run `{again}`"
        )
    for (modality, split), one in entries.items():
        known = manifest.modalities.get(modality)
        if known is None or one.band_names != known.band_names:
            raise StatisticsStale(
                f"{shown(file)} has other bands of {modality!r} {split!r} than the store: run "
                f"`{again}`"
            )
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

    return BandStatistics(
        name=entry["name"],
        pixels=entry["pixels"],
        nan=entry["nan"],
        **{key: real(entry[key]) for key in _NUMBERS},
        percentiles=tuple(real(entry["percentiles"][str(p)]) for p in PERCENTILES),
    )
