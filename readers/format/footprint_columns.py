"""The two columns of metadata.parquet that make it GeoParquet, for programs that read maps.

Readers here have no need of them: they follow from `epsg` and the bounds, and they are as large as
all other columns together. So they are read only if they are named.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

GEOMETRY, BOX = "geometry", "bbox"
FOOTPRINT = (GEOMETRY, BOX)
BOX_SIDES = ("xmin", "ymin", "xmax", "ymax")
GEO = b"geo"  # the key of the file's metadata under which GeoParquet describes its columns


def names_without_footprints(names: Sequence[str]) -> list[str]:
    """All but the two."""
    return [name for name in names if name not in FOOTPRINT]


def schema_without_footprints(schema: "pa.Schema") -> "pa.Schema":
    """A schema without the two columns, and without what is said of them."""
    import pyarrow as pa

    fields = [schema.field(name) for name in names_without_footprints(schema.names)]
    return pa.schema(fields, metadata=_without_geo(schema))


def without_footprints(table: "pa.Table") -> "pa.Table":
    """A table without the two columns, and without what is said of them."""
    kept = table.select(names_without_footprints(table.column_names))
    return kept.replace_schema_metadata(_without_geo(table.schema))


def said_rightly(table: "pa.Table") -> "pa.Table":
    """A table; what is said of a geometry stays only if it has one."""
    if GEOMETRY in table.column_names or GEO not in (table.schema.metadata or {}):
        return table
    return table.replace_schema_metadata(_without_geo(table.schema))


def _without_geo(schema: "pa.Schema") -> dict[bytes, bytes] | None:
    kept = {key: value for key, value in (schema.metadata or {}).items() if key != GEO}
    return kept or None
