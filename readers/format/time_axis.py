"""Several acquisitions of a place in one record: which steps of its time axis are there, and when.

The acquisitions of a place come first, in the order of their dates; steps after them are zeros. So
their number tells which steps are present.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import Split, presence_column, read_table

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
UNDATED = np.iinfo(np.int64).min
"""The seconds of a step without a date: what NumPy calls NaT in datetime64[s]."""


def steps_column(modality: str) -> str:
    """The column with how many steps of a record are present; null if nobody knows."""
    return f"{modality}_steps"


def dates_column(modality: str) -> str:
    """The column with the date of each step, in UTC; null for one that is not there."""
    return f"{modality}_dates"


def date_column(modality: str) -> str:
    """The column with the date of a record without a time axis, in UTC; null if it is unknown."""
    return f"{modality}_date"


def present_field(modality: str) -> str:
    """What readers call the mask of the steps that are present."""
    return f"{modality}_present"


def time_columns(modalities: Iterable[str]) -> tuple[str, ...]:
    """The names that the columns of these modalities with a time axis have in the table."""
    names = list(modalities)
    return (*map(steps_column, names), *map(dates_column, names))


def step_counts(modality: Modality, table: "pa.Table") -> npt.NDArray[np.int64]:
    """How many steps of each row's record are present, (rows,).

    All of them if nobody knows; 0 if the row has no record.
    """
    found = np.full(len(table), modality.steps, np.int64)
    name, has = steps_column(modality.name), presence_column(modality.name)
    if name in table.column_names:
        values: Array = table[name].fill_null(modality.steps).to_numpy()
        found = np.clip(values.astype(np.int64), 0, modality.steps)
    if has in table.column_names:
        found[~np.asarray(table[has].to_numpy(), bool)] = 0
    return found


def present_steps(modality: Modality, table: "pa.Table") -> npt.NDArray[np.bool_]:
    """Which steps of each row's record are present, (rows, steps)."""
    return np.arange(modality.steps) < step_counts(modality, table)[:, None]


def step_dates(modality: Modality, table: "pa.Table") -> npt.NDArray[np.int64]:
    """The dates of the steps of each row, (rows, steps): seconds since 1970 in UTC, or `UNDATED`.

    ``.view("datetime64[s]")`` makes dates of them.
    """
    import pyarrow as pa

    found = np.full((len(table), modality.steps), UNDATED, np.int64)
    name = dates_column(modality.name)
    if name not in table.column_names or not len(table):
        return found
    column = table[name].combine_chunks().cast(pa.list_(pa.timestamp("s")))
    lengths = column.value_lengths().fill_null(0).to_numpy()
    flat = column.flatten().cast(pa.int64()).fill_null(int(UNDATED)).to_numpy()
    rows = np.repeat(np.arange(len(table)), lengths)
    steps = np.arange(len(flat)) - np.repeat(lengths.cumsum() - lengths, lengths)
    inside = steps < modality.steps
    found[rows[inside], steps[inside]] = flat[inside]
    return found


def fields_of_time(
    modalities: Sequence[Modality],
) -> "dict[str, Callable[[pa.Table], Array]]":
    """Name -> what it makes of rows: the present steps and the dates of each modality with time."""
    found: dict[str, Callable[[pa.Table], Array]] = {}
    for modality in modalities:
        if modality.steps:
            found[present_field(modality.name)] = partial(present_steps, modality)
            found[dates_column(modality.name)] = partial(step_dates, modality)
    return found


def record_steps(
    store: Path,
    manifest: Manifest,
    modality: Modality,
    split: Split = None,
    flagged: str | None = None,
) -> list[int]:
    """How many steps of each record are present, in the order of `record_keys`."""
    columns = read_table(store, manifest, split, None, modality.name, flagged)
    found: list[int] = step_counts(modality, columns).tolist()
    return found
