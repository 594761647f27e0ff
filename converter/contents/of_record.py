"""Facts of one record: its bands with their numbers, and its row of the table."""

from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.contents.of_store import Facts
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import key_column, table_row
from patchpress.readers.format.time_axis import steps_column
from patchpress.readers.store import Store


def record_facts(store: Store, key: str) -> Facts:
    """Read one record and count its pixels; of a modality with several dates those of all dates.

    Returns:
        Facts under fixed names, as docs/converting.md lists them; numbers that are not finite are
        None. Ground sampling distances are in metres, shapes are (height, width), of the array as
        it is stored.

    Raises:
        KeyMissing: there is no such record.
        StoreError: it cannot be read.
    """
    arrays = store.read_bands(key)
    modality = store.modality_of(key)
    row = _row(store, key, modality)
    time: Facts = {}
    if modality.steps:
        present = row.get(steps_column(modality.name))
        present = modality.steps if present is None else present
        time = {"steps": modality.steps, "present": present}
        arrays = {name: array[:present] for name, array in arrays.items()}
    return {
        "key": key,
        "modality": modality.name,
        "dtype": modality.dtype.name,
        **time,
        "bands": [
            {"name": band.name, "gsd": band.gsd, **_numbers(arrays[band.name])}
            for band in modality.bands
        ],
        "row": row,
    }


def _numbers(pixels: npt.NDArray[Any]) -> Facts:
    """Shape, range and mean of a band, and how many of its pixels are no finite numbers."""
    finite = pixels[np.isfinite(pixels)]
    with np.errstate(over="ignore"):
        mean = float(finite.mean(dtype=float)) if finite.size else None
    return {
        "shape": list(pixels.shape[-2:]),
        "min": _exact(finite.min()) if finite.size else None,
        "mean": mean if mean is not None and np.isfinite(mean) else None,
        "max": _exact(finite.max()) if finite.size else None,
        "not_finite": pixels.size - finite.size,
    }


def _exact(pixel: Any) -> float:
    """A pixel as the shortest number that means it: 0.1, and not 0.10000000149011612."""
    value: float = pixel.item()
    return value if isinstance(value, int) else float(str(pixel))


def _row(store: Store, key: str, modality: Modality) -> Facts:
    """The row of metadata.parquet that a record belongs to; empty if there is none."""
    import pyarrow.compute as pc

    column = key_column(modality)
    prefix, suffix = modality.key.split(f"{{{column}}}")
    name = key.removeprefix(prefix).removesuffix(suffix)
    number = pc.index(store.table(columns=column)[column], name).as_py()
    return table_row(store.path, store.manifest, number) if number >= 0 else {}
