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
from patchpress.converter.tables.tablefiles import check_column, read_groups, read_schema, reading
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
        for group in read_groups(path, asked):
            arrays = []
            for field in fields:
                name = own.get(field.name)
                if name is None:
                    arrays.append(pa.chunked_array([pa.nulls(len(group), field.type)]))
                    continue
                with reading(path):
                    arrays.append(plain(group[name]).cast(field.type))
            yield pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def published_columns(
    description: Description,
    paths: Sequence[Path],
    needed: Mapping[str, str],
    optional: Mapping[str, str],
) -> PublishedColumns:
    """Bring the columns of tables together.

    Args:
        description: of the data set.
        paths: of the tables.
        needed: column -> its kind, as `check_column` has it; each table has them.
        optional: the same for columns that a table may have.

    Raises:
        SourceMissing: no such table.
        TableError: it is no Parquet file, has a column twice or lacks one that is needed, or a
            column has a type that is not the needed one, or does not fit the one in another table.
    """
    import pyarrow as pa

    meant = _with_meaning(description)
    notes: list[str] = []
    names: dict[Path, dict[str, str]] = {}
    fields: dict[str, pa.Field] = {}
    first_in: dict[str, Path] = {}
    for path in paths:
        schema = read_schema(path)
        names[path] = _names(description, path, schema.names, [*meant, *fields], notes)
        ours = pa.schema([schema.field(n).with_name(c) for c, n in names[path].items()])
        for column, kind in needed.items():
            check_column(path, ours, column, kind)
        for column in optional.keys() & names[path].keys():
            check_column(path, ours, column, optional[column])
        for field in ours:
            column = field.name
            field = field.with_type(plain_type(field.type))
            if column in fields:
                field = _common(path, field, first_in[column], fields[column])
            fields[column] = field
            first_in.setdefault(column, path)
    for column, field in fields.items():
        if str(field.type) == "null" and column in meant:
            fields[column] = field.with_type(_type_without_values(description, column))
    for path, own in names.items():
        absent = [column for column in fields if column not in own and column not in meant]
        if absent:
            notes.append(
                f"{path.name} has no column {_listed(absent)}, as {first_in[absent[0]].name} has: "
                "its rows have no value there"
            )
    return PublishedColumns(pa.schema(list(fields.values())), names, tuple(notes))


def _type_without_values(description: Description, column: str) -> "pa.DataType":
    """The type of a column that has no value in any table, but a meaning."""
    import pyarrow as pa

    if column in description.flag_columns or column in description.flags:
        return pa.bool_()
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


def _names(
    description: Description,
    path: Path,
    columns: Sequence[str],
    known: Sequence[str],
    notes: list[str],
) -> dict[str, str]:
    """Column as we call it -> as a table calls it; what is not the same is noted."""
    twice = next((name for name, count in Counter(columns).items() if count > 1), None)
    if twice is not None:
        raise TableError(f"{path} has two columns {twice!r}: rename one")
    own = {name.casefold() for name in own_columns(description.modalities)}
    by_case = {name.casefold(): name for name in known}
    index = [name for name in columns if _PANDAS_INDEX.fullmatch(name)]
    if index:
        notes.append(f"{path.name}: {_listed(index)}, the index of pandas, is left out")
    kept = [name for name in columns if name not in index]
    found: dict[str, str] = {}
    for name in kept:
        folded = name.casefold()
        column = by_case.get(folded, name)
        if folded in own:
            column = _free(name, {*kept, *found, *known})
            why = "a store has a column of that name of its own"
            notes.append(f"column {name} of {path.name} is kept as {column}: {why}")
        elif column != name and (column in kept or column in found):
            # Many programs that read Parquet do not tell names apart by case.
            why = f"it differs from {column} in case only"
            column = _free(name, {*kept, *found, *known})
            notes.append(f"column {name} of {path.name} is kept as {column}: {why}")
        elif column != name:
            notes.append(f"column {name} of {path.name} is read as {column}")
        by_case.setdefault(folded, column)
        found[column] = name
    return found


def _free(name: str, taken: set[str]) -> str:
    """Another name for a column, which none has yet."""
    while name in taken or not name.startswith(KEPT_AS):
        name = f"{KEPT_AS}{name}"
    return name


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


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
