"""One row of the table, and the keys of its records, for the page."""

from typing import Any

import numpy as np

from patchpress.converter.viewer.catalogue import Catalogue
from patchpress.readers.format.manifest import METADATA
from patchpress.readers.store import Store


def row_facts(store: Store, catalogue: Catalogue, row: int) -> dict[str, Any]:
    """All columns of a row, and modality -> key of its record, None without one.

    Raises:
        StoreError: the table cannot be read.
    """
    place = None if catalogue.places is None else catalogue.places[row]
    return {
        "row": row,
        "name": catalogue.name(row),
        "keys": {
            name: catalogue.key(name, row) if catalogue.has(name, row) else None
            for name in store.manifest.modalities
        },
        "place": None if place is None or not np.isfinite(place).all() else place.tolist(),
        "columns": _columns(store, row),
    }


def _columns(store: Store, row: int) -> dict[str, Any]:
    """The row as the table has it; only the group of rows that it lies in is read."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(store.path / METADATA) as file:
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row < rows:
                found: list[dict[str, Any]] = file.read_row_group(group).slice(row, 1).to_pylist()
                return found[0]
            row -= rows
    return {}
