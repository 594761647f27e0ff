"""The columns of the Parquet files for the Hugging Face Hub, and rows in them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from patchpress.converter.exports.hub_columns import TableColumn, table_columns
from patchpress.converter.exports.hub_pixels import Array, Feature, PixelColumn
from patchpress.converter.exports.selection import ExportedRows, ExportSelection

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class HubRows:
    """The columns: the name of the patch, its picture, its pixels, and those of the table."""

    key: str
    """What the column with the name of the patch is called."""
    image: str
    """What the one with the picture is called."""
    pixels: tuple[PixelColumn, ...]
    columns: tuple[TableColumn, ...]

    @cached_property
    def features(self) -> dict[str, Feature]:
        """Column -> its type, as JSON of `datasets.Features`."""
        found: dict[str, Feature] = {
            self.key: {"dtype": "string", "_type": "Value"},
            self.image: {"_type": "Image"},
        }
        found |= {column.name: column.feature for column in self.pixels}
        return found | {column.name: column.feature for column in self.columns}

    @cached_property
    def schema(self) -> "pa.Schema":
        """Of the files, with the features, which `datasets` looks for there."""
        import pyarrow as pa

        fields = [
            pa.field(self.key, pa.string()),
            pa.field(self.image, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
            *(column.field for column in self.pixels),
            *(pa.field(column.name, column.kind) for column in self.columns),
        ]
        told = {"info": {"features": self.features}}
        return pa.schema(fields, {"huggingface": json.dumps(told)})

    def table(self, rows: ExportedRows) -> "pa.Table":
        """Name and columns of some rows, without pictures and pixels.

        Raises:
            StoreDamaged: a label that is none of the classes.
        """
        import pyarrow as pa

        found = {self.key: pa.chunked_array([pa.array(rows.names, pa.string())])}
        found |= {column.name: column.values(rows.table[column.name]) for column in self.columns}
        return pa.table(found)

    def row_group(
        self,
        rows: "Sequence[pa.Table]",
        arrays: Sequence[Mapping[str, Array]],
        images: Sequence[bytes | None],
    ) -> "pa.Table":
        """Rows with their pictures and pixels.

        Args:
            rows: one a row, of `table`.
            arrays: of each row, by `PixelColumn.source`.
            images: of each row.
        """
        import pyarrow as pa

        table = pa.concat_tables(rows)
        names = table[self.key].to_pylist()
        pictures = [
            None if image is None else {"bytes": image, "path": f"{name}.png"}
            for name, image in zip(names, images, strict=True)
        ]
        found = {self.image: pa.array(pictures, self.schema.field(self.image).type)}
        for column in self.pixels:
            found[column.name] = column.values([row.get(column.source) for row in arrays])
        for name in (self.key, *(column.name for column in self.columns)):
            found[name] = table[name]
        return pa.Table.from_arrays([found[name] for name in self.schema.names], schema=self.schema)


def hub_rows(
    selection: ExportSelection, pixels: Sequence[PixelColumn]
) -> tuple[HubRows, list[str]]:
    """The columns of a selection, and the columns of its table that the files cannot have."""
    from dataclasses import replace

    columns, others = table_columns(selection.schema, selection.manifest.classes)
    taken = {column.name.casefold() for column in columns}

    def free(name: str) -> str:
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        return name

    key, image = free("key"), free("image")
    named = tuple(replace(column, name=free(column.name)) for column in pixels)
    return HubRows(key, image, named, tuple(columns)), others
