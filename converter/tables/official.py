"""The official tables of labels and splits: read, checked, and cut to the patches that are there.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.labels import canonical_label
from patchpress.readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one conversion, checked: `rows` of them in all, under one schema."""

    description: Description
    paths: Mapping[str, Path]
    rows: int
    spellings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Label column -> spelling in the tables -> canonical name, where they differ."""

    def groups(self, columns: Sequence[str] | None = None) -> Iterator["pa.Table"]:
        """Their rows, a row group at a time, so that a large table never lies in memory whole."""
        for path in self.paths.values():
            for group in _groups(path, columns):
                yield _respelled(group, self.spellings)


def check_tables(description: Description, paths: Mapping[str, Path]) -> Tables:
    """Check every table before any pixel is read.

    Raises:
        TableError: no Parquet file; a needed column missing or of another type; tables of unlike
            columns; a patch twice; a label or split that the description does not have.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    needed = _needed(description)
    schema = None
    identities = []
    spellings: dict[str, dict[str, str]] = {}
    for path in paths.values():
        found = _schema(path)
        for column, kind in needed.items():
            _check_column(path, found, column, kind)
        if schema is not None and not found.equals(schema):
            raise TableError(
                f"{path} has other columns than {next(iter(paths.values()))}: "
                f"{', '.join(found.names)} against {', '.join(schema.names)}"
            )
        schema = found
        for group in _groups(path, list(needed)):
            _check_values(description, path, group, spellings)
            identities.extend(group[description.identity].chunks)
    names = pa.chunked_array(identities) if identities else pa.chunked_array([], pa.string())
    if pc.count_distinct(names).as_py() != len(names):
        counts = pc.value_counts(names)
        twice = counts.filter(pc.greater(counts.field("counts"), 1))
        raise TableError(
            f"patch {twice[0]['values']} is in the tables twice "
            f"({', '.join(map(str, paths.values()))}): remove one of its rows"
        )
    checked = Tables(description, dict(paths), len(names), spellings)
    del names, identities
    # Arrow keeps what it has freed, here several times the tables, while patches are converted.
    pa.default_memory_pool().release_unused()
    return checked


def _needed(description: Description) -> dict[str, str]:
    """Column -> kind, for what pairs, labels and splits are read from."""
    needed = {modality.key_column: "string" for modality in description.modalities.values()}
    if description.split_column:
        needed[description.split_column] = "string"
    # Mapped labels follow from others; the rest must be there, as text or lists of text.
    given = [c for c, rule in description.labels.items() if rule.rule != "mapped"]
    return needed | dict.fromkeys(given, "list of strings")


def _schema(path: Path) -> "pa.Schema":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path).remove_metadata()
    except (OSError, pa.ArrowInvalid) as error:
        raise TableError(f"{path} is no Parquet table ({str(error).splitlines()[0]})") from None


def _groups(path: Path, columns: Sequence[str] | None) -> Iterator["pa.Table"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for index in range(file.num_row_groups):
                group = file.read_row_group(index, columns=columns, use_threads=False)
                yield group.replace_schema_metadata(None)
    except (OSError, pa.ArrowInvalid) as error:
        raise TableError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None


def _check_column(path: Path, schema: "pa.Schema", column: str, kind: str) -> None:
    if column not in schema.names:
        raise TableError(
            f"{path} has no column {column!r}, which the description needs; "
            f"it has {', '.join(schema.names)}"
        )
    found = schema.field(column).type
    right = _is_string(found) or (kind != "string" and _is_string_list(found))
    if not right:
        raise TableError(f"{path} has {found} in column {column!r}, which must be a {kind}")


def _is_string(kind: Any) -> bool:
    import pyarrow.types as pt

    return bool(pt.is_string(kind) or pt.is_large_string(kind))


def _is_string_list(kind: Any) -> bool:
    import pyarrow.types as pt

    return bool((pt.is_list(kind) or pt.is_large_list(kind)) and _is_string(kind.value_type))


def _check_values(
    description: Description,
    path: Path,
    group: "pa.Table",
    spellings: dict[str, dict[str, str]],
) -> None:
    import pyarrow.compute as pc

    missing = group[description.identity].null_count
    if missing:
        raise TableError(f"{path} has {missing} rows without {description.identity}")
    for column, rule in description.labels.items():
        for label in pc.unique(_flat(group[column])).drop_null().to_pylist():
            try:
                name = canonical_label(rule, label)
            except TableError as error:
                patch = _first_with(description, group, column, label)
                raise TableError(f"{path}, patch {patch}: {error}") from None
            if name != label:
                spellings.setdefault(column, {})[label] = name
    if description.splits is not None:
        column = description.splits.column
        for split in pc.unique(group[column]).drop_null().to_pylist():
            if split not in description.split_names:
                patch = _first_with(description, group, column, split)
                near = get_close_matches(split, description.split_names, n=1)
                hint = f"nearest is {near[0]!r}" if near else "known are "
                hint += "" if near else ", ".join(description.split_names)
                raise TableError(
                    f"{path} gives patch {patch} the split {split!r}, which is unknown; {hint}"
                )


def _flat(values: Any) -> Any:
    """The strings of a column, out of their lists if they are in such."""
    import pyarrow.compute as pc

    return values if _is_string(values.type) else pc.list_flatten(values)


def _first_with(description: Description, group: "pa.Table", column: str, value: str) -> str:
    """The first patch that has a value, or has it in its list."""
    rows = zip(group[description.identity].to_pylist(), group[column].to_pylist(), strict=True)
    return next(
        str(name)
        for name, cell in rows
        if cell == value or (isinstance(cell, list) and value in cell)
    )


def _respelled(group: "pa.Table", spellings: Mapping[str, Mapping[str, str]]) -> "pa.Table":
    """A group of rows with canonical labels."""
    import pyarrow as pa

    for column, names in spellings.items():
        if column in group.column_names:
            kind = group.schema.field(column).type
            cells = [_renamed(cell, names) for cell in group[column].to_pylist()]
            at = group.schema.get_field_index(column)
            group = group.set_column(at, group.schema.field(column), pa.array(cells, kind))
    return group


def _renamed(cell: Any, names: Mapping[str, str]) -> Any:
    if isinstance(cell, list):
        return [names.get(label, label) for label in cell]
    return names.get(cell, cell)


def read_columns(path: Path, columns: list[str]) -> "pa.Table":
    """Columns of strings of a Parquet or CSV table, in that order.

    Raises:
        TableError: it cannot be read, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.csv as pv
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else pv.read_csv(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise TableError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None
    for column in columns:
        _check_column(path, table.schema, column, "string")
    return table.select(columns).cast(pa.schema([(c, pa.string()) for c in columns]))


def partners(tables: Tables, names: set[str]) -> dict[str, set[str]]:
    """For rows of these identities: key column -> names of their records."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = list(dict.fromkeys(m.key_column for m in tables.description.modalities.values()))
    found: dict[str, set[str]] = {column: set() for column in columns}
    for group in tables.groups(columns):
        identity = group[tables.description.identity]
        rows = group.filter(pc.is_in(identity, value_set=pa.array(sorted(names), identity.type)))
        for column in columns:
            found[column].update(rows[column].to_pylist())
    return found
