"""`View`: one way to show a modality as an image, such as true colour; and which a store has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.descriptions.description import Description
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality

Floats = npt.NDArray[np.float64]
VISIBLE = (380.0, 700.0)  # nanometres
NEAR_INFRARED, ABOUT = (770.0, 900.0), 840.0


@dataclass(frozen=True)
class View:
    """One way to show a modality: which bands are red, green and blue, or grey, or codes."""

    modality: str
    title: str
    """As in ``true colour``."""
    kind: str
    """``colour``, ``radar``, ``grey`` or ``classes``."""
    bands: tuple[str, ...]
    """The bands that are read."""
    meaning: str = ""
    """What these bands are, if that is known, as in ``red, green, blue``."""

    def note(self, *, in_decibels: bool = True) -> str:
        """What is red, green and blue, as in ``s2: B04, B03, B02``."""
        shown = list(self.bands)
        if self.kind == "radar":
            sign = "-" if in_decibels else "/"
            shown.append(f"{shown[0]} {sign} {shown[1]}")
        return f"{self.modality}: {', '.join(shown)}"

    def channels(
        self, bands: npt.NDArray[np.generic], *, in_decibels: bool = True
    ) -> list[npt.NDArray[np.generic]]:
        """Red, green and blue, or the one grey channel, from the bands that were read."""
        if self.kind != "radar":
            return list(bands)
        one, other = bands.astype(np.float64)
        with np.errstate(all="ignore"):
            ratio = one - other if in_decibels else one / other
        return [bands[0], bands[1], ratio]


def are_decibels(bands: npt.NDArray[np.generic]) -> bool:
    """Whether a radar's values are decibels, whose difference is a ratio: some are below 0."""
    return bool((bands[np.isfinite(bands)] < 0).any())


def wavelengths_of(modality: Modality, description: Description | None) -> Mapping[str, float]:
    """Band -> its wavelength in nanometres, of bands for which the description says it."""
    source = description.modalities.get(modality.name) if description else None
    known = source.wavelengths if source else {}
    return {name: known[name] for name in modality.band_names if name in known}


def views_of(
    manifest: Manifest, description: Description | None, modalities: Sequence[str]
) -> list[View]:
    """The views of a store's modalities, in their order."""
    found: list[View] = []
    for name in modalities:
        modality = manifest.modality(name)
        views = _views(modality, wavelengths_of(modality, description))
        if modality.steps:
            views = [replace(view, title=f"{view.title}, first date") for view in views]
        found += views
    return found


def of_first_date(modality: Modality, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What is shown of a record or a band: of several dates the first, which is always there."""
    return array[0] if modality.steps else array


def _views(modality: Modality, wavelengths: Mapping[str, float]) -> list[View]:
    name = modality.name
    if modality.kind == "classes":
        return [View(name, "classes", "classes", modality.band_names[:1])]
    if modality.rgb:
        known = [wavelengths.get(band, 0.0) for band in modality.rgb]
        is_true = all(VISIBLE[0] <= one <= VISIBLE[1] for one in known)
        title, meaning = ("true colour", "red, green, blue") if is_true else ("colour", "")
        views = [View(name, title, "colour", modality.rgb, meaning)]
        near = _near_infrared(wavelengths)
        if near and is_true:
            bands = (near, modality.rgb[0], modality.rgb[1])
            meaning = "near infrared, red, green"
            views.append(View(name, "false colour", "colour", bands, meaning))
        return views
    radar = tuple(modality.band_named(one) for one in ("VV", "VH"))
    if radar[0] and radar[1]:
        return [View(name, "radar", "radar", (radar[0], radar[1]))]
    return [View(name, "one band", "grey", modality.band_names[:1])]


def _near_infrared(wavelengths: Mapping[str, float]) -> str | None:
    """The band in the near infrared, or None."""
    low, high = NEAR_INFRARED
    near = [band for band, one in wavelengths.items() if low <= one <= high]
    return min(near, key=lambda band: abs(wavelengths[band] - ABOUT), default=None)
