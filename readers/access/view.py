"""A record as an array on its stored bytes, without any copy."""

from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import StoreDamaged, ViewImpossible
from patchpress.readers.format.manifest import Modality


def view_of(
    modality: Modality, record: memoryview, key: str, band: str | None
) -> npt.NDArray[np.generic]:
    """The array (bands, height, width) of an uncompressed record, or one band (height, width).

    Raises:
        BandMissing: no such band.
        StoreDamaged: a record that ends before its pixels do.
        ViewImpossible: all bands of a native record of several.
    """
    form = modality.form
    if len(record) != form.size:
        raise StoreDamaged(f"record {key!r} has {len(record)} bytes, not {form.size}")
    array: npt.NDArray[Any]
    if modality.layout != "native":
        array = form.array(record, form.tensors[0])
        return array if band is None else array[modality.indices([band])[0]]
    if band is None and len(form.tensors) > 1:
        raise ViewImpossible(
            f"the bands of the native record {key!r} lie apart: name one, or use read"
        )
    index = modality.indices(None if band is None else [band])[0]
    array = form.array(record, form.tensor(modality.bands[index].name) or form.tensors[0])
    return array if band is not None else array[None]
