"""One file of a table with the columns of a store: names of patches from its key, labels, the rest.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from patchpress.converter.descriptions.description import Description, LabelRule
from patchpress.converter.descriptions.table_source import TableSource
from patchpress.converter.sources.file_patterns import path_form
from patchpress.converter.tables.arrow import is_string, is_string_list, one_array, told_type
from patchpress.converter.tables.delimiter import MARKS
from patchpress.converter.tables.label_cells import labels_of_columns, stored_labels, stored_type
from patchpress.converter.tables.one_table import OneTable
from patchpress.converter.tables.row_numbers import NamesOfRows, as_numbers
from patchpress.converter.tables.tablefiles import reading
from patchpress.readers.errors import TableError
from patchpress.readers.format.arrow_kinds import plain, plain_type

if TYPE_CHECKING:
    import pyarrow as pa

_FIELD = re.compile(r"(\{\w+\})")


class KeyedTable:
    """A table under the names of columns that a store has, with the patch of each row."""

    def __init__(
        self,
        description: Description,
        source: TableSource,
        table: OneTable,
        place: str,
        rows_of: NamesOfRows | None,
    ) -> None:
        """Check its columns.

        Args:
            description: of the data set.
            source: how the table is read.
            table: the file as it stands.
            place: its path under the source, which tells the fields.
            rows_of: the table whose rows its key counts, if it does.

        Raises:
            TableError: it lacks a column that the description names.
        """
        self.path = table.path
        self._table, self._source, self._rows_of = table, source, rows_of
        self._identity = description.identity
        self._rules = {
            column: rule for column, rule in description.labels.items() if rule.rule != "mapped"
        }
        self._fields = self._fields_of(place)
        self._theirs = self._columns(table.schema.names)
        """Our column -> the file's; without label columns that several of its columns make."""
        self._together = {
            column: rule
            for column, rule in self._rules.items()
            if rule.cells.columns and set(rule.cells.columns.values()) & set(table.schema.names)
        }
        for column, rule in self._together.items():
            for name in rule.cells.columns.values():
                self._require(name, f"labels.{column}.columns")

    @property
    def notes(self) -> list[str]:
        """Those of the file."""
        return self._table.notes

    def _fields_of(self, place: str) -> dict[str, str]:
        """The fields that the path tells."""
        if not self._source.fields:
            return {}
        match = re.search(f"(?:^|/){path_form(self._source.file)}$", place)
        if match is None:
            names = ", ".join(self._source.fields)
            raise TableError(
                f"{self.path} is not called as {self._source.file}, which tells {names}: rename it"
            )
        return match.groupdict()

    def _columns(self, there: Sequence[str]) -> dict[str, str]:
        source = self._source
        for key, names in (("columns", source.columns), ("rename", source.rename)):
            for column, name in names.items():
                self._require(name, f"{key}.{column}")
        for name in source.key_columns:
            self._require(name, "key")
        if source.columns:
            found = dict(source.columns)
        else:
            renamed = set(source.rename.values())
            taken = {*source.rename, *(() if not source.key else (self._identity,))}
            apart = {n for rule in self._rules.values() for n in rule.cells.columns.values()}
            left_out = {*renamed, *taken, *apart, source.key}
            found = dict(source.rename) | {name: name for name in there if name not in left_out}
        if source.key:
            found.pop(self._identity, None)
        elif self._identity not in found:
            self._require(self._identity, "the names of patches; or say key")
        return found

    def _require(self, name: str, what: str) -> None:
        names = self._table.schema.names
        if name in names:
            return
        one = len(names) == 1 and any(mark in names[0] for mark in f"{MARKS}| ")
        hint = "; if another sign parts its columns, say it with delimiter" if one else ""
        raise TableError(
            f"{self.path} has no column {name!r}, which the description needs ({what}); it has "
            f"{', '.join(names)}{hint}"
        )

    @cached_property
    def schema(self) -> "pa.Schema":
        """The columns under the names of the store; the names of patches come first."""
        import pyarrow as pa

        given = self._table.schema
        fields = [pa.field(self._identity, pa.string())] if self._source.key else []
        for column, name in self._theirs.items():
            kind = plain_type(given.field(name).type)
            if column in self._rules:
                kind = stored_type(self._rules[column], kind)
            elif column in self._source.types:
                kind = told_type(self._source.types[column])
            fields.append(pa.field(column, kind))
        for column, rule in self._together.items():
            fields.append(pa.field(column, stored_type(rule, pa.int64())))
        known = {field.name for field in fields}
        fields += [pa.field(name, pa.string()) for name in self._fields if name not in known]
        return pa.schema(fields)

    def groups(self, columns: Sequence[str] | None = None) -> "Iterator[pa.Table]":
        """Its rows in groups; all columns or some.

        Raises:
            SourceMissing, TableError: it cannot be read, or a label or number of a row is unknown.
        """
        import pyarrow as pa

        wanted = list(self.schema.names if columns is None else columns)
        for group in self._table.groups(self._needed(wanted)):
            names = self._names(group)

            def row_name(row: int, names: Any = names) -> str:
                return f"{self.path}, patch {names[row].as_py()}"

            made = [self._column(column, group, names, row_name) for column in wanted]
            fields = [self.schema.field(column) for column in wanted]
            yield pa.Table.from_arrays(made, schema=pa.schema(fields))

    def _needed(self, wanted: Sequence[str]) -> list[str]:
        """The columns of the file that some of ours are made of; the key's are always read."""
        needed = [*self._source.key_columns]
        needed += [] if self._source.key else [self._theirs[self._identity]]
        for column in wanted:
            if column in self._together:
                needed += self._rules[column].cells.columns.values()
            elif column in self._theirs:
                needed.append(self._theirs[column])
        return list(dict.fromkeys(needed))

    def _names(self, group: "pa.Table") -> Any:
        """The patch of each row, strings."""
        import pyarrow as pa
        import pyarrow.compute as pc

        source = self._source
        if not source.key:
            return one_array(plain(group[self._theirs[self._identity]])).cast(pa.string())
        if self._rows_of is not None:
            cells = plain(group[source.key])
            return self._rows_of.of(self.path, as_numbers(self.path, source.key, cells))
        if "{" not in source.key:
            return one_array(plain(group[source.key])).cast(pa.string())
        pieces = []
        for piece in _FIELD.split(source.key):
            name = piece[1:-1]
            if not piece.startswith("{"):
                pieces.append(pa.scalar(piece))
            elif name in self._fields:
                pieces.append(pa.scalar(self._fields[name]))
            else:
                pieces.append(one_array(plain(group[name])).cast(pa.string()))
        return pc.binary_join_element_wise(*pieces, pa.scalar(""))

    def _column(self, column: str, group: "pa.Table", names: Any, row_name: Any) -> Any:
        import pyarrow as pa

        if column == self._identity:
            return names
        if column in self._together:
            rule = self._together[column]
            return labels_of_columns(
                rule, {n: plain(group[n]) for n in rule.cells.columns.values()}, row_name
            )
        if column not in self._theirs:
            return pa.array([self._fields[column]] * len(group), pa.string())
        cells = one_array(plain(group[self._theirs[column]]))
        if column in self._rules and self._is_made(self._rules[column], cells.type):
            return stored_labels(self._rules[column], cells, row_name)
        kind = self.schema.field(column).type
        if cells.type.equals(kind):
            return cells
        with reading(self.path, "such"):
            return cells.cast(kind)

    def _is_made(self, rule: LabelRule, kind: Any) -> bool:
        """Whether labels are made of cells; those of a type that none are made of stay."""
        is_name = is_string(kind) or is_string_list(kind)
        return is_name or rule.cells.is_told or not stored_type(rule, kind).equals(kind)
