"""The official tables of labels and splits: checked before any pixel is read, then read again.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.descriptions.column_checks import SPLIT
from patchpress.converter.descriptions.description import Description, LabelRule, Splits
from patchpress.converter.descriptions.label_cells import SHARES
from patchpress.converter.tables.arrow import first_repeated, release_memory, set_column
from patchpress.converter.tables.name_index import NameIndex, RepeatedNames, of_hashes
from patchpress.converter.tables.naming import Respelling, respelling_of, stripped
from patchpress.converter.tables.open_tables import open_tables
from patchpress.converter.tables.published_columns import PublishedColumns, published_columns
from patchpress.converter.tables.table_values import (
    Spellings,
    canonical_labels,
    canonical_splits,
    with_canonical_names,
)
from patchpress.converter.tables.tablefiles import (
    BOOLEANS,
    NUMBERS,
    SHARE_LISTS,
    STRING_LISTS,
    STRINGS,
)
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

    def has(self, column: str) -> bool:
        """Whether a table has a column: those with `key` need no names but those of rows."""
        return column in self.columns.schema.names

    def names(self, column: str) -> "pa.ChunkedArray":
        """All values of a column of names."""
        import pyarrow as pa

        return pa.chunked_array(
            [chunk for group in self.groups([column]) for chunk in group[column].chunks],
            pa.string(),
        )

    def columns_of_names(self, column: str) -> Iterator["pa.ChunkedArray"]:
        """All values of a column of names, one row group after the other."""
        for group in self.groups([column]):
            yield group[column]

    def respelled(self, known: Mapping[str, NameIndex]) -> "Tables":
        """The tables with names as the source spells them.

        Args:
            known: key column -> the names that the source has.

        Raises:
            TableError: two rows of the tables mean one patch.
        """
        found, notes = {}, list(self.notes)
        for column, names in known.items():
            spelled = respelling_of(partial(self.columns_of_names, column), names)
            release_memory()
            if not len(spelled.given):
                continue
            found[column] = spelled
            notes += spelled.note(f"column {column} of the tables")
            # Only names that are not in the tables as they are have got another spelling.
            twice = first_repeated(spelled.known)
            if twice is not None and column == self.description.identity:
                raise TableError(
                    f"patch {twice} is in the tables twice, in two spellings "
                    f"({', '.join(map(str, self.paths.values()))}): remove one of its rows"
                )
        return replace(self, respellings=found, notes=tuple(notes)) if found else self


def with_splits_of_tables(description: Description, files: Mapping[str, Path]) -> Description:
    """The description; if it does not speak of splits, a column ``split`` of a table is the split.

    Raises:
        SourceMissing, TableError: a table that cannot be read.
    """
    if description.splits is not None:
        return description
    for table in open_tables(description, files):
        if any(name.casefold() == SPLIT for name in table.schema.names):
            return replace(description, splits=Splits(SPLIT, STANDARD))
    return description


def check_tables(description: Description, paths: Mapping[str, Path]) -> Tables:
    """Check every table before any pixel is read.

    Raises:
        TableError: no Parquet file; a needed column is missing or has another type; tables with
            columns that do not fit together; a patch twice; a label or split that the description
            does not have.
    """
    needed = _needed(description)
    tables = open_tables(description, paths)
    columns = published_columns(description, tables, needed, _optional(description))
    there = [c for c in description.labels if c in columns.schema.names]
    if description.split_column in columns.schema.names:
        needed |= {str(description.split_column): STRINGS}
    wanted = list(dict.fromkeys([*needed, *there]))
    notes = [*columns.notes, *_unflagged(description, columns)]
    identities = RepeatedNames()
    spellings: dict[str, dict[str, str | None]] = {}
    for table in tables:
        path, count = table.path, 0
        for group in columns.read(path, wanted):
            identities.add(_checked_identities(description, path, group))
            for column, names in canonical_splits(description, path, group).items():
                spellings.setdefault(column, {}).update(names)
            for column, names in canonical_labels(description, path, group).items():
                spellings.setdefault(column, {}).update(names)
            count += len(group)
        notes += table.notes
        _log.info("read the table %s: %d rows", path, count)
        if not count:
            notes.append(f"{path.name} has no rows")
    for column, names in spellings.items():
        if column == description.split_column:
            read = [(name, new) for name, new in names.items() if new is not None]
            notes += [f"split {name!r} of the tables is read as {new}" for name, new in read]
        else:
            _log.info("labels in %s get their canonical names: %s", column, names)
    _check_distinct(description, columns, identities)
    rows = len(identities)
    del identities
    release_memory()  # the conversion of the patches needs it
    return Tables(
        description=description,
        paths={part: path for part, path in paths.items() if path in columns.tables},
        columns=columns,
        rows=rows,
        spellings=spellings,
        notes=tuple(notes),
    )


def _needed(description: Description) -> dict[str, str]:
    """Column -> its kind, for the columns from which pairs, labels and splits are read.

    If tables say what their rows are found by, only the names of patches are needed: each may have
    some of the other columns, and others come from lists, names and files beside the patches.
    """
    if description.has_keys:
        return {description.identity: STRINGS}
    needed = {modality.key_column: STRINGS for modality in description.modalities.values()}
    if description.split_column:
        needed[description.split_column] = STRINGS
    # Mapped labels follow from other columns; a table must have the rest.
    given = [rule for rule in description.labels.values() if not description.follows(rule)]
    return needed | {rule.column: _kind(rule) for rule in given}


def _kind(rule: LabelRule) -> str:
    """The kind of a label column of a table, as `check_column` has it."""
    if rule.is_number:
        return NUMBERS
    return SHARE_LISTS if rule.cells.kind == SHARES else STRING_LISTS


def _optional(description: Description) -> dict[str, str]:
    """Column -> its kind, for columns that a table may have."""
    labels = {
        rule.column: _kind(rule)
        for rule in description.labels.values()
        if description.has_keys or description.follows(rule)
    }
    splits = [description.split_column] if description.split_column else []
    keys = [modality.key_column for modality in description.modalities.values()]
    return (
        labels
        | dict.fromkeys(keys if description.has_keys else [], STRINGS)
        | dict.fromkeys(splits if description.has_keys else [], STRINGS)
        | dict.fromkeys(description.flag_columns, BOOLEANS)
    )


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
) -> "pa.ChunkedArray":
    """The names of the rows; each row has one."""
    identities = group[description.identity]
    if identities.null_count:
        raise TableError(
            f"{path} has {several(identities.null_count, 'row')} without {description.identity}"
        )
    return identities


def _check_distinct(
    description: Description, columns: PublishedColumns, identities: RepeatedNames
) -> None:
    """Refuse tables of which two rows have one name.

    Raises:
        TableError: the first of these names, and its tables.
    """
    import pyarrow as pa

    suspected = identities.suspected()
    if not len(suspected):
        return
    identity = description.identity
    found = {
        path: pa.chunked_array(
            [of_hashes(group[identity], suspected) for group in columns.read(path, [identity])],
            pa.string(),
        )
        for path in columns.tables
    }
    twice = first_repeated(
        pa.chunked_array([chunk for names in found.values() for chunk in names.chunks], pa.string())
    )
    if twice is not None:
        there = [str(path) for path, names in found.items() if twice in names.to_pylist()]
        raise TableError(
            f"patch {twice} is in the tables twice ({', '.join(there)}): remove one of its rows"
        )


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
    keys = dict.fromkeys(m.key_column for m in tables.description.modalities.values())
    columns = [column for column in keys if tables.has(column)]
    wanted = pa.array(sorted(identities), pa.string())
    index = NameIndex(wanted)
    tables = tables.respelled({identity: index})
    found: dict[str, set[str]] = {column: set() for column in columns}
    for group in tables.groups(columns):
        rows = group.filter(pa.array(index.has(group[identity])))
        for column in columns:
            names = rows[column].combine_chunks()
            if tables.respellings and column != identity:  # then these are likely written alike
                names = stripped(names)
            found[column].update(names.to_pylist())
    return found
