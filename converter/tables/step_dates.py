"""The columns of the table that tell of the dates of a place: how many steps, and the date of each.

Folders and files that have a date of their own give it with their record. The dates of acquisitions
that are stacked in a file come from a table of their own.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpress.converter.descriptions.description import Description, ModalitySource, fields_of
from patchpress.converter.descriptions.time import DatesTable, iso_date
from patchpress.converter.tables.arrow import set_column
from patchpress.converter.tables.csv_table import CsvTable
from patchpress.converter.text import first_few, several
from patchpress.readers.errors import TableError
from patchpress.readers.format.time_axis import dates_column, steps_column
from patchpress.readers.hints import hint

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 65_536  # of which dates are made at a time
_log = logging.getLogger(__name__)
_Dates = dict[str, dict[int, str]]
"""Published name -> number of the acquisition -> its date."""


def with_step_dates(
    description: Description, rows: "pa.Table", files: Mapping[str, Path]
) -> "tuple[pa.Table, list[str]]":
    """The rows with their time columns in the types of the format, and sentences about dates.

    Args:
        description: of the data set.
        rows: with the columns that records have filled.
        files: part name -> file, for the tables of dates.

    Raises:
        TableError: a table of dates lacks a column, has a date that is none, or two of one step.
    """
    notes: list[str] = []
    for name, modality in description.modalities.items():
        if modality.time is None or steps_column(name) not in rows.column_names:
            continue
        path = files.get(dates_column(name))
        if modality.time.table is not None and path is not None:
            rows = _with_dates_of_table(rows, modality, modality.time.table, path, notes)
        rows = _typed(rows, modality)
    return rows, notes


def _typed(rows: "pa.Table", modality: ModalitySource) -> "pa.Table":
    """The time columns of a modality: int32, and lists of as many timestamps as there are steps."""
    import pyarrow as pa

    steps, dates = steps_column(modality.name), dates_column(modality.name)
    rows = set_column(rows, steps, rows[steps].cast(pa.int32()))
    if dates not in rows.column_names:
        return rows
    kind = pa.list_(pa.timestamp("s"))
    column = rows[dates].combine_chunks()
    parts = [
        # Some at a time: as objects they take ten times the memory.
        pa.array([_padded(c, modality.steps) for c in column[at : at + ROWS].to_pylist()], kind)
        for at in range(0, len(column), ROWS)
    ]
    return set_column(rows, dates, pa.chunked_array(parts, kind))


def _padded(dates: list[str | None] | None, steps: int) -> list[datetime | None] | None:
    """The dates of a place, and None for each step that it lacks."""
    if dates is None:
        return None
    found = [None if date is None else datetime.fromisoformat(date) for date in dates]
    return found + [None] * (steps - len(found))


def _with_dates_of_table(
    rows: "pa.Table", modality: ModalitySource, table: DatesTable, path: Path, notes: list[str]
) -> "pa.Table":
    import pyarrow as pa

    known = _read_dates(path, table, notes)
    steps = rows[steps_column(modality.name)].to_pylist()
    names = rows[modality.key_column].to_pylist()
    found: list[list[str | None] | None] = []
    undated, other = [], []
    for name, count in zip(names, steps, strict=True):
        if count is None:
            found.append(None)
            continue
        own = known.get(name, {})
        found.append([own.get(step) for step in range(count)])
        if not own:
            undated.append(name)
        elif set(own) != set(range(count)):
            other.append(name)
    shown = path.name
    if undated:
        notes.append(
            f"{shown} has no dates of {several(len(undated), 'place')} of {modality.name}, which "
            f"are null: {first_few(undated)}"
        )
    if other:
        notes.append(
            f"{shown} has other steps than the files of {several(len(other), 'place')} of "
            f"{modality.name}; dates without a step are left out, steps without one are null: "
            f"{first_few(other)}"
        )
    _log.info("%s: dates of %d places", path, len(known))
    column = dates_column(modality.name)
    return set_column(rows, column, pa.array(found, pa.list_(pa.string())))


def _read_dates(path: Path, table: DatesTable, notes: list[str]) -> _Dates:
    """The dates of a CSV file, one row an acquisition."""
    import pyarrow as pa

    wanted = list(dict.fromkeys([*fields_of(table.name), table.step, table.date]))
    text = CsvTable(path, texts=wanted)
    names = text.names
    lacking = next((name for name in wanted if name not in names), None)
    if lacking is not None:
        raise TableError(f"{path} has no column {lacking!r}; {hint(lacking, names)}")
    notes += text.notes
    kind = pa.schema([(name, pa.string()) for name in wanted])
    content = pa.concat_tables([kind.empty_table(), *text.groups(wanted)])
    columns = {name: content[name].to_pylist() for name in wanted}
    found: _Dates = {}
    for number in range(len(content)):
        row = {name: values[number] for name, values in columns.items()}
        place = table.name.format_map(row)
        step, line = _step(path, table, row, number + 2), number + 2
        try:
            date = iso_date(row[table.date] or "")
        except ValueError:
            raise TableError(
                f"{path}, line {line}: {row[table.date]!r} of {place} is no date (ISO 8601)"
            ) from None
        if step in found.setdefault(place, {}):
            raise TableError(f"{path}, line {line}: {place} has step {step} twice")
        found[place][step] = date
    return found


def _step(path: Path, table: DatesTable, row: Mapping[str, Any], line: int) -> int:
    try:
        return int(row[table.step])
    except (TypeError, ValueError):
        raise TableError(
            f"{path}, line {line}: {table.step} {row[table.step]!r} is no number of a step"
        ) from None
