"""A row of a store as one sample: its arrays, its columns in JSON, and the split it belongs to."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.exports.exported import Written
from patchpress.converter.exports.hub_splits import NO_SPLIT, WITHOUT_SPLITS, without_split_note
from patchpress.converter.exports.names import FileNames
from patchpress.converter.exports.record_pixels import RecordPixels
from patchpress.converter.exports.selection import ExportedRows, ExportSelection, Row
from patchpress.converter.progress import Progress
from patchpress.readers.errors import OptionError
from patchpress.readers.format.byte_counts import bytes_of
from patchpress.readers.format.modality import Modality

Array = npt.NDArray[Any]
FILLED = (
    "rows without {name}, which are 0 there, or NaN of decimals: has_{name} of a row tells which"
)
"""What formats say of an absent record, in which all samples have all arrays."""


def check_shard_size(size: int | str | None, default: str) -> int:
    """The bytes of a file that takes several samples.

    Raises:
        OptionError: no such number.
    """
    found = bytes_of(default if size is None else size, "of a shard")
    if found < 1:
        raise OptionError(f"a shard must have 1 byte or more, not {size!r}: write {default}")
    return found


def splits_of(selection: ExportSelection, rows: ExportedRows) -> list[str]:
    """What the files of each row's split are called: its name, or that of rows without one."""
    without = _without_split(selection)
    return [FileNames().of(split) if split else without for split in selection.splits(rows)]


def _without_split(selection: ExportSelection) -> str:
    """What files of rows without a split are called, as `SplitNames` has it; that of no split."""
    splits = {FileNames().of(split) for split in selection.manifest.splits if split}
    name = NO_SPLIT if splits else WITHOUT_SPLITS
    while name in splits:
        name += "_"
    return name


def split_notes(selection: ExportSelection) -> list[str]:
    """A sentence that tells where rows without a split are, if there are some."""
    name, column = _without_split(selection), selection.manifest.split_column
    if not selection.manifest.splits:
        return [without_split_note(name, has_splits=False)]
    lacking = any(not split for split in selection.columns([column])[column].unique().to_pylist())
    return [without_split_note(name, has_splits=True)] if lacking else []


def is_one_array(modality: Modality) -> bool:
    """Whether its bands are given as one array, coarse ones repeated onto the finest grid."""
    alike = len({band.shape for band in modality.bands}) == 1
    one_dtype = len({band.dtype for band in modality.bands}) == 1
    return one_dtype and (alike or (modality.nests and not modality.any_size))


def sample_arrays(records: RecordPixels, key: str) -> Iterator[tuple[str, Array]]:
    """(name, pixels) of the arrays of a record: one, or one a band if `is_one_array` says no.

    They are ``s2``, or ``s2.B01`` and so on.
    """
    modality = records.modality
    if is_one_array(modality):
        yield modality.name, records.read(key)
        return
    for band, pixels in records.bands(key).items():
        yield f"{modality.name}.{band}", pixels


def arrays_of_row(
    selection: ExportSelection, rows: ExportedRows, number: int, written: Written
) -> dict[str, Array]:
    """The arrays of the records that a row has, as `sample_arrays` names them; counts them.

    Raises:
        StoreDamaged: a record differs from its checksum.
    """
    found: dict[str, Array] = {}
    for name in selection.modalities:
        key = rows.keys[name][number]
        if key is not None:
            written.add(name)
            found.update(sample_arrays(selection.pixels(name), key))
    written.bytes += sum(pixels.nbytes for pixels in found.values())
    return found


@dataclass(frozen=True)
class PixelPart:
    """An array that each sample has: of a modality, or of one of its bands."""

    name: str
    """What `sample_arrays` calls it."""
    shape: tuple[int, ...]
    """([steps,] [bands,] height, width); the usual one if records may differ in size."""
    dtype: np.dtype[Any]
    any_size: bool

    @property
    def absent(self) -> Array:
        """What stands for a record that is not there: NaN, or 0 of whole numbers."""
        return np.full(self.shape, np.nan if self.dtype.kind == "f" else 0, self.dtype)


def pixel_parts(modality: Modality) -> list[PixelPart]:
    """The arrays of each sample of a modality."""
    any_size = modality.any_size
    if is_one_array(modality):
        return [PixelPart(modality.name, modality.array_shape, modality.dtype, any_size)]
    steps = (modality.steps,) if modality.steps else ()
    return [
        PixelPart(
            f"{modality.name}.{band.name}",
            (*steps, *band.shape),
            np.dtype(band.dtype).newbyteorder("<"),
            any_size,
        )
        for band in modality.bands
    ]


@dataclass(frozen=True)
class Sample:
    """A row with its arrays, of formats whose samples all have the same columns."""

    number: int
    """Its position among the rows that are exported."""
    split: str
    """What the files of its split are called."""
    name: str
    """Of the patch."""
    row: Row
    arrays: Mapping[str, Array]
    """By `PixelPart.name`; `PixelPart.absent` if there is no record."""


def samples(selection: ExportSelection, written: Written, progress: Progress) -> Iterator[Sample]:
    """All rows as samples, one in memory at a time; counts what is read of them.

    Raises:
        StoreDamaged: a record differs from its checksum.
    """
    parts = {name: pixel_parts(modality) for name, modality in selection.modalities.items()}
    absent = {part.name: part.absent for some in parts.values() for part in some}
    number = 0
    for rows in selection.batches():
        columns = rows.table.to_pylist()
        for at, split in enumerate(splits_of(selection, rows)):
            before = written.bytes
            arrays = absent | arrays_of_row(selection, rows, at, written)
            yield Sample(number, split, rows.names[at], columns[at], arrays)
            progress.advance(1, written.bytes - before)
            number += 1


def absent_notes(selection: ExportSelection, written: Written, sentence: str) -> list[str]:
    """A sentence for each modality that some rows lack; `{name}` in it is that of the modality."""
    lacking = {
        name: len(selection.rows.numbers) - written.records.get(name, 0)
        for name in selection.modalities
    }
    return [f"{sentence.format(name=name)}: {count:,}" for name, count in lacking.items() if count]


def grid_notes(selection: ExportSelection) -> list[str]:
    """A sentence for each modality whose coarse bands are repeated."""
    return [
        f"bands of {modality.name} have several sizes: coarse ones are repeated onto "
        f"{modality.shape[1]} x {modality.shape[2]}"
        for modality in selection.modalities.values()
        if is_one_array(modality) and len({band.shape for band in modality.bands}) > 1
    ]


def as_json(row: Row) -> bytes:
    """The columns of a row; bytes in hexadecimal, no number as null."""
    return json.dumps({name: plain_value(value) for name, value in row.items()}).encode()


def plain_value(value: Any) -> Any:
    """A value of the table as JSON has it; bytes in hexadecimal, no number as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | tuple):
        return [plain_value(one) for one in value]
    if isinstance(value, dict):
        return {str(name): plain_value(one) for name, one in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, date):  # also with a time of day
        return value.isoformat()
    return value if isinstance(value, str | int | float | None) else str(value)
