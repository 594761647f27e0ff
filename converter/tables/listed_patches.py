"""The patches that tables name: known before an archive has been read to its end."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.descriptions.description import Description
from patchpress.converter.sources.patch import Patch
from patchpress.converter.tables.name_columns import read_columns
from patchpress.converter.tables.official import Tables

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 1 << 16
"""Patches whose names are Python strings at once."""


class ListedPatches:
    """The patches that the official tables name; if there are none, those of the pairing table."""

    def __init__(
        self, description: Description, tables: Tables | None, files: Mapping[str, Path]
    ) -> None:
        self._description, self._tables = description, tables
        self._pairs: Path | None = None
        self._paired: dict[str, str] = {}
        """Our column -> column of the pairing table."""
        if tables is None and description.pairs is not None and "pairs" in files:
            self._pairs = files["pairs"]
            self._paired = {description.identity: description.pairs.identity}
            self._paired |= description.pairs.columns

    def has(self, modality: str) -> bool:
        """Whether a table names the patches of a modality."""
        column = self._description.modalities[modality].key_column
        if self._tables is not None:
            return self._tables.has(column)
        return column in self._paired

    def patches(self, modality: str) -> Iterator[Patch]:
        """The patches of a modality, sorted by name; without files, and with empty values.

        Args:
            modality: one for which `has` is true.

        Raises:
            TableError: a table cannot be read.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        source = self._description.modalities[modality]
        names, identities = self._columns(source.key_column)
        named = pc.is_valid(names)
        names, identities = names.filter(named), identities.filter(named)
        order = pc.sort_indices(names)
        before, _, after = source.key.partition(f"{{{source.key_column}}}")
        values = ("",) * len(source.columns)
        for start in range(0, len(order), ROWS_AT_ONCE):
            at = order[start : start + ROWS_AT_ONCE]
            chunk = pa.table({"name": names.take(at), "identity": identities.take(at)}).to_pydict()
            for name, identity in zip(chunk["name"], chunk["identity"], strict=True):
                yield Patch(
                    modality=modality,
                    key=before + name + after,
                    name=name,
                    identity=identity or "",
                    values=values,
                )

    def _columns(self, column: str) -> tuple["pa.Array", "pa.Array"]:
        """The names in a column, and for each the identity of its row."""
        import pyarrow as pa

        identity = self._description.identity
        if self._tables is not None:
            columns = list(dict.fromkeys((column, identity)))
            table = pa.concat_tables(self._tables.groups(columns))
        elif self._pairs is not None:
            column, identity = self._paired[column], self._paired[identity]
            table = read_columns(self._pairs, list(dict.fromkeys((column, identity))))
        else:
            raise ValueError(f"no table has the column {column}")
        return table[column].combine_chunks(), table[identity].combine_chunks()
