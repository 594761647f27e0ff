"""One row of the table, and the keys of its records, for the page."""

from typing import Any

import numpy as np

from patchpress.converter.viewer.catalogue import Catalogue
from patchpress.readers.format.table import table_row
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
        "columns": table_row(store.path, store.manifest, row),
    }
