"""One ``[tables.NAME]`` of a description: which files it has, and how their rows are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from patchpress.converter.descriptions.strict import Section

TYPES = ("text", "integer", "number", "boolean")
"""What `types` may say of a column."""
KINDS = (".parquet", ".csv", ".tsv", ".txt", ".json", ".geojson", ".jsonl")
"""Endings of the files that may be a table."""
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table of a source: its files, and how a row of it finds its patch."""

    file: str
    """Path under the source; with ``{field}`` or ``*`` it stands for several files."""
    key: str = ""
    """A column of the file with names, paths or files of patches, or a template of columns and
    fields of the path; empty if the file has the columns of the store under their names."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our column -> the file's, for the only ones that are taken; empty if all are."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Our column -> the file's, for columns of another name, if all are taken."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Our column -> one of `TYPES`."""
    delimiter: str = ""
    """What parts the columns of a text; empty: what its first line has."""
    header: tuple[str, ...] = ()
    """Names of the columns of a text whose first line has none."""
    rows_of: str = ""
    """The table whose rows `key` counts, if it has numbers of rows."""
    first_row: int = 0
    """What number the first of these rows has: 0 or 1."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of its files' paths, each once."""
        return tuple(dict.fromkeys(_FIELD.findall(self.file)))

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of the file that make the key."""
        names = _FIELD.findall(self.key) if "{" in self.key else [self.key] if self.key else []
        return tuple(name for name in dict.fromkeys(names) if name not in self.fields)


def parse_tables(section: Section) -> dict[str, TableSource]:
    """All tables of a description.

    Raises:
        DescriptionError: a wrong key.
    """
    parts = section.sections()
    tables = {name: _table(part) for name, part in parts.items()}
    for name, part in parts.items():
        if "/" in name:
            raise section.error(name, "must be a name without /")
        rows_of = tables[name].rows_of
        if rows_of and (rows_of == name or rows_of not in tables):
            others = ", ".join(other for other in tables if other != name) or "none"
            raise part.error(
                "rows_of", f"must name another table, not {rows_of!r} (there: {others})"
            )
    return tables


def _table(section: Section) -> TableSource:
    columns = section.peek("columns")
    listed = section.strings("columns") if isinstance(columns, list) else ()
    rows_of, first = numbers_of_rows(section)
    source = TableSource(
        file=section.inside("file", section.take("file", str)),
        key=section.take("key", str, ""),
        columns={name: name for name in listed} or section.mapping("columns"),
        rename=section.mapping("rename"),
        types=section.mapping("types"),
        delimiter=section.take("delimiter", str, ""),
        header=section.strings("header", optional=True),
        rows_of=rows_of,
        first_row=first,
    )
    section.end()
    _check(source, section)
    return source


def numbers_of_rows(section: Section) -> tuple[str, int]:
    """The table whose rows numbers mean, and the number of its first row; empty if none is said.

    Raises:
        DescriptionError: one of the two without the other, or another first number.
    """
    rows_of = section.take("rows_of", str, "")
    first = section.take("first_row", int, -1)
    if rows_of and first not in (0, 1):
        raise section.error("first_row", "must be 0 or 1: the number of the first row of a table")
    if not rows_of and first != -1:
        raise section.error("rows_of", "is missing: first_row counts the rows of a table")
    return rows_of, max(first, 0)


def _check(source: TableSource, section: Section) -> None:
    if not source.file.lower().endswith(KINDS):
        raise section.error("file", f"must end in one of {', '.join(KINDS)}, not {source.file!r}")
    if source.file.count("{") != len(_FIELD.findall(source.file)) or "**" in source.file:
        raise section.error("file", f"may have * and fields in braces only, not {source.file!r}")
    for column, kind in source.types.items():
        if kind not in TYPES:
            raise section.error(
                f"types.{column}", f"must be one of {', '.join(TYPES)}, not {kind!r}"
            )
    if source.columns and source.rename:
        raise section.error("rename", "and columns exclude each other: columns may rename, too")
    if len(source.delimiter) > 1 or (source.delimiter and ord(source.delimiter) > 127):
        raise section.error("delimiter", f"must be one character, not {source.delimiter!r}")
    if source.rows_of and not source.key:
        raise section.error("key", "is missing: it is the column with the numbers of rows")
    if source.key.count("{") != source.key.count("}") or "{}" in source.key:
        raise section.error("key", f"has a brace that encloses no field's name: {source.key!r}")
