"""The official tables of labels and splits: checked before any pixel is read, then read again.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.descriptions.column_checks import SPLIT
from patchpress.converter.descriptions.description import Description, Splits
from patchpress.converter.tables.arrow import first_repeated, is_in, release_memory, set_column
from patchpress.converter.tables.naming import Respelling, respelling, stripped
from patchpress.converter.tables.published_columns import PublishedColumns, published_columns
from patchpress.converter.tables.table_values import (
    Spellings,
    canonical_labels,
    canonical_splits,
    with_canonical_names,
)
from patchpress.converter.tables.tablefiles import BOOLEANS, STRING_LISTS, STRINGS, read_schema
from patchpress.converter.text import several
from patchpress.readers.errors import TableError
from patchpress.readers.format.split_names import STANDARD

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tables:
    """The official tables of one conversion, checked, and read as one."""

    description: Description
    paths: Mapping[str, Path]
    columns: PublishedColumns
    rows: int
    """Rows of all tables together."""
    spellings: Spellings = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """A sentence for each thing that is not read as it stands in the tables."""
    respellings: Mapping[str, Respelling] = field(default_factory=dict)
    """Key column -> names in it that the source spells otherwise."""

    def groups(self, columns: Sequence[str] | None = None) -> Iterator["pa.Table"]:
        """Their rows with canonical labels, one row group after the other.

        So a large table is never in memory as a whole.
        """
        for path in self.paths.values():
            for group in self.columns.read(path, columns):
                yield _respelled(with_canonical_names(group, self.spellings), self.respellings)

    def names(self, column: str) -> "pa.ChunkedArray":
        """All values of a column of names."""
        import pyarrow as pa

        return pa.chunked_array(
            [chunk for group in self.groups([column]) for chunk in group[column].chunks],
            pa.string(),
        )

    def respelled(self, known: Mapping[str, "pa.Array"]) -> "Tables":
        """The tables with names as the source spells them.

        Args:
            known: key column -> the names that the source has.

        Raises:
            TableError: two rows of the tables mean one patch.
        """
        found, notes = {}, list(self.notes)
        for column, names in known.items():
            given = self.names(column)
            spelled = respelling(given, names)
            if not len(spelled.given):
                del given
                release_memory()
                continue
            found[column] = spelled
            notes += spelled.note(f"column {column} of the tables")
            twice = first_repeated(spelled.apply(given))
            if twice is not None and column == self.description.identity:
                raise TableError(
                    f"patch {twice} is in the tables twice, in two spellings "
                    f"({', '.join(map(str, self.paths.values()))}): remove one of its rows"
                )
        return replace(self, respellings=found, notes=tuple(notes)) if found else self


def with_splits_of_tables(description: Description, paths: Iterable[Path]) -> Description:
    """The description; if it does not speak of splits, a column ``split`` of a table is the split.

    Raises:
        SourceMissing, TableError: a table that cannot be read.
    """
    if description.splits is not None:
        return description
    for path in paths:
        if any(name.casefold() == SPLIT for name in read_schema(path).names):
            return replace(description, splits=Splits(SPLIT, STANDARD))
    return description


def check_tables(description: Description, paths: Mapping[str, Path]) -> Tables:
    """Check every table before any pixel is read.

    Raises:
        TableError: no Parquet file; a needed column is missing or has another type; tables with
            columns that do not fit together; a patch twice; a label or split that the description
            does not have.
    """
    import pyarrow as pa

    needed = _needed(description)
    columns = published_columns(description, list(paths.values()), needed, _optional(description))
    there = [c for c in description.labels if c in columns.schema.names]
    wanted = list(dict.fromkeys([*needed, *there]))
    notes = [*columns.notes, *_unflagged(description, columns)]
    identities: dict[Path, list[pa.Array]] = {path: [] for path in paths.values()}
    spellings: dict[str, dict[str, str | None]] = {}
    for path in paths.values():
        count = 0
        for group in columns.read(path, wanted):
            identities[path].extend(_checked_identities(description, path, group))
            for column, names in canonical_splits(description, path, group).items():
                spellings.setdefault(column, {}).update(names)
            for column, names in canonical_labels(description, path, group).items():
                spellings.setdefault(column, {}).update(names)
            count += len(group)
        _log.info("read the table %s: %d rows", path, count)
        if not count:
            notes.append(f"{path.name} has no rows")
    for column, names in spellings.items():
        if column == description.split_column:
            read = [(name, new) for name, new in names.items() if new is not None]
            notes += [f"split {name!r} of the tables is read as {new}" for name, new in read]
        else:
            _log.info("labels in %s get their canonical names: %s", column, names)
    rows = _count_distinct(identities)
    del identities
    release_memory()  # the conversion of the patches needs it
    return Tables(
        description=description,
        paths=dict(paths),
        columns=columns,
        rows=rows,
        spellings=spellings,
        notes=tuple(notes),
    )


def _needed(description: Description) -> dict[str, str]:
    """Column -> its kind, for the columns from which pairs, labels and splits are read."""
    needed = {modality.key_column: STRINGS for modality in description.modalities.values()}
    if description.split_column:
        needed[description.split_column] = STRINGS
    # Mapped labels follow from other columns; a table must have the rest.
    given = [c for c, rule in description.labels.items() if rule.rule != "mapped"]
    return needed | dict.fromkeys(given, STRING_LISTS)


def _optional(description: Description) -> dict[str, str]:
    """Column -> its kind, for columns that a table may have."""
    mapped = [c for c, rule in description.labels.items() if rule.rule == "mapped"]
    return dict.fromkeys(mapped, STRING_LISTS) | dict.fromkeys(description.flag_columns, BOOLEANS)


def _unflagged(description: Description, columns: PublishedColumns) -> list[str]:
    """A sentence for each column that should flag rows, and that nothing fills."""
    known = {*columns.schema.names, *description.flags}
    return [
        f"no table has the column {column}: no row is flagged by it"
        for column in description.flag_columns
        if column not in known
    ]


def _checked_identities(
    description: Description, path: Path, group: "pa.Table"
) -> Sequence["pa.Array"]:
    """The names of the rows; each row has one."""
    identities = group[description.identity]
    if identities.null_count:
        raise TableError(
            f"{path} has {several(identities.null_count, 'row')} without {description.identity}"
        )
    chunks: Sequence[pa.Array] = identities.chunks
    return chunks


def _count_distinct(identities: Mapping[Path, Sequence["pa.Array"]]) -> int:
    """How many rows the tables have, if all have different names.

    Raises:
        TableError: two rows have one name.
    """
    import pyarrow as pa

    chunks = [chunk for those in identities.values() for chunk in those]
    names = pa.chunked_array(chunks) if chunks else pa.chunked_array([], pa.string())
    twice = first_repeated(names)
    if twice is not None:
        there = [
            path
            for path, those in identities.items()
            if any(twice in chunk.to_pylist() for chunk in those)
        ]
        raise TableError(
            f"patch {twice} is in the tables twice "
            f"({', '.join(map(str, there))}): remove one of its rows"
        )
    return len(names)


def _respelled(group: "pa.Table", respellings: Mapping[str, Respelling]) -> "pa.Table":
    """Rows whose names are spelled as in the source."""
    for column, spelled in respellings.items():
        if column in group.column_names:
            group = set_column(group, column, spelled.apply(group[column]))
    return group


def partner_names(tables: Tables, identities: set[str]) -> dict[str, set[str]]:
    """Key column -> names in it, for the rows with these identities."""
    import pyarrow as pa

    identity = tables.description.identity
    columns = list(dict.fromkeys(m.key_column for m in tables.description.modalities.values()))
    wanted = pa.array(sorted(identities), pa.string())
    tables = tables.respelled({identity: wanted})
    found: dict[str, set[str]] = {column: set() for column in columns}
    for group in tables.groups(columns):
        rows = group.filter(is_in(group[identity], wanted))
        for column in columns:
            names = rows[column].combine_chunks()
            if tables.respellings and column != identity:  # then these are likely written alike
                names = stripped(names)
            found[column].update(names.to_pylist())
    return found
