"""Columns that follow from other columns or from published lists: mapped labels, splits, flags.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.descriptions.classes import load_class_list
from patchpress.converter.descriptions.description import Description
from patchpress.converter.tables.arrow import fill_column, is_in, set_column
from patchpress.converter.tables.labels_of_shares import with_labels_of_shares
from patchpress.converter.tables.listed_names import listed_names
from patchpress.converter.tables.one_type import as_type
from patchpress.converter.tables.patch_places import GroundPlaces
from patchpress.converter.tables.published_columns import KEPT_AS
from patchpress.converter.tables.split_column import SplitOptions, split_column

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Derived:
    """The rows with all columns that do not follow from pixels, and what the lists lacked."""

    table: "pa.Table"
    listed_without_pixels: dict[str, Sequence[str]]
    """List, called as the split or the flag's column -> names in it that have no row."""
    notes: tuple[str, ...] = ()
    """A sentence for each list of which not all is read as it stands there."""


def derive_columns(
    description: Description,
    rows: "pa.Table",
    files: Mapping[str, Path],
    options: SplitOptions,
    *,
    places: Callable[[], GroundPlaces],
    is_part: bool = False,
) -> Derived:
    """Add the columns of mapped labels, the split and flags.

    Args:
        description: of the data set.
        rows: one row for each patch.
        files: part name -> file, for the lists.
        options: how the rows are split.
        places: gives where the patches lie, if it is asked for.
        is_part: whether the rows are some of the source, so that lists may have none of them.

    Raises:
        SourceMissing, TableError: as `split_column`, and a list of flags that cannot be read.
    """
    import pyarrow as pa

    absent: dict[str, Sequence[str]] = {}
    notes: list[str] = []
    rows = with_labels_of_shares(description, _with_mapped_labels(description, rows))
    if description.splits is not None:
        split = split_column(
            description, description.splits, rows, files, options, places=places, is_part=is_part
        )
        if options.blocks is not None:
            rows = with_source_split(rows, description.splits.column)
        rows = _with_split(rows, description.splits.column, split.values)
        absent |= split.absent
        notes += split.notes
    names = rows[description.identity]
    for column in description.flags:
        if column in files:
            listed = listed_names(description, files[column], names)
            there = is_in(names.combine_chunks(), pa.array(listed.names, pa.string()))
            rows = set_column(rows, column, there)
            notes += listed.notes
            if listed.absent:
                absent[column] = listed.absent
    return Derived(_ordered(description, rows), absent, tuple(notes))


def _with_mapped_labels(description: Description, rows: "pa.Table") -> "pa.Table":
    """The rows with label columns that follow from others, class by class.

    A label whose codes belong to no class of the new list is left out.
    """
    import pyarrow as pa

    for rule in description.labels.values():
        if rule.rule != "mapped" or rule.source not in rows.column_names:
            continue
        given = load_class_list(description.labels[rule.source].class_list)
        mapping = given.mapping_to(load_class_list(rule.class_list))
        _log.info("labels: %s is mapped from %s", rule.column, rule.source)
        mapped = pa.array(_mapped(rows[rule.source].to_pylist(), mapping), pa.list_(pa.string()))
        if rule.column in rows.column_names:  # what a table gives comes first
            mapped = as_type(mapped, rows.schema.field(rule.column).type)
        rows = fill_column(rows, rule.column, mapped)
    return rows


def _mapped(
    cells: list[list[str] | str | None], mapping: Mapping[str, str | None]
) -> list[list[str] | None]:
    """Each cell's labels in the new class list, sorted; a cell without labels stays None."""
    known: dict[tuple[str, ...], list[str]] = {}
    found: list[list[str] | None] = []
    for cell in cells:
        if cell is None:
            found.append(None)
            continue
        names = (cell,) if isinstance(cell, str) else tuple(cell)
        if names not in known:
            known[names] = sorted({new for name in names if (new := mapping[name]) is not None})
        found.append(known[names])
    return found


def _with_split(rows: "pa.Table", column: str, values: "pa.Array | None") -> "pa.Table":
    """The rows with these splits, or without a split column if there are none."""
    if values is not None:
        return set_column(rows, column, values)
    return rows.drop_columns([column]) if column in rows.column_names else rows


def with_source_split(rows: "pa.Table", column: str) -> "pa.Table":
    """The rows; splits that their source gives stay, in a column of another name beside it."""
    kept = f"{KEPT_AS}{column}"
    if column not in rows.column_names or kept in rows.column_names:
        return rows
    return rows.add_column(rows.column_names.index(column) + 1, kept, rows[column])


def _ordered(description: Description, rows: "pa.Table") -> "pa.Table":
    """The columns of official tables as they are; else first those that official tables have."""
    if description.tables:
        return rows
    split = [description.split_column] if description.split_column else []
    first = [description.identity, *description.labels, *split]
    known = [column for column in first if column in rows.column_names]
    return rows.select(known + [c for c in rows.column_names if c not in known])
