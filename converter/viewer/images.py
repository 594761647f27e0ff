"""Records as small pictures and as raw pixels, for the page."""

from collections import OrderedDict
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.pictures.class_colours import MapClasses, classes_of
from patchpress.converter.pictures.stretch import Stretch, stretched
from patchpress.converter.pictures.views import View, are_decibels, of_first_date, views_of
from patchpress.converter.viewer.catalogue import Catalogue
from patchpress.readers.errors import OptionError
from patchpress.readers.format.modality import Modality
from patchpress.readers.store import Store

SEEN = 64
"""Patches whose pixels decide the stretch that all patches share: evenly spaced ones that are not
flagged, since clouds and snow would leave all else black."""
RATIO = "VV/VH"
"""The third channel of radar: the ratio, which in decibels is a difference."""
REMEMBERED = 4096
"""Small pictures that are kept: about 100 MB at most."""


class Images:
    """Pictures of the records of a store; those of a wall are made again and again."""

    def __init__(self, store: Store, catalogue: Catalogue) -> None:
        self._store, self._catalogue = store, catalogue
        self._lock = Lock()
        self._stretches: dict[tuple[str, str], Stretch] = {}
        self._samples: dict[str, npt.NDArray[Any]] = {}
        self._made: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self.classes: dict[str, MapClasses] = {
            name: classes_of(modality, store.manifest)
            for name, modality in store.manifest.modalities.items()
            if modality.kind == "classes"
        }

    def preset(self, modality: Modality) -> list[str]:
        """The bands that are shown first as red, green and blue, or the one that is grey."""
        view = self._view(modality)
        return [*view.bands, *([RATIO] if view.kind == "radar" else [])]

    def channels(self, modality: Modality) -> list[str]:
        """All that can be red, green or blue: the bands, and of radar the ratio."""
        return [*modality.band_names, *([RATIO] if self.radar(modality) else [])]

    def radar(self, modality: Modality) -> list[str]:
        """The names of the two bands whose ratio is shown; none if it is no radar."""
        view = self._view(modality)
        return list(view.bands) if view.kind == "radar" else []

    def _view(self, modality: Modality) -> View:
        """How it is shown first."""
        return views_of(self._store.manifest, None, [modality.name])[0]

    def range_of(self, modality: Modality, channel: str) -> tuple[float, float]:
        """The values that are black and white for all patches: percentiles 2 and 98 of a sample.

        Raises:
            OptionError: no such band.
            StoreError: a record cannot be read.
        """
        with self._lock:
            known = self._stretches.get((modality.name, channel))
        if known is None:
            known = Stretch.over([self._channel(modality, self._sample(modality), channel)])
            with self._lock:
                self._stretches[modality.name, channel] = known
        return known.low, known.high

    def _sample(self, modality: Modality) -> npt.NDArray[Any]:
        """All bands (bands, pixels) of evenly spaced patches."""
        with self._lock:
            if modality.name in self._samples:
                return self._samples[modality.name]
        rows = self._catalogue.with_record(modality.name)
        if not len(rows):
            raise OptionError(f"the store has no record of {modality.name}")
        recommended = self._catalogue.not_flagged[rows]
        rows = rows[recommended] if recommended.any() else rows
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, SEEN).astype(int))]
        keys = [self._catalogue.key(modality.name, int(row)) for row in chosen]
        arrays = [of_first_date(modality, self._store.read(key)) for key in keys]
        sample = np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)
        with self._lock:
            return self._samples.setdefault(modality.name, sample)

    def _channel(
        self, modality: Modality, bands: npt.NDArray[Any], channel: str
    ) -> npt.NDArray[Any]:
        view = self._view(modality)
        if channel == RATIO and view.kind == "radar":
            pair = bands[modality.indices(view.bands)]
            return view.channels(pair, in_decibels=are_decibels(pair))[2]
        band: npt.NDArray[Any] = bands[modality.indices([channel])[0]]
        return band

    def pixels(self, modality: str, row: int) -> npt.NDArray[Any]:
        """All bands of a record, (bands, height, width), on the finest grid; of the first date.

        Raises:
            OptionError: the row has no such record.
            StoreError: it cannot be read.
        """
        described = self._described(modality, row)
        return of_first_date(described, self._store.read(self._catalogue.key(modality, row)))

    def _described(self, modality: str, row: int) -> Modality:
        if modality not in self._store.manifest.modalities:
            raise OptionError(f"the store has no modality {modality!r}")
        if not self._catalogue.has(modality, row):
            raise OptionError(f"{self._catalogue.name(row)} has no record of {modality}")
        return self._store.manifest.modalities[modality]

    def thumbnail(self, modality: str, row: int, channels: tuple[str, ...], own: bool) -> bytes:
        """A record as PNG, in its own size; maps in the colours of their classes.

        Args:
            modality: its name.
            row: number of the row.
            channels: the three bands that are red, green and blue, or one that is grey.
            own: stretch by the patch's own pixels instead of those that all patches share.

        Raises:
            OptionError: the row has no such record, or the modality no such band.
            StoreError: it cannot be read.
        """
        asked = modality, row, channels, own
        with self._lock:
            if asked in self._made:
                self._made.move_to_end(asked)
                return self._made[asked]
        made = self._png(self._described(modality, row), row, channels, own)
        with self._lock:
            self._made[asked] = made
            while len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        return made

    def _png(self, modality: Modality, row: int, channels: tuple[str, ...], own: bool) -> bytes:
        import imagecodecs

        key = self._catalogue.key(modality.name, row)
        if modality.name in self.classes:
            map_ = self._store.read(key, bands=modality.band_names[:1])
            codes = of_first_date(modality, map_)[0]
            return bytes(imagecodecs.png_encode(self.classes[modality.name].paint(codes), 1))
        if len(channels) not in (1, 3):
            raise OptionError(f"a picture has one band or three, not {len(channels)}")
        bands = of_first_date(modality, self._store.read(key))
        values = [self._channel(modality, bands, channel) for channel in channels]
        stretches = [
            Stretch.over([one]) if own else Stretch(*self.range_of(modality, channel))
            for one, channel in zip(values, channels, strict=True)
        ]
        shown = (stretched(values, stretches) * 255).astype(np.uint8)
        image = np.moveaxis(shown, 0, -1) if len(shown) == 3 else shown[0]
        return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), 1))
