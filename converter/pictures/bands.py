"""One patch with each of its bands: name, wavelength, size of a pixel, and range of values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.pictures.asked import PictureAsked
from patchpress.converter.pictures.choice import (
    complete_rows,
    find_rows,
    rows_of_keys,
    target_of,
)
from patchpress.converter.pictures.class_colours import MapClasses
from patchpress.converter.pictures.contact import caption_columns, map_classes
from patchpress.converter.pictures.legend import Legend
from patchpress.converter.pictures.page import (
    FAINT,
    MARGIN,
    NORMAL,
    SMALL,
    TITLE,
    WARNING,
    PicturePage,
    line_height,
    wrapped,
)
from patchpress.converter.pictures.patch_texts import ShownPatch, shown_patches
from patchpress.converter.pictures.pixels import ViewPixels, codes_shown, read_views
from patchpress.converter.pictures.stretch import Stretch
from patchpress.converter.pictures.views import of_first_date, views_of, wavelengths_of
from patchpress.readers.errors import OptionError
from patchpress.readers.format.modality import Band, Modality

SIDE, GAP, ACROSS = 1.35, 0.12, 7
VIEW = 2.2  # inches of the larger images at the top
MOST_BANDS = 49
"""Of more bands of a modality, so many are shown, evenly spaced."""


@dataclass(frozen=True)
class BandsOfModality:
    """The panels of one modality."""

    modality: Modality
    shown: tuple[Band, ...]
    pixels: Mapping[str, npt.NDArray[Any]]
    wavelengths: Mapping[str, float]
    classes: MapClasses | None

    @property
    def title(self) -> str:
        """The modality's name and title, and whether not all bands are shown."""
        bands = len(self.modality.bands)
        some = f"; {len(self.shown)} of {bands} bands, evenly spaced" if bands > MOST_BANDS else ""
        return f"{self.modality.name}: {self.modality.title}{some}"

    @property
    def height(self) -> float:
        """Inches that it takes."""
        rows = -(-len(self.shown) // ACROSS)
        return line_height(NORMAL) + 0.06 + rows * (SIDE + 2 * line_height(SMALL) + GAP)


def bands_of_patch(asked: PictureAsked) -> PicturePage:
    """Draw all bands of one patch: that of the record that was named, or one drawn by the seed.

    Raises:
        KeyMissing: a record that is not there.
        SelectionEmpty, OptionError: a wish that the store cannot fulfil.
    """
    if asked.count not in (None, 1):
        raise OptionError(
            f"picture bands is of one patch, and count is {asked.count}: leave it out, or choose "
            "picture sheet"
        )
    store, names = asked.store, asked.shown_modalities()
    columns = caption_columns(asked)
    if asked.keys:
        rows = rows_of_keys(store, asked.keys, columns)
    else:
        rows = complete_rows(find_rows(store, asked.rows, columns), names, 1).drawn(1, asked.seed)
    (patch,) = shown_patches(store.manifest, rows, target_of(store, asked.rows.target))
    classes = map_classes(asked, names)
    drawn = read_views(store, [patch], views_of(store.manifest, asked.description, names), classes)
    parts = [
        _bands(asked, store.manifest.modality(name), patch, classes.get(name))
        for name in names
        if name in patch.keys
    ]
    if not parts:
        raise OptionError(f"{patch.name} has no record of {' or '.join(names)}")
    # A map of one band is among the large images above already.
    parts = [one for one in parts if one.classes is None or len(one.shown) > 1]
    return _page(asked, patch, drawn, parts)


def _bands(
    asked: PictureAsked, modality: Modality, patch: ShownPatch, classes: MapClasses | None
) -> BandsOfModality:
    bands = modality.bands
    if len(bands) > MOST_BANDS:
        at = np.linspace(0, len(bands) - 1, MOST_BANDS).round().astype(int)
        bands = tuple(bands[number] for number in at.tolist())
    read = asked.store.read_bands(patch.keys[modality.name], [band.name for band in bands])
    pixels = {name: of_first_date(modality, band) for name, band in read.items()}
    known = wavelengths_of(modality, asked.description)
    return BandsOfModality(modality, bands, pixels, known, classes)


def _page(
    asked: PictureAsked,
    patch: ShownPatch,
    drawn: Sequence[ViewPixels],
    parts: Sequence[BandsOfModality],
) -> PicturePage:
    inside = ACROSS * (SIDE + GAP) - GAP
    legend = Legend.of(codes_shown(drawn).values(), _legend_title(drawn), inside)
    texts = _texts(asked, patch, inside)
    above = sum(len(lines) * line_height(size) for lines, size, _ in texts) + 0.15
    views = VIEW + 2 * line_height(SMALL) + 0.25
    height = MARGIN + above + views + sum(part.height for part in parts)
    page = PicturePage(inside + 2 * MARGIN, height + legend.height + 0.4 + MARGIN)
    top = MARGIN
    for lines, size, colour in texts:
        weight = "bold" if size == TITLE else "normal"
        top += page.text(MARGIN, top, lines, size=size, colour=colour, weight=weight)
    top += 0.15
    for number, one in enumerate(drawn[: int((inside + GAP) // (VIEW + GAP))]):
        left = MARGIN + number * (VIEW + GAP)
        page.text(left, top, one.view.title.capitalize(), size=NORMAL, weight="bold")
        page.text(left, top + line_height(NORMAL), wrapped(one.note, VIEW, most=1), colour=FAINT)
        how = "nearest" if one.classes else "auto"
        page.image(left, top + 2 * line_height(NORMAL), VIEW, one.image(0), interpolation=how)
    top += views
    for part in parts:
        _draw_bands(page, top, part, inside)
        top += part.height
    top += legend.draw(page, MARGIN, top)
    note = "Each band from black to white: its percentiles 2 to 98, in the values as stored."
    page.text(MARGIN, top + 0.05, note, colour=FAINT)
    return page


def _legend_title(drawn: Sequence[ViewPixels]) -> str:
    titles = [
        f"{one.view.modality}, {one.view.bands[0]}: {one.classes.title}"
        for one in drawn
        if one.classes
    ]
    return "; ".join(titles)


def _texts(
    asked: PictureAsked, patch: ShownPatch, width: float
) -> list[tuple[list[str], float, str]]:
    """What stands above: (lines, size, colour) of the name, place in the data set, labels."""
    about = ", ".join(filter(None, (asked.title, patch.where)))
    texts = [
        (wrapped(patch.name, width, size=TITLE, weight="bold", most=3), TITLE, "black"),
        (wrapped(about, width, most=2), SMALL, FAINT),
    ]
    if patch.labels:
        texts.append((wrapped("; ".join(patch.labels), width, most=3), SMALL, "black"))
    if patch.flags:
        texts.append(([f"flagged: {', '.join(patch.flags)}"], SMALL, WARNING))
    return texts


def _draw_bands(page: PicturePage, top: float, part: BandsOfModality, width: float) -> None:
    title = wrapped(part.title, width, size=NORMAL, weight="bold", most=1)
    top += page.text(MARGIN, top, title, size=NORMAL, weight="bold") + 0.06
    below = SIDE + 2 * line_height(SMALL) + GAP
    for number, band in enumerate(part.shown):
        left = MARGIN + (number % ACROSS) * (SIDE + GAP)
        y = top + (number // ACROSS) * below
        pixels = part.pixels[band.name]
        wavelength = part.wavelengths.get(band.name)
        name = band.name + (f", {wavelength:.0f} nm" if wavelength else "")
        text = f"{band.gsd:g} m, {_range(part, pixels)}"
        y += page.text(left, y, wrapped(name, SIDE, weight="bold", most=1), weight="bold")
        y += page.text(left, y, wrapped(text, SIDE, most=1), colour=FAINT)
        _draw_band(page, left, y, part, pixels, is_first=band is part.modality.bands[0])


def _range(part: BandsOfModality, pixels: npt.NDArray[Any]) -> str:
    if part.modality.kind != "classes":
        return Stretch.over([pixels]).text()
    codes = np.unique(pixels).tolist()
    return f"code {codes[0]}" if len(codes) == 1 else f"{len(codes)} codes"


def _draw_band(
    page: PicturePage,
    left: float,
    top: float,
    part: BandsOfModality,
    pixels: npt.NDArray[Any],
    *,
    is_first: bool,
) -> None:
    if part.modality.kind == "classes":
        # The classes are those of the first band; other bands have codes of their own.
        known = part.classes if is_first and part.classes else MapClasses("", {}, {})
        page.image(left, top, SIDE, known.paint(pixels), interpolation="nearest")
        return
    shown = Stretch.over([pixels]).apply(pixels)
    page.image(left, top, SIDE, shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
