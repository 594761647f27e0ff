"""A record's bands as arrays on its bytes, without any copy."""

from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import ViewImpossible
from patchpress.readers.format.modality import Modality

Array = npt.NDArray[Any]


def band_view(modality: Modality, record: memoryview, index: int) -> Array:
    """One band (height, width) of a whole uncompressed record, at its stored size.

    With a time axis (steps, height, width).

    Args:
        modality: that of the record, with the record's own band shapes.
        record: its bytes, which the array lies on.
        index: which of the modality's bands.
    """
    form = modality.form
    if modality.layout == "native":
        tensor = form.tensor(modality.bands[index].name) or form.tensors[0]
        return form.array(record, tensor)
    band: Array = form.array(record, form.tensors[0])[..., index, :, :]
    return band


def stack_view(modality: Modality, record: memoryview, key: str) -> Array:
    """All bands (bands, height, width) of a whole uncompressed record.

    With a time axis (steps, bands, height, width).

    Raises:
        ViewImpossible: a native record of several bands.
    """
    if modality.layout != "native":
        return modality.form.array(record, modality.form.tensors[0])
    if len(modality.bands) > 1:
        raise ViewImpossible(
            f"the bands of the native record {key!r} lie apart: name one, or use read"
        )
    return band_view(modality, record, 0)[..., np.newaxis, :, :]
