"""The official tables of labels and splits: checked before any pixel is read, then read again.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.labels import canonical_label
from patchpress.converter.tables.arrow import first_repeated, is_in, is_string
from patchpress.converter.tables.tablefiles import (
    STRING_LISTS,
    STRINGS,
    check_column,
    read_groups,
    read_schema,
)
from patchpress.readers.errors import TableError
from patchpress.readers.hints import hint

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

Spellings = Mapping[str, Mapping[str, str]]
"""Label column -> spelling in the tables -> canonical name, for those that differ."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The official tables of one conversion, checked; all have the same columns."""

    description: Description
    paths: Mapping[str, Path]
    rows: int
    """Rows of all tables together."""
    spellings: Spellings = field(default_factory=dict)

    def groups(self, columns: Sequence[str] | None = None) -> Iterator["pa.Table"]:
        """Their rows with canonical labels, one row group after the other.

        So a large table is never in memory as a whole.
        """
        for path in self.paths.values():
            for group in read_groups(path, columns):
                yield _with_canonical_labels(group, self.spellings)


def check_tables(description: Description, paths: Mapping[str, Path]) -> Tables:
    """Check every table before any pixel is read.

    Raises:
        TableError: no Parquet file; a needed column is missing or has another type; tables with
            different columns; a patch twice; a label or split that the description does not have.
    """
    import pyarrow as pa

    needed = _needed(description)
    first = next(iter(paths.values()))
    expected = read_schema(first)
    _check_flag_columns(description, first, expected)
    identities: list[pa.Array] = []
    spellings: dict[str, dict[str, str]] = {}
    for path in paths.values():
        _check_schema(path, needed, first, expected)
        count = 0
        for group in read_groups(path, list(needed)):
            identities.extend(_checked_identities(description, path, group))
            _check_splits(description, path, group)
            for column, names in _canonical_labels(description, path, group).items():
                spellings.setdefault(column, {}).update(names)
            count += len(group)
        _log.info("read the table %s: %d rows", path, count)
    for column, names in spellings.items():
        _log.info("labels in %s get their canonical names: %s", column, names)
    rows = _count_distinct(identities, paths.values())
    del identities
    # Arrow keeps the memory that it has freed, several times the size of the tables; the conversion
    # of the patches needs it.
    pa.default_memory_pool().release_unused()
    return Tables(description=description, paths=dict(paths), rows=rows, spellings=spellings)


def _needed(description: Description) -> dict[str, str]:
    """Column -> its kind, for the columns from which pairs, labels and splits are read."""
    needed = {modality.key_column: STRINGS for modality in description.modalities.values()}
    if description.split_column:
        needed[description.split_column] = STRINGS
    # Mapped labels follow from other columns; a table must have the rest.
    given = [c for c, rule in description.labels.items() if rule.rule != "mapped"]
    return needed | dict.fromkeys(given, STRING_LISTS)


def _check_schema(
    path: Path, needed: Mapping[str, str], first: Path, expected: "pa.Schema"
) -> None:
    """Refuse a table that lacks a needed column, or has other columns than the first one."""
    schema = read_schema(path)
    for column, kind in needed.items():
        check_column(path, schema, column, kind)
    if schema.names != expected.names:
        raise TableError(
            f"{path} has other columns than {first}: "
            f"{', '.join(schema.names)} against {', '.join(expected.names)}"
        )
    for own, other in zip(schema, expected, strict=True):
        if not own.equals(other):
            raise TableError(
                f"{path} has {_kind(own)} in column {own.name!r}, and {first} has {_kind(other)}: "
                "make them the same"
            )


def _kind(column: "pa.Field") -> str:
    return f"{column.type}{'' if column.nullable else ' not null'}"


def _check_flag_columns(description: Description, path: Path, schema: "pa.Schema") -> None:
    """Refuse a table in which a column that flags rows is not of true and false."""
    for column in description.flag_columns:
        if column in schema.names and str(schema.field(column).type) != "bool":
            raise TableError(
                f"{path} has {schema.field(column).type} in column {column!r}, which must be bool"
            )


def _checked_identities(
    description: Description, path: Path, group: "pa.Table"
) -> Sequence["pa.Array"]:
    """The names of the rows; each row has one."""
    identities = group[description.identity]
    if identities.null_count:
        raise TableError(f"{path} has {identities.null_count} rows without {description.identity}")
    chunks: Sequence[pa.Array] = identities.chunks
    return chunks


def _check_splits(description: Description, path: Path, group: "pa.Table") -> None:
    """Refuse a split that the description does not have."""
    import pyarrow.compute as pc

    if description.splits is None:
        return
    column, known = description.splits.column, description.splits.names
    for split in pc.unique(group[column]).drop_null().to_pylist():
        if split not in known:
            patch = _first_with(description, group, column, split)
            raise TableError(
                f"{path} gives patch {patch} the split {split!r}, which is unknown; "
                f"{hint(split, known)}"
            )


def _canonical_labels(description: Description, path: Path, group: "pa.Table") -> Spellings:
    """The spellings in the label columns that are not canonical, and what they become.

    Raises:
        TableError: a label that the description does not have.
    """
    import pyarrow.compute as pc

    spellings: dict[str, dict[str, str]] = {}
    for column, rule in description.labels.items():
        cells = group[column]
        labels = cells if is_string(cells.type) else pc.list_flatten(cells)
        for label in pc.unique(labels).drop_null().to_pylist():
            try:
                name = canonical_label(rule, label)
            except TableError as error:
                patch = _first_with(description, group, column, label)
                raise TableError(f"{path}, patch {patch}: {error}") from None
            if name != label:
                spellings.setdefault(column, {})[label] = name
    return spellings


def _count_distinct(identities: list["pa.Array"], paths: Iterable[Path]) -> int:
    """How many rows there are, if all have different names.

    Raises:
        TableError: two rows have one name.
    """
    import pyarrow as pa

    names = pa.chunked_array(identities) if identities else pa.chunked_array([], pa.string())
    twice = first_repeated(names)
    if twice is not None:
        raise TableError(
            f"patch {twice} is in the tables twice "
            f"({', '.join(map(str, paths))}): remove one of its rows"
        )
    return len(names)


def _first_with(description: Description, group: "pa.Table", column: str, value: str) -> str:
    """The first patch that has a value in a column, as its cell or in its cell's list."""
    rows = zip(group[description.identity].to_pylist(), group[column].to_pylist(), strict=True)
    return next(
        str(name)
        for name, cell in rows
        if cell == value or (isinstance(cell, list) and value in cell)
    )


def _with_canonical_labels(group: "pa.Table", spellings: Spellings) -> "pa.Table":
    """Rows whose labels have their canonical names."""
    import pyarrow as pa

    for column, names in spellings.items():
        if column in group.column_names:
            at = group.schema.get_field_index(column)
            field = group.schema.field(at)
            cells = [_renamed(cell, names) for cell in group[column].to_pylist()]
            group = group.set_column(at, field, pa.array(cells, field.type))
    return group


def _renamed(cell: Any, names: Mapping[str, str]) -> Any:
    if isinstance(cell, list):
        return [names.get(label, label) for label in cell]
    return names.get(cell, cell)


def partner_names(tables: Tables, identities: set[str]) -> dict[str, set[str]]:
    """Key column -> names in it, for the rows with these identities."""
    import pyarrow as pa

    columns = list(dict.fromkeys(m.key_column for m in tables.description.modalities.values()))
    wanted = pa.array(sorted(identities), pa.string())
    found: dict[str, set[str]] = {column: set() for column in columns}
    for group in tables.groups(columns):
        rows = group.filter(is_in(group[tables.description.identity], wanted))
        for column in columns:
            found[column].update(rows[column].to_pylist())
    return found
