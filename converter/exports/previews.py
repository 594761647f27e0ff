"""A small picture of each patch, in true colour if there are such bands, all stretched alike."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.exports.samples import is_one_array
from patchpress.converter.exports.selection import ExportSelection
from patchpress.converter.pictures.class_colours import classes_of
from patchpress.converter.pictures.pixels import ViewPixels, view_pixels
from patchpress.converter.pictures.views import of_first_date, views_of
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import key_column, keys_in, presence_column, read_table

Array = npt.NDArray[Any]
SEEN = 64
"""Patches whose pixels decide what is black and white in all pictures: evenly spaced ones."""
KINDS = ("colour", "radar", "grey", "classes")
"""What is shown rather, if a store has several."""


@dataclass(frozen=True)
class Previews:
    """How patches are shown."""

    selection: ExportSelection
    modality: Modality
    _seen: ViewPixels

    @property
    def text(self) -> str:
        """What the pictures show, for people."""
        if self._seen.classes:
            return f"{self._seen.view.title} ({self.modality.name})"
        return self._seen.range_text()

    def png(self, key: str, arrays: Mapping[str, Array]) -> bytes:
        """The picture of a record, 8 bits a channel.

        Args:
            key: of the record.
            arrays: its pixels as `sample_arrays` names them.
        """
        import imagecodecs

        bands = _bands(self.selection, self.modality, self._seen.view.bands, key, arrays)
        image = replace(self._seen, bands=(bands,)).image(0)
        if image is not None and image.dtype != np.uint8:
            image = (image * 255).astype(np.uint8)
        return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), 1))


def previews_of(selection: ExportSelection) -> Previews:
    """How the patches of a selection are shown: by the first modality with a view of `KINDS`.

    Raises:
        StoreError: a record cannot be read.
    """
    views = views_of(selection.manifest, None, list(selection.modalities))
    views.sort(key=lambda view: KINDS.index(view.kind))
    view, keys = next(
        (view, keys)
        for view in views
        if (keys := _keys(selection, selection.modalities[view.modality]))
    )
    modality = selection.modalities[view.modality]
    seen = np.unique(np.linspace(0, len(keys) - 1, SEEN).astype(int)).tolist()
    records = [
        {
            modality.name: dict(
                zip(
                    view.bands,
                    _bands(selection, modality, view.bands, keys[number], {}),
                    strict=True,
                )
            )
        }
        for number in seen
    ]
    is_map = modality.kind == "classes"
    classes = classes_of(modality, selection.manifest) if is_map else None
    return Previews(selection, modality, view_pixels(view, records, classes))


def _keys(selection: ExportSelection, modality: Modality) -> list[str]:
    """Keys of the chosen rows' records."""
    own, has = key_column(modality), presence_column(modality.name)
    table = read_table(selection.store.path, selection.manifest, columns=[own, has])
    table = table.take(selection.rows.numbers)
    return keys_in(modality, table.filter(table[has])[own])


def _bands(
    selection: ExportSelection,
    modality: Modality,
    names: tuple[str, ...],
    key: str,
    arrays: Mapping[str, Array],
) -> Array:
    """Some bands of the first date, (bands, height, width)."""
    if modality.name in arrays and is_one_array(modality):
        return of_first_date(modality, arrays[modality.name])[modality.indices(names)]
    return of_first_date(modality, selection.store.read(key, bands=list(names)))
