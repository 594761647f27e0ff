"""The patches of a modality that are rows of Parquet files, with their files in columns."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.descriptions.embedded import EmbeddedFiles
from patchpress.converter.descriptions.expressions import expression
from patchpress.converter.descriptions.patterns import PathPattern
from patchpress.converter.sources.files import largest_file
from patchpress.converter.sources.order_of_keys import OrderOfKeys
from patchpress.converter.sources.parquet_files import EmbeddedRow, ParquetOfFiles, identity_of
from patchpress.converter.sources.passed_over import PassedOver
from patchpress.converter.sources.patch import (
    Patch,
    Problem,
    ignore_problem,
    name_problem,
    named_patch,
)
from patchpress.readers.errors import PatchError, SourceError
from patchpress.readers.format.parquet_footer import chunks_of

_AT_ONCE = 4096  # rows whose names are read together
_AGAIN = "download it again"


class ParquetWalk:
    """All patches of one modality in Parquet files, file by file and row by row."""

    def __init__(
        self,
        files: Sequence[Path],
        modality: ModalitySource,
        embedded: EmbeddedFiles,
        on_problem: Problem,
    ) -> None:
        """Say what is looked for, and where; no file is opened yet.

        `on_problem` is called with the error of each row whose name is none.
        """
        self.modality, self.root = modality, files[0]
        self._files, self._embedded, self._on_problem = files, embedded, on_problem
        # As a rule a patch has a file a band, or one of several bands.
        patterns = [PathPattern(path, modality) for path in modality.paths]
        apart = any(pattern.apart for pattern in patterns)
        names = [file.name for file in modality.files_of(apart=apart)]
        self._names = tuple(f"{name}.tif" if apart else embedded.column_of(name) for name in names)
        self._columns = tuple(embedded.column_of(name) for name in names)
        self._before, self._after = ("", ".tif") if apart else (self._names[0], "")
        self._fields = {
            field: expression(modality.fields.get(field, ".+"), limited=modality.limited)
            for field in embedded.fields
        }
        self.passed_over = PassedOver()
        self.passed_over_in_archives: Mapping[str, PassedOver] = {}
        self.notes: Sequence[str] = ()
        self.first_ignored = ""
        self._order = OrderOfKeys(self.root)

    @property
    def ascending(self) -> bool:
        """Whether the keys came in ascending order.

        Raises:
            RuntimeError: no iteration has come to its end.
        """
        return self._order.ascending

    def again(self) -> "ParquetWalk":
        """The same walk once more, without a word about what it has reported."""
        return ParquetWalk(self._files, self.modality, self._embedded, ignore_problem)

    def __iter__(self) -> Iterator[Patch]:
        """The patches.

        Raises:
            SourceError: a file is damaged, or lacks a column.
            PatchError: what `on_problem` raises.
        """
        found = (patch for file in self._files for patch in self._patches(str(file)))
        yield from self._order.watched(found)

    def _patches(self, path: str) -> Iterator[Patch]:
        from pyarrow import parquet

        table = ParquetOfFiles(path, identity_of(path))
        try:
            file = parquet.ParquetFile(path, memory_map=False)
        except Exception as error:  # pyarrow has errors of many classes
            line = (str(error).splitlines() or ["?"])[0][:200]
            raise SourceError(f"{path} is no whole Parquet file ({line}): {_AGAIN}") from None
        with file:
            self._check_columns(path, file)
            places = self._places(path, file)
            names = list(dict.fromkeys(self._embedded.fields.values()))
            number = 0
            try:
                for batch in file.iter_batches(_AT_ONCE, columns=names):
                    for row in batch.to_pylist():
                        group, at = next(places)
                        files = EmbeddedRow(table, group, at, self._names, self._columns)
                        patch = self._patch(row, f"{path}/row {number}", files)
                        number += 1
                        if patch is not None:
                            yield patch
            except (OSError, ValueError) as error:
                line = (str(error).splitlines() or ["?"])[0][:200]
                raise SourceError(
                    f"{path} cannot be read after row {number} ({line}): {_AGAIN}"
                ) from None

    def _patch(self, row: Mapping[str, Any], place: str, files: EmbeddedRow) -> Patch | None:
        """The patch of a row; None if its name is none."""
        fields: dict[str, str] = {}
        for field, column in self._embedded.fields.items():
            value = row[column]
            match = None if value is None else self._fields[field].fullmatch(str(value))
            if match is None:
                said = "null" if value is None else repr(value)
                self._on_problem(PatchError(f"{place}: {column} is {said}, which is no {field}"))
                return None
            fields |= {field: str(value), **match.groupdict()}
        patch = named_patch(self.modality, fields, place, self._before, self._after)
        problem = name_problem(patch)
        if problem is not None:
            self._on_problem(problem)
            return None
        patch.receive(files)
        return patch

    def _check_columns(self, path: str, file: Any) -> None:
        """Refuse a file that lacks a column, or has one of another type.

        Raises:
            SourceError: it says which.
        """
        from pyarrow import types

        schema = file.schema_arrow
        for column in (*self._embedded.fields.values(), *self._columns):
            if schema.names.count(column) != 1:
                has = ", ".join(schema.names[:20])
                problem = "two columns" if column in schema.names else "no column"
                raise SourceError(f"{path} has {problem} {column}: it has {has}")
        for column in self._columns:
            kind = schema.field(column).type
            if not (types.is_binary(kind) or types.is_large_binary(kind)):
                raise SourceError(f"{path}: column {column} has no bytes of files, but {kind}")

    def _places(self, path: str, file: Any) -> Iterator[tuple[int, int]]:
        """The row group of each row, and its number there.

        Raises:
            SourceError: a column has far more bytes than its files need.
            pyarrow.ArrowInvalid: the footer does not parse.
        """
        most = largest_file(self.modality)
        wanted = set(self._columns)
        leaves = [file.schema.column(at).path for at in range(len(file.schema))]
        for group, of_group in enumerate(chunks_of(file, Path(path))):
            rows = file.metadata.row_group(group).num_rows
            for leaf, chunk in zip(leaves, of_group, strict=True):
                if leaf in wanted and chunk.unfolded > most * max(1, rows):
                    raise SourceError(
                        f"{path} has {chunk.unfolded:,} bytes of {leaf} in row group {group}, far "
                        f"more than the files of {rows:,} rows need"
                    )
            for row in range(rows):
                yield group, row
