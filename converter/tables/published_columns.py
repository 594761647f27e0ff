"""The columns of several published tables, brought together: names, types, and their order.

Tables come from many programs. Their columns are joined by name, text and lists get plain types,
and what pandas adds for its index is left out. A column that is called as one of the store's own
is kept under another name. Each of these is told in a sentence.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.descriptions.description import Description
from patchpress.converter.tables.one_table import OneTable
from patchpress.converter.tables.tablefiles import BOOLEANS, check_column, reading
from patchpress.readers.errors import TableError
from patchpress.readers.format.arrow_kinds import plain, plain_type
from patchpress.readers.format.table import own_columns

if TYPE_CHECKING:
    import pyarrow as pa

KEPT_AS = "source_"
"""What the name of a column begins with that would else be called as one of the store's own."""
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True, slots=True)
class PublishedColumns:
    """What tables have in common: every column of each of them, under one name and type."""

    schema: "pa.Schema"
    """The columns in the order of the first table; those that only others have come last."""
    names: Mapping[Path, Mapping[str, str]]
    """Table -> column as we call it -> as the table does; columns that it has."""
    tables: Mapping[Path, OneTable]
    """The tables by their paths."""
    notes: tuple[str, ...]
    """A sentence for each column that is not read as it stands there."""

    def read(self, path: Path, columns: Sequence[str] | None = None) -> Iterator["pa.Table"]:
        """The row groups of a table one after the other, all columns or some.

        A column that the table does not have is null.

        Raises:
            SourceMissing, TableError: it cannot be read, or a value does not fit its column.
        """
        import pyarrow as pa

        wanted = list(self.schema.names if columns is None else columns)
        own = self.names[path]
        fields = [self.schema.field(column) for column in wanted]
        asked = [own[column] for column in wanted if column in own]
        for group in self.tables[path].groups(asked):
            arrays = []
            for field in fields:
                name = own.get(field.name)
                if name is None:
                    arrays.append(pa.chunked_array([pa.nulls(len(group), field.type)]))
                    continue
                with reading(path):
                    arrays.append(_cast(path, plain(group[name]), field))
            yield pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def published_columns(
    description: Description,
    tables: Sequence[OneTable],
    needed: Mapping[str, str],
    optional: Mapping[str, str],
) -> PublishedColumns:
    """Bring the columns of tables together.

    Args:
        description: of the data set.
        tables: in their order.
        needed: column -> its kind, as `check_column` has it; each table has them.
        optional: the same for columns that a table may have.

    Raises:
        SourceMissing: no such table.
        TableError: it is no Parquet file, has a column twice or lacks one that is needed, or a
            column has a type that is not the needed one, or does not fit the one in another table.
    """
    import pyarrow as pa

    meant = _with_meaning(description)
    ours = _OurNames((*own_columns(description.modalities), *description.date_columns), meant)
    fields: dict[str, pa.Field] = {}
    first_in: dict[str, Path] = {}
    names: dict[Path, dict[str, str]] = {}
    for table in tables:
        path, found = table.path, table.schema
        names[path] = ours.of_table(path, found.names)
        schema = pa.schema([found.field(name).with_name(c) for c, name in names[path].items()])
        for column, kind in {**needed, **optional}.items():
            if column in needed or column in names[path]:
                check_column(path, schema, column, kind)
        for field in schema:
            column = field.name
            field = field.with_type(plain_type(field.type))
            if optional.get(column) == BOOLEANS:
                field = field.with_type(pa.bool_())
            if column in fields:
                field = _common(path, field, first_in[column], fields[column])
            fields[column] = field
            first_in.setdefault(column, path)
    for column, field in fields.items():
        if str(field.type) == "null" and column in meant:
            fields[column] = field.with_type(_type_without_values(description, column))
    expected = [c for c in fields if c not in meant or optional.get(c) == BOOLEANS]
    notes = ours.notes()
    for path, own in names.items():
        absent = [column for column in expected if column not in own]
        if absent:
            notes.append(
                f"{path.name} has no column {_listed(absent)}, as {first_in[absent[0]].name} has: "
                "its rows have no value there"
            )
    return PublishedColumns(
        schema=pa.schema(list(fields.values())),
        names=names,
        tables={table.path: table for table in tables},
        notes=tuple(notes),
    )


def _type_without_values(description: Description, column: str) -> "pa.DataType":
    """The type of a column that has no value in any table, but a meaning."""
    import pyarrow as pa

    if column in description.flag_columns or column in description.flags:
        return pa.bool_()
    if column in description.numbers:
        return pa.float32()
    return pa.list_(pa.string()) if column in description.labels else pa.string()


def _with_meaning(description: Description) -> list[str]:
    """The columns that a description speaks of."""
    modalities = description.modalities.values()
    columns = [modality.key_column for modality in modalities]
    columns += [column for modality in modalities for column in modality.columns]
    columns += [c for m in modalities if m.sidecar for c in m.sidecar.columns]
    columns += [*description.labels, *description.flags, *description.flag_columns]
    columns += [description.split_column] if description.split_column else []
    columns += list(description.pairs.columns) if description.pairs else []
    return list(dict.fromkeys(columns))


class _OurNames:
    """What the columns of tables are called in a store; those of all tables alike."""

    def __init__(self, own: Sequence[str], meant: Sequence[str]) -> None:
        """Take the columns that a store makes itself, and those that a description speaks of."""
        self._own = {name.casefold() for name in own}
        self._by_case = {name.casefold(): name for name in meant}
        self._taken = set(meant)
        self._renamed: dict[str, str] = {}
        """Name in a table -> ours, of columns that are kept under another name."""
        self._notes: dict[tuple[str, str], list[str]] = {}
        """What a sentence says before and after the names of tables -> these."""

    def notes(self) -> list[str]:
        """A sentence for each column that is not called as in its table."""
        return [
            f"{before} of {_listed(tables)} {after}"
            for (before, after), tables in self._notes.items()
        ]

    def of_table(self, path: Path, columns: Sequence[str]) -> dict[str, str]:
        """Column as we call it -> as a table calls it.

        Raises:
            TableError: the table has a column twice.
        """
        twice = next((name for name, count in Counter(columns).items() if count > 1), None)
        if twice is not None:
            raise TableError(f"{path} has two columns {twice!r}: rename one")
        index = [name for name in columns if _PANDAS_INDEX.fullmatch(name)]
        if index:
            self._note(f"column {_listed(index)}", path, "is left out: it is the index of pandas")
        kept = [name for name in columns if name not in index]
        self._taken.update(kept)
        found: dict[str, str] = {}
        for name in kept:
            column = self._column(path, name, {*kept, *found})
            found[column] = name
            self._by_case.setdefault(name.casefold(), column)
        return found

    def _column(self, path: Path, name: str, there: set[str]) -> str:
        folded = name.casefold()
        same = self._by_case.get(folded, name)
        if folded in self._own:
            why = "a store has a column of that name of its own"
        elif same != name and same in there and same not in self._renamed.values():
            # Many programs that read Parquet do not tell names apart by case.
            why = f"it differs from {same} in case only"
        else:
            if same != name:
                self._note(f"column {name}", path, f"is read as {same}")
            return same
        if name not in self._renamed:
            other = f"{KEPT_AS}{name}"
            while other in self._taken:
                other = f"{KEPT_AS}{other}"
            self._renamed[name] = other
            self._taken.add(other)
        self._note(f"column {name}", path, f"is kept as {self._renamed[name]}: {why}")
        return self._renamed[name]

    def _note(self, before: str, path: Path, after: str) -> None:
        self._notes.setdefault((before, after), []).append(path.name)


def _common(path: Path, field: "pa.Field", first: Path, other: "pa.Field") -> "pa.Field":
    """A field that holds the values of a column in two tables.

    Raises:
        TableError: there is none.
    """
    import pyarrow as pa

    plain_fields = [pa.schema([each.with_nullable(True).remove_metadata()])  # noqa: RUF100
                    for each in (other, field)]  # fmt: skip
    try:
        common = pa.unify_schemas(plain_fields, promote_options="permissive").field(0)
    except pa.ArrowException:
        raise TableError(
            f"{path} has {field.type} in column {field.name!r}, and {first} has {other.type}: "
            "make them the same"
        ) from None
    if other.type.equals(common.type):
        common = other
    return common.with_nullable(field.nullable or other.nullable)


def _cast(path: Path, values: "pa.ChunkedArray", field: "pa.Field") -> "pa.ChunkedArray":
    """Values in the type of their column.

    Raises:
        TableError: a number that should be true or false, and is neither 1 nor 0.
        pyarrow.ArrowException: a value that the type cannot hold.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(field.type) and not pa.types.is_boolean(values.type):
        for value in pc.unique(values).drop_null().to_pylist():
            if value not in (0, 1):
                raise TableError(
                    f"{path} has {value!r} in column {field.name!r}, which must be true or false"
                )
    return values.cast(field.type)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
