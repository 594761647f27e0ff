"""The columns of a table as arrays with one entry a row, for formats that have arrays alone."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.exports.samples import plain_value
from patchpress.converter.exports.selection import ExportSelection
from patchpress.readers.choice import IGNORED
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.time_axis import UNDATED, dates_column, step_dates
from patchpress.readers.targets import has_parts, label_array, number_array, without_labels

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
_EPOCH = "since 1970-01-01"
_WITHIN = ("s", "ms", "us", "ns")
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


@dataclass(frozen=True)
class RowArray:
    """One column: numbers, truth values, or text as an array of `str`."""

    name: str
    values: Array
    """(rows, ...): more dimensions are those of `dimensions`."""
    dimensions: tuple[str, ...] = ()
    """Names of the dimensions after the first."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else a reader must know; dates have their unit in the words of the CF conventions."""
    note: str = ""
    """A sentence if it is not as in the table."""


def row_arrays(selection: ExportSelection) -> Iterator[RowArray]:
    """All columns of the chosen rows, one in memory at a time.

    Labels are multi-hot int8 (rows, classes), or the index of the class, int64 (rows,); `IGNORED`
    if a row has none. Parts of classes are float32 (rows, classes), numbers float32 (rows,).
    Dates are int64 with their unit; a modality's are (rows, steps). A number or truth value that
    some rows lack is float64 with NaN, and text is empty. Lists and other kinds are JSON.

    Raises:
        StoreDamaged: a label that is none of the classes, or the table was changed.
    """
    modalities = selection.manifest.modalities.values()
    dated = {dates_column(one.name): one for one in modalities if one.steps}
    for name in selection.schema.names:
        table = selection.columns([name])
        if name in dated:
            modality = dated[name]
            dates = step_dates(modality, table)
            yield RowArray(name, dates, (f"{modality.name}_step",), _since("s"))
        elif name in selection.manifest.targets:
            yield _labels(selection.manifest, name, table[name])
        else:
            yield _column(name, table[name])


def label_arrays(selection: ExportSelection) -> list[RowArray]:
    """The columns of labels and numbers alone, as `row_arrays` gives them.

    Raises:
        StoreDamaged: as `row_arrays`.
    """
    manifest = selection.manifest
    return [_labels(manifest, name, selection.columns([name])[name]) for name in manifest.targets]


def _labels(manifest: Manifest, name: str, values: "pa.ChunkedArray") -> RowArray:
    import pyarrow.types as pt

    if name in manifest.numbers:
        return RowArray(name, number_array(values))
    names = manifest.classes[name]
    facts: dict[str, Any] = {"classes": list(names)}
    missing = without_labels(values).to_numpy().astype(bool)
    count = int(missing.sum())
    if not pt.is_list(values.type):
        note = f"rows without {name}, which are {IGNORED}: {count:,}" if count else ""
        return RowArray(name, label_array(values, names, names), (), facts, note)
    parts = has_parts(values)
    found = label_array(values, names, names, None if parts else np.int8)
    found[missing] = np.nan if parts else IGNORED
    shown = "NaN" if parts else str(IGNORED)
    note = f"rows without {name}, which are {shown} for each class: {count:,}" if count else ""
    return RowArray(name, found, (f"{name}_class",), facts, note)


def _column(name: str, values: "pa.ChunkedArray") -> RowArray:
    import pyarrow as pa
    import pyarrow.types as pt

    kind, missing = values.type, values.null_count
    if pt.is_timestamp(kind) or pt.is_date(kind):
        return _dates(name, values)
    if pt.is_boolean(kind) or pt.is_integer(kind) or pt.is_floating(kind):
        if not missing:
            return RowArray(name, values.to_numpy())
        note = f"rows without {name}, which are NaN: {missing:,}"
        if pt.is_floating(kind):
            return RowArray(name, values.to_numpy(), note=note)
        try:
            numbers = values.cast(pa.int64()) if pt.is_boolean(kind) else values
            return RowArray(name, numbers.cast(pa.float64()).to_numpy(), note=note)
        except pa.ArrowInvalid:  # too large to be exact: as text
            pass
    if pt.is_string(kind):
        note = f"rows without {name}, which are empty text: {missing:,}" if missing else ""
        return RowArray(name, _as_text(values, str), note=note)
    if pt.is_binary(kind):
        note = f"column {name} (bytes) is written in hexadecimal"
        return RowArray(name, _as_text(values, plain_value), note=note)
    note = f"column {name} ({kind}) is written as JSON"
    return RowArray(name, _as_text(values, lambda value: json.dumps(plain_value(value))), note=note)


def _dates(name: str, values: "pa.ChunkedArray") -> RowArray:
    """Dates in the coarsest unit that holds them exactly."""
    import pyarrow as pa

    for unit in _WITHIN:
        try:
            found = values.cast(pa.timestamp(unit)).cast(pa.int64())
            break
        except pa.ArrowInvalid:
            continue
    return RowArray(name, found.fill_null(int(UNDATED)).to_numpy(), (), _since(unit))


def _since(unit: str) -> dict[str, Any]:
    return {
        "units": f"{_UNITS[unit]} {_EPOCH}",
        "calendar": "proleptic_gregorian",
        "_FillValue": int(UNDATED),
    }


def _as_text(values: "pa.ChunkedArray", text: Callable[[Any], str]) -> Array:
    found = np.empty(len(values), object)
    found[:] = ["" if one is None else text(one) for one in values.to_pylist()]
    return found
