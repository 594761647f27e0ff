"""The columns of the table that tell when the one acquisition of each patch was."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.descriptions.acquired import Acquired
from patchpress.converter.descriptions.description import Description
from patchpress.converter.tables.arrow import one_array
from patchpress.converter.text import first_few, several
from patchpress.readers.format.table import presence_column
from patchpress.readers.format.time_axis import date_column

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 65_536  # of which dates are made at a time
SHOWN = 4  # names of which a sentence shows three
TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}  # of a second
UNKNOWN = np.datetime64("NaT", "s")


def with_dates(
    description: Description, rows: "pa.Table", present: "Mapping[str, pa.Array]"
) -> "tuple[pa.Table, list[str]]":
    """The rows with a column `NAME_date` for each modality whose description says where it stands.

    Args:
        description: of the data set.
        rows: with the names of the patches, and the columns of tables.
        present: modality -> for each row whether it has a record.

    Returns:
        The rows, and a sentence for each modality that lacks dates of some records. These are null,
        as those of rows without a record.
    """
    notes: list[str] = []
    for name, has in present.items():
        modality = description.modalities[name]
        if modality.date is None:
            continue
        there = np.asarray(has.to_numpy(zero_copy_only=False), bool)
        column = date_column(name)
        if modality.date.name:
            where = "their names tell none there"
            find = partial(modality.date.text_in, limited=modality.limited)
            dates = _of_texts(modality.date, rows[modality.key_column], there, find)
        elif modality.date.column in rows.column_names:
            where = f"column {modality.date.column!r} tells none there"
            dates = _of_column(modality.date, rows[modality.date.column], there)
        else:
            notes.append(
                f"no table has a column {modality.date.column!r} with the dates of {name}, so the "
                f"store has no {column}"
            )
            continue
        dates[~there] = UNKNOWN
        rows = rows.append_column(column, _timestamps(dates))
        undated = np.flatnonzero(there & np.isnat(dates))
        if len(undated):
            some = rows[modality.key_column].take(undated[:SHOWN]).to_pylist()
            notes.append(
                f"{column} is null for {several(len(undated), 'patch', 'patches')}, since {where}: "
                f"{first_few(some)}"
            )
    return rows, notes


def with_dates_again(
    description: Description, table: "pa.Table", modalities: Sequence[str]
) -> "tuple[pa.Table, list[str]]":
    """A whole table whose records have changed, with its dates as `with_dates` makes them.

    They stand where a conversion has them, before the columns that tell which records are there.
    """
    ours = [column for column in description.date_columns if column in table.column_names]
    rows = table.drop_columns(ours) if ours else table
    present = {name: one_array(rows[presence_column(name)]) for name in modalities}
    dated, notes = with_dates(description, rows, present)
    added = dated.column_names[len(rows.column_names) :]
    first = min(rows.column_names.index(presence_column(name)) for name in modalities)
    order = [*rows.column_names[:first], *added, *rows.column_names[first:]]
    return dated.select(order), notes


def _of_column(
    acquired: Acquired, column: "pa.ChunkedArray", there: npt.NDArray[np.bool_]
) -> npt.NDArray[np.datetime64]:
    import pyarrow as pa
    import pyarrow.types as pt

    if pt.is_date(column.type) or pt.is_timestamp(column.type):
        if not pt.is_timestamp(column.type):
            column = column.cast(pa.timestamp("s"))
        # Numbers of one with a time zone count in UTC, too. Fractions of seconds are left out.
        ticks = column.cast(pa.int64())
        seconds = ticks.fill_null(0).to_numpy() // TICKS[column.type.unit]
        found: npt.NDArray[np.datetime64] = seconds.astype("datetime64[s]")
        found[ticks.is_null().to_numpy()] = UNKNOWN
        return found
    return _of_texts(acquired, column, there, str)


def _of_texts(
    acquired: Acquired,
    values: "pa.ChunkedArray",
    there: npt.NDArray[np.bool_],
    text_of: Callable[[Any], str | None],
) -> npt.NDArray[np.datetime64]:
    """The dates in names or cells; `text_of` gives the text of the date in one, if it has any."""
    found = np.full(len(values), UNKNOWN)
    for begin in range(0, len(values), ROWS):  # some at a time: as objects they take much memory
        some = values.slice(begin, ROWS).to_pylist()
        wanted = there[begin : begin + ROWS].tolist()
        texts = [
            None if value is None or not is_there else text_of(value)
            for value, is_there in zip(some, wanted, strict=True)
        ]
        found[begin : begin + ROWS] = _parsed(acquired, texts)
    return found


def _parsed(acquired: Acquired, texts: Sequence[str | None]) -> npt.NDArray[np.datetime64]:
    """The dates of texts; `UNKNOWN` for one that is none."""
    known: dict[str | None, np.datetime64] = {None: UNKNOWN}  # many patches have one date
    for text in texts:
        if text is not None and text not in known:
            try:
                known[text] = np.datetime64(acquired.parse_date(text), "s")
            except ValueError:
                known[text] = UNKNOWN
    return np.array([known[text] for text in texts], "datetime64[s]")


def _timestamps(dates: npt.NDArray[np.datetime64]) -> "pa.Array":
    import pyarrow as pa

    return pa.array(dates).cast(pa.timestamp("ms"))  # as Parquet has it; NaT becomes null
