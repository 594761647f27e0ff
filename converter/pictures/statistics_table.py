"""The statistics of a store as a figure: for each band its numbers, and its range as a box."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from patchpress.converter.pictures.asked import PictureAsked
from patchpress.converter.pictures.page import (
    FAINT,
    INK,
    MARGIN,
    NORMAL,
    SMALL,
    TITLE,
    PicturePage,
    line_height,
    wrapped,
)
from patchpress.converter.pictures.views import wavelengths_of
from patchpress.readers.errors import OptionError
from patchpress.readers.format.manifest import STATISTICS
from patchpress.readers.statistics import PERCENTILES, BandStatistics, Statistics
from patchpress.readers.statistics_file import read_file

NAME, WAVELENGTH, BOXES, NUMBER, STEP = 0.85, 0.7, 3.6, 0.72, 0.21  # inches
COLUMNS = ("mean", "std", "min", "2 %", "50 %", "98 %", "max", "pixels", "NaN")
WIDE = {"pixels": 1.25, "NaN": 0.8}
MOST_BANDS = 48
FILL, LINE = "#9CC3E0", "#0072B2"


def statistics_table(asked: PictureAsked) -> PicturePage:
    """Draw what `patchpress stats` kept beside the store.

    Raises:
        StatisticsMissing, StatisticsStale: there are none, or of other data.
        SelectionEmpty, OptionError: a wish that the store cannot fulfil.
    """
    if asked.rows.labels:
        raise OptionError("statistics are of splits and rows: give split or where, not label")
    found = _found(asked)
    shown = [_evenly(one) for one in found]
    sides = NAME + WAVELENGTH + BOXES + 0.1
    inside = sides + sum(WIDE.get(name, NUMBER) for name in COLUMNS)
    title = wrapped(f"Statistics of {asked.title}", inside, size=TITLE, weight="bold", most=2)
    note = wrapped(
        "In the values as stored. Box: percentiles 25 to 75, with the median; lines: percentiles 2 "
        "to 98; dot: the mean.",
        inside,
    )
    above = MARGIN + len(title) * line_height(TITLE) + len(note) * line_height(SMALL) + 0.1
    heights = [line_height(NORMAL) + (len(one.bands) + 1) * STEP + 0.6 for one in shown]
    page = PicturePage(inside + 2 * MARGIN, above + sum(heights) + 0.1)
    top = MARGIN + page.text(MARGIN, MARGIN, title, size=TITLE, weight="bold")
    page.text(MARGIN, top, note, colour=FAINT)
    top = above
    for whole, one, height in zip(found, shown, heights, strict=True):
        modality = asked.store.manifest.modality(one.modality)
        some = f"; {len(one.bands)} of {len(whole.bands)} bands" if one is not whole else ""
        about = f"{one.modality}, {one.split}, {one.patches:,} patches: {modality.title}{some}"
        heading = wrapped(about, inside, size=NORMAL, weight="bold", most=1)
        page.text(MARGIN, top, heading, size=NORMAL, weight="bold")
        known = wavelengths_of(modality, asked.description)
        _draw(page, top + line_height(NORMAL) + 0.06, one, known)
        top += height
    return page


def _found(asked: PictureAsked) -> list[Statistics]:
    """The statistics that are asked for; without a wish all that the store has."""
    names = [modality.name for modality in asked.images()]
    rows = asked.rows
    if rows.split is not None or rows.where is not None or rows.flagged is not None:
        return [
            asked.store.statistics(name, rows.split, flagged=rows.flagged, where=rows.where)
            for name in names
        ]
    again = f"patchpress stats {asked.place}"
    entries = read_file(asked.store.path, asked.store.manifest, again)
    found = [one for (name, _), one in entries.items() if name in names]
    if not found:
        raise OptionError(
            f"{STATISTICS} of {asked.place} has nothing of {' or '.join(names)}: run `{again}`"
        )
    return found


def _evenly(statistics: Statistics) -> Statistics:
    names = statistics.band_names
    if len(names) <= MOST_BANDS:
        return statistics
    at = np.linspace(0, len(names) - 1, MOST_BANDS).round().astype(int)
    return statistics.pick([names[number] for number in at.tolist()])


def _draw(
    page: PicturePage, top: float, statistics: Statistics, wavelengths: Mapping[str, float]
) -> None:
    boxes = MARGIN + NAME + WAVELENGTH
    ends = []
    at = boxes + BOXES + 0.1
    for name in COLUMNS:
        at += WIDE.get(name, NUMBER)
        ends.append(at)
        page.text(at, top, name, colour=FAINT, align="right")
    first = top + STEP
    is_large = max((abs(b.percentiles[-1]) for b in statistics.bands), default=0) >= 100
    for number, band in enumerate(statistics.bands):
        y = first + number * STEP
        if number % 2 == 0:
            page.box(MARGIN, y - 0.03, page.width - 2 * MARGIN, STEP, "#F5F7F9").set_zorder(-1)
        page.text(MARGIN, y, wrapped(band.name, NAME - 0.05, most=1), weight="bold")
        if band.name in wavelengths:
            page.text(MARGIN + NAME, y, f"{wavelengths[band.name]:.0f} nm", colour=FAINT)
        for end, text in zip(ends, _numbers(band, is_large=is_large), strict=True):
            page.text(end, y, text, align="right")
    axes = page.axes(boxes, first - 0.03, BOXES, STEP * len(statistics.bands))
    _boxes(axes, statistics)


def _numbers(band: BandStatistics, *, is_large: bool) -> list[str]:
    known = dict(zip(PERCENTILES, band.percentiles, strict=True))
    numbers = (band.mean, band.std, band.minimum, known[2], known[50], known[98], band.maximum)
    texts = [f"{one:,.0f}" if is_large else f"{one:,.2f}" for one in numbers]
    return [*texts, f"{band.pixels:,}", f"{band.nan:,}"]


def _boxes(axes: Any, statistics: Statistics) -> None:
    for number, band in enumerate(statistics.bands):
        known = dict(zip(PERCENTILES, band.percentiles, strict=True))
        if not np.isfinite(band.mean):
            continue
        y = number + 0.5
        axes.plot([known[2], known[98]], [y, y], color=LINE, linewidth=1)
        axes.barh(y, known[75] - known[25], left=known[25], height=0.56, color=FILL,
                  edgecolor=LINE, linewidth=0.8)  # fmt: skip
        axes.plot([known[50]] * 2, [y - 0.28, y + 0.28], color=LINE, linewidth=1.6)
        axes.plot(band.mean, y, "o", color=INK, markersize=3)
    axes.set_ylim(len(statistics.bands), 0)
    axes.set_yticks([])
    axes.patch.set_visible(False)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axes.tick_params(labelsize=SMALL, colors=FAINT, length=3)
    axes.grid(axis="x", color="#DFE3E6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#C4C9CE")
