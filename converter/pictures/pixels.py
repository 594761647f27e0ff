"""The pixels of the shown patches, read once, and how they are stretched: alike in all panels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.pictures.class_colours import MapClasses
from patchpress.converter.pictures.patch_texts import ShownPatch
from patchpress.converter.pictures.stretch import Stretch, stretched
from patchpress.converter.pictures.views import View, are_decibels, of_first_date
from patchpress.readers.store import Store

MIDDLE, LEAST_POWER = 0.4, 0.4
"""In colour views values of 0 to 1 are raised to a power, the same for all patches and channels, so
that the median becomes `MIDDLE`: beside roofs, and more so beside snow, woods would be black."""
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ViewPixels:
    """One view of all shown patches."""

    view: View
    bands: tuple[Array | None, ...]
    """The bands that were read of each patch; None if it has no such record."""
    stretches: tuple[Stretch, ...]
    """Of red, green and blue, or of the one band; none of classes."""
    power: float
    """Of a colour view: what stretched values are raised to."""
    in_decibels: bool
    """Of a radar view: whether its values are decibels, whose difference is a ratio."""
    classes: MapClasses | None
    """Of a map: what its codes are."""

    @property
    def note(self) -> str:
        """Which bands are red, green and blue."""
        return self.view.note(in_decibels=self.in_decibels)

    def image(self, number: int) -> Array | None:
        """The panel of a patch, (height, width, 3), uint8 of a map, else 0 to 1; or None."""
        bands = self.bands[number]
        if bands is None:
            return None
        if self.classes:
            return self.classes.paint(bands[0])
        channels = self.view.channels(bands, in_decibels=self.in_decibels)
        shown = stretched(channels, self.stretches)
        if self.view.kind == "colour":
            shown = shown**self.power
        return np.moveaxis(np.concatenate([shown] * (3 // len(shown))), 0, -1)

    def range_text(self) -> str:
        """The range of each channel, for people: what is black and what is white."""
        names = self.note.partition(": ")[2].split(", ")
        parts = [f"{name} {one.text()}" for name, one in zip(names, self.stretches, strict=True)]
        return f"{self.view.title} ({self.view.modality}): {', '.join(parts)}"

    def nan_text(self) -> str:
        """How many pixels are NaN in a band, for people; empty if none is."""
        known = [np.isnan(bands).any(axis=0) for bands in self.bands if bands is not None]
        count = sum(int(found.sum()) for found in known) if self.stretches else 0
        several = "pixel" if count == 1 else "pixels"
        return f"{self.view.title.lower()} ({self.view.modality}) {count:,} {several}" * bool(count)


def read_views(
    store: Store,
    patches: Sequence[ShownPatch],
    views: Sequence[View],
    classes: dict[str, MapClasses],
) -> list[ViewPixels]:
    """Read the bands of some views, each record once, and find how they are stretched.

    Views of which no patch has a record are left out.

    Args:
        store: the store.
        patches: those that are shown.
        views: ways to show them.
        classes: of each modality of codes, what they are.
    """
    records: list[dict[str, dict[str, Array]]] = []
    wanted: dict[str, list[str]] = {}
    for view in views:
        wanted.setdefault(view.modality, []).extend(view.bands)
    for patch in patches:
        read = {}
        for name, bands in wanted.items():
            if name in patch.keys:
                names = list(dict.fromkeys(bands))
                modality = store.manifest.modalities[name]
                array = of_first_date(modality, store.read(patch.keys[name], bands=names))
                read[name] = dict(zip(names, array, strict=True))
        records.append(read)
    drawn = [view_pixels(view, records, classes.get(view.modality)) for view in views]
    return [one for one in drawn if any(bands is not None for bands in one.bands)]


def view_pixels(
    view: View, records: Sequence[dict[str, dict[str, Array]]], classes: MapClasses | None
) -> ViewPixels:
    """A view of some patches, and the stretch that all of them decide together.

    Args:
        view: a way to show them.
        records: of each patch: modality -> band -> pixels.
        classes: what the codes of a map are.
    """
    bands = tuple(
        np.stack([read[view.modality][name] for name in view.bands])
        if view.modality in read
        else None
        for read in records
    )
    if view.kind == "classes":
        return ViewPixels(view, bands, (), 1.0, False, classes)
    there = [some for some in bands if some is not None]
    in_decibels = any(are_decibels(some) for some in there)
    channels = [view.channels(some, in_decibels=in_decibels) for some in there]
    stretches = tuple(Stretch.over(same) for same in zip(*channels, strict=True))
    return ViewPixels(view, bands, stretches, _power(channels, stretches), in_decibels, None)


def _power(channels: Sequence[Sequence[Array]], stretches: Sequence[Stretch]) -> float:
    """The power that makes the median of stretched values `MIDDLE`, within bounds."""
    medians = [
        np.median(np.concatenate([one.apply(band[::4, ::4]).ravel() for band in same]))
        for one, same in zip(stretches, zip(*channels, strict=True), strict=True)
    ]
    median = float(np.mean(medians)) if medians else MIDDLE
    if not 0 < median < 1:
        return 1.0
    return float(np.clip(np.log(MIDDLE) / np.log(median), LEAST_POWER, 1.0))


def codes_shown(drawn: Sequence[ViewPixels]) -> dict[int, tuple[str, str]]:
    """Code -> (its name, its colour), of all codes that are in a shown map; by code."""
    found: dict[int, tuple[str, str]] = {}
    for one in drawn:
        if one.classes is None:
            continue
        for bands in one.bands:
            for code in np.unique(bands[0]).tolist() if bands is not None else ():
                found[code] = one.classes.name_of(code), one.classes.colour_of(code)
    return dict(sorted(found.items()))
