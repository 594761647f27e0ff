"""The patches that tables name, for what lies in archives and tells its names only at their end."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.descriptions.description import Description
from patchpress.converter.sources.patch import Patch
from patchpress.converter.tables.official import Tables
from patchpress.converter.tables.tablefiles import read_columns

if TYPE_CHECKING:
    import pyarrow as pa


class ListedPatches:
    """What the official tables name, or the pairing table where there are none."""

    def __init__(
        self, description: Description, tables: Tables | None, files: Mapping[str, Path]
    ) -> None:
        self._description, self._tables = description, tables
        self._pairs = files.get("pairs") if tables is None and description.pairs else None

    def has(self, modality: str) -> bool:
        """Whether they name the patches of a modality."""
        pairs = self._description.pairs
        column = self._description.modalities[modality].key_column
        if self._tables is not None:
            return True
        known = (self._description.identity, *(pairs.columns if pairs else ()))
        return self._pairs is not None and column in known

    def patches(self, modality: str) -> Iterator[Patch]:
        """The patches of a modality in the order of their names, without files and columns.

        Raises:
            TableError: a table cannot be read.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        source = self._description.modalities[modality]
        names, rows = self._columns(source.key_column)
        there = pc.is_valid(names)
        names, rows = names.filter(there), rows.filter(there)
        order = pc.sort_indices(names)
        before, _, after = source.key.partition(f"{{{source.key_column}}}")
        values = ("",) * len(source.columns)
        for at in range(0, len(order), 1 << 16):
            some = order[at : at + (1 << 16)]
            pairs = pa.table({"name": names.take(some), "row": rows.take(some)}).to_pydict()
            for name, row in zip(pairs["name"], pairs["row"], strict=True):
                yield Patch(
                    modality=modality,
                    key=before + name + after,
                    name=name,
                    identity=row or "",
                    values=values,
                )

    def _columns(self, column: str) -> tuple["pa.ChunkedArray", "pa.ChunkedArray"]:
        """The names in a column, and those of their rows."""
        import pyarrow as pa

        identity, pairs = self._description.identity, self._description.pairs
        if self._tables is not None:
            columns = list(dict.fromkeys((column, identity)))
            table = pa.concat_tables(self._tables.groups(columns))
            return table[column].combine_chunks(), table[identity].combine_chunks()
        if self._pairs is None or pairs is None:
            raise ValueError(f"no table names {column}")
        other = {identity: pairs.identity, **pairs.columns}
        table = read_columns(self._pairs, list(dict.fromkeys((other[column], pairs.identity))))
        return table[other[column]].combine_chunks(), table[pairs.identity].combine_chunks()
