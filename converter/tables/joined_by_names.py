"""Several tables of patches as one: rows of one patch are joined, and each table may add both.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from patchpress.converter.tables.arrow import first_repeated, is_in, one_array
from patchpress.converter.tables.naming import respelling
from patchpress.converter.tables.one_table import OneTable
from patchpress.converter.tables.tablefiles import reading
from patchpress.converter.text import several
from patchpress.readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa


class _Names(NamedTuple):
    """The patches of all tables."""

    of_tables: list[Any]
    """For each table the names of its rows, strings, as the first one spells them."""
    added: Any
    """Names that the first table does not have, each once."""
    notes: list[str]


class JoinedByNames:
    """A row for each patch of any table; of a value that two of them have the first counts."""

    def __init__(self, tables: Sequence[Sequence[OneTable]], identity: str) -> None:
        """Take the files of each table.

        Args:
            tables: of each its files, whose rows are different ones.
            identity: the column with the names of patches.
        """
        self._tables, self._identity = tables, identity

    @property
    def path(self) -> Path:
        """The first file."""
        return self._tables[0][0].path

    @property
    def notes(self) -> list[str]:
        """Those of all files, and of rows that find no partner.

        Raises:
            TableError: a patch is in one of the tables twice.
        """
        own = [note for files in self._tables for table in files for note in table.notes]
        return [*own, *self._names.notes]

    @cached_property
    def schema(self) -> "pa.Schema":
        """The columns of all tables."""
        import pyarrow as pa

        schemas = [table.schema for files in self._tables for table in files]
        try:
            return pa.unify_schemas(schemas, promote_options="permissive")
        except pa.ArrowException as error:
            files = ", ".join(str(table.path) for own in self._tables for table in own)
            raise TableError(
                f"a column has other values in one of {files} than in the others: name it "
                f"otherwise with rename ({str(error).splitlines()[0]})"
            ) from None

    def groups(self, columns: Sequence[str] | None = None) -> "Iterator[pa.Table]":
        """The rows in groups; all columns or some."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = list(self.schema.names if columns is None else columns)
        others = [
            (names, self._read(files, wanted))
            for files, names in zip(self._tables[1:], self._names.of_tables[1:], strict=True)
        ]
        others = [(names, values) for names, values in others if values]
        for group in self._base(wanted):
            names = one_array(group[self._identity])
            arrays = {column: one_array(group[column]) for column in wanted}
            for known, values in others:
                at = pc.index_in(names, value_set=known)
                for column, there in values.items():
                    arrays[column] = pc.if_else(
                        pc.is_valid(arrays[column]), arrays[column], there.take(at)
                    )
            fields = [self.schema.field(column) for column in wanted]
            yield pa.Table.from_arrays(list(arrays.values()), schema=pa.schema(fields))

    def _base(self, wanted: Sequence[str]) -> "Iterator[pa.Table]":
        """The rows of the first table, then those that only others have, which are still empty."""
        import pyarrow as pa

        columns = list(dict.fromkeys([*wanted, self._identity]))
        for table in self._tables[0]:
            for group in table.groups([c for c in columns if c in table.schema.names]):
                yield self._with_all(table.path, group, columns)
        if len(self._names.added):
            added = pa.table({self._identity: self._names.added})
            yield self._with_all(self.path, added, columns)

    def _with_all(self, path: Path, group: "pa.Table", columns: Sequence[str]) -> "pa.Table":
        """A group with all of some columns in their types; null in those that it does not have."""
        import pyarrow as pa

        arrays = []
        for column in columns:
            kind = self.schema.field(column).type
            if column not in group.column_names:
                arrays.append(pa.nulls(len(group), kind))
                continue
            with reading(path, "such"):
                arrays.append(one_array(group[column]).cast(kind))
        return pa.table(arrays, names=list(columns))

    def _read(self, files: Sequence[OneTable], wanted: Sequence[str]) -> dict[str, Any]:
        """Column -> its values in all rows of a table; of the wanted ones that it has."""
        import pyarrow as pa

        mine = [
            column
            for column in wanted
            if column != self._identity and any(column in table.schema.names for table in files)
        ]
        if not mine:
            return {}
        groups = [
            self._with_all(table.path, group, mine)
            for table in files
            for group in table.groups(
                [c for c in mine if c in table.schema.names] or [self._identity]
            )
        ]
        if not groups:
            return {}
        whole = pa.concat_tables(groups)
        return {column: one_array(whole[column]) for column in mine}

    @cached_property
    def _names(self) -> _Names:
        """The names of all rows.

        Raises:
            TableError: a patch is in one of the tables twice.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        base = known = self._given(self._tables[0])
        of_tables, notes = [base], list[str]()
        first = ", ".join(table.path.name for table in self._tables[0])
        for files in self._tables[1:]:
            given = self._given(files)
            names = one_array(respelling(given, known).apply(given))
            called = ", ".join(table.path.name for table in files)
            twice = first_repeated(names.drop_null())
            if twice is not None:
                paths = ", ".join(str(table.path) for table in files)
                raise TableError(f"patch {twice} is in {paths} twice: remove one of its rows")
            of_tables.append(names)
            beside = len(names) - (pc.sum(is_in(names, base)).as_py() or 0)
            lacking = len(base) - (pc.sum(is_in(base, names)).as_py() or 0)
            if beside:
                notes.append(
                    f"{several(beside, 'row')} of {called} {_are(beside)} of no patch of {first}"
                )
            if lacking:
                notes.append(
                    f"{several(lacking, 'row')} of {first} {_are(lacking)} not in {called}"
                )
            new = names.filter(pc.invert(is_in(names, known))).drop_null()
            known = pa.concat_arrays([known, new])
        return _Names(of_tables, known.slice(len(base)), notes)

    def _given(self, files: Sequence[OneTable]) -> Any:
        """The names of the rows of a table as they stand there, strings."""
        import pyarrow as pa

        return one_array(
            pa.chunked_array(
                [
                    chunk
                    for table in files
                    for group in table.groups([self._identity])
                    for chunk in group[self._identity].chunks
                ],
                pa.string(),
            )
        )


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
