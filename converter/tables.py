"""The official tables of labels and splits: read, checked, and cut to the patches that are there.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.description import Description
from readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one conversion, checked: `rows` of them in all, under one schema."""

    description: Description
    paths: Mapping[str, Path]
    rows: int

    def groups(self, columns: Sequence[str] | None = None) -> Iterator["pa.Table"]:
        """Their rows, a row group at a time, so that a large table never lies in memory whole."""
        for path in self.paths.values():
            yield from _groups(path, columns)


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
            _check_values(description, path, group)
            identities.extend(group[description.identity].chunks)
    names = pa.chunked_array(identities) if identities else pa.chunked_array([], pa.string())
    if pc.count_distinct(names).as_py() != len(names):
        counts = pc.value_counts(names)
        twice = counts.filter(pc.greater(counts.field("counts"), 1))
        raise TableError(
            f"patch {twice[0]['values']} is in the tables twice "
            f"({', '.join(map(str, paths.values()))}): remove one of its rows"
        )
    return Tables(description, dict(paths), len(names))


def _needed(description: Description) -> dict[str, str]:
    """Column -> kind, for what pairs, labels and splits are read from."""
    needed = {modality.key_field: "string" for modality in description.modalities.values()}
    if description.split_column:
        needed[description.split_column] = "string"
    return needed | dict.fromkeys(description.classes, "list of strings")


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
    right = _is_string(found) if kind == "string" else _is_string_list(found)
    if not right:
        raise TableError(f"{path} has {found} in column {column!r}, which must be a {kind}")


def _is_string(kind: Any) -> bool:
    import pyarrow.types as pt

    return bool(pt.is_string(kind) or pt.is_large_string(kind))


def _is_string_list(kind: Any) -> bool:
    import pyarrow.types as pt

    return bool((pt.is_list(kind) or pt.is_large_list(kind)) and _is_string(kind.value_type))


def _check_values(description: Description, path: Path, group: "pa.Table") -> None:
    import pyarrow.compute as pc

    missing = group[description.identity].null_count
    if missing:
        raise TableError(f"{path} has {missing} rows without {description.identity}")
    known: dict[str, tuple[str, ...]] = dict(description.classes)
    if description.split_column:
        known[description.split_column] = description.split_names
    for column, names in known.items():
        values = group[column]
        is_list = column in description.classes
        there = pc.unique(pc.list_flatten(values) if is_list else values).to_pylist()
        for value in there:
            if value is not None and value not in names:
                raise TableError(_unknown(description, path, group, column, value))


def _unknown(
    description: Description, path: Path, group: "pa.Table", column: str, value: str
) -> str:
    """The sentence about a value that is none of the known ones, with its first patch."""
    rows = zip(group[description.identity].to_pylist(), group[column].to_pylist(), strict=True)
    patch = next(name for name, cell in rows if cell == value or (cell and value in cell))
    names = description.classes.get(column, description.split_names)
    near = get_close_matches(value, names, n=1)
    hint = f"nearest is {near[0]!r}" if near else f"known are {', '.join(names)}"
    kind = "label" if column in description.classes else "split"
    return f"{path} gives patch {patch} the {kind} {value!r}, which is unknown; {hint}"


def partners(tables: Tables, names: set[str]) -> dict[str, set[str]]:
    """For rows of these identities: key column -> names of their records."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = list(dict.fromkeys(m.key_field for m in tables.description.modalities.values()))
    found: dict[str, set[str]] = {column: set() for column in columns}
    for group in tables.groups(columns):
        identity = group[tables.description.identity]
        rows = group.filter(pc.is_in(identity, value_set=pa.array(sorted(names), identity.type)))
        for column in columns:
            found[column].update(rows[column].to_pylist())
    return found
