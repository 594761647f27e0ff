"""What is read of each sample: records of images and of a map, labels, columns of the table."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.choice import Choice, bands_by_modality
from patchpress.readers.columns import NumberColumn, ObjectColumn, read_columns
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import key_column, keys_in
from patchpress.readers.format.time_axis import fields_of_time
from patchpress.readers.images import IMAGE, Field, Image, join
from patchpress.readers.mask import Mask
from patchpress.readers.pairing import Pairing
from patchpress.readers.partial_records import AnyRecords, records_of_samples
from patchpress.readers.sample_format import LABEL, MASK
from patchpress.readers.sample_parts import Label
from patchpress.readers.sample_rows import SampleRows
from patchpress.readers.store import Store
from patchpress.readers.targets import (
    CodeTable,
    class_names,
    has_parts,
    label_array,
    number_array,
)

if TYPE_CHECKING:
    import pyarrow as pa


class PartFinder:
    """Finds what is read of each sample, if its rows are chosen."""

    def __init__(self, store: Store, rows: SampleRows, choice: Choice) -> None:
        """Take the rows; `choice` has everything in it, as `completed` gives it."""
        self._store, self._rows, self._choice = store, rows, choice
        self._is_torchgeo = choice["sample_format"] == "torchgeo"

    def images(self) -> tuple[Image, ...]:
        """One array of all modalities, or one for each, as asked for."""
        modalities, pairing = self._rows.images, self._rows.pairing
        dtype = self._choice["dtype"]
        if dtype is None and self._is_torchgeo:
            dtype = np.float32
        wanted = bands_by_modality(modalities, self._choice["bands"])
        parts = [self._records(m, pairing.of(m), wanted[m.name]) for m in modalities]
        if self._choice["joined"] or len(parts) == 1:
            return (join(IMAGE, modalities, parts, dtype),)
        named = zip(modalities, parts, strict=True)
        return tuple(join(f"{IMAGE}_{m.name}", [m], [part], dtype) for m, part in named)

    def label(self) -> Label | None:
        """The labels of all samples; None if no label is the target."""
        if not self._rows.columns:
            return None
        column, rows = self._rows.columns[0], self._rows.pairing.rows.table
        manifest, dtype = self._store.manifest, self._choice["label_dtype"]
        if column in manifest.numbers:
            values = number_array(rows[column], dtype)
            return Label(column, (), Field(LABEL, (), values.dtype), values)
        official = manifest.classes[column]
        names = class_names(manifest, column, self._choice["class_order"])
        if dtype is None and self._is_torchgeo and not has_parts(rows[column]):
            dtype = np.int64
        values = label_array(rows[column], official, names, dtype)
        return Label(column, names, Field(LABEL, values.shape[1:], values.dtype), values)

    def mask(self) -> Mask | None:
        """The maps of the samples; None if no map is the target."""
        if not self._rows.maps:
            return None
        modality, manifest = self._rows.maps[0], self._store.manifest
        targets = (*self._rows.columns, manifest.target or "")
        known = [name for name in targets if name in modality.codes]
        column = self._choice["mask_labels"] or [*known, *modality.codes, "labels"][0]
        order, ignored = self._choice["class_order"], self._choice["ignore_index"]
        table = CodeTable(modality, manifest, column, order, ignored)
        rows = self._rows.pairing.of(modality)
        records = self._records(modality, rows, modality.band_names[:1])
        return Mask(Field(MASK, records.shape[1:], np.dtype(np.int64)), records, table)

    def columns(self, taken: Sequence[str]) -> tuple[list[NumberColumn], list[ObjectColumn]]:
        """The columns that were asked for; `taken` are names of other fields of a sample.

        Raises:
            OptionError: as `read_columns`.
        """
        images, pairing = self._rows.images, self._rows.pairing
        made = _time_fields(images, pairing)
        return read_columns(pairing.rows.table, self._columns_asked(images), taken, made)

    def _records(
        self, modality: Modality, rows: "pa.Table", bands: Sequence[str] | None
    ) -> AnyRecords:
        """The record of each row, filled in if that was asked for."""
        keys = keys_in(modality, rows[key_column(modality)])
        presence = self._rows.presence
        if presence is None:
            return self._store.records(keys, bands)
        present, fill = presence.of(modality.name), self._rows.fills.get(modality.name, 0)
        return records_of_samples(self._store, modality, keys, present, bands, fill)

    def _columns_asked(self, images: Sequence[Modality]) -> list[str]:
        """The columns of a sample: those asked for, and in a dict which dates its images have."""
        asked = self._choice["columns"]
        names = [asked] if isinstance(asked, str) else list(asked)
        is_tuple = self._choice["sample_format"] == "tuple"
        return names if is_tuple else [*names, *fields_of_time(images)]


def _time_fields(
    images: Sequence[Modality], pairing: Pairing
) -> dict[str, Callable[[], npt.NDArray[Any]]]:
    """As `fields_of_time`, each of the rows that its modality's records are of."""
    found: dict[str, Callable[[], npt.NDArray[Any]]] = {}
    for modality in images:
        own = pairing.of(modality)
        for name, make in fields_of_time([modality]).items():
            found[name] = partial(make, own)
    return found
