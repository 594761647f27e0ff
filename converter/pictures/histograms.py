"""How the values of each band are distributed, by split or by another column."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.pictures.asked import PictureAsked, number_asked
from patchpress.converter.pictures.choice import RowsFound, find_rows
from patchpress.converter.pictures.groups import Groups, groups_of
from patchpress.converter.pictures.legend import Legend
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
from patchpress.converter.pictures.views import of_first_date, wavelengths_of
from patchpress.readers.errors import OptionError
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import key_column, keys_in, presence_column
from patchpress.readers.store import Store

PATCHES, MOST_PATCHES = 200, 5000
"""Of each group."""
PIXELS = 2000
"""Of each band of a patch, evenly spaced: neighbours tell little that is new."""
MOST_BANDS = 24
ENDS = (0.5, 99.5)
"""Percentiles, of all groups together, where the axes end."""
BINS = 60
WIDE, HIGH, ACROSS, GAP = 2.25, 1.15, 4, 0.22  # inches
BELOW = 0.55  # below axes: ticks, and the next title

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class BandValues:
    """Values of one band that were read, of each group."""

    name: str
    of_group: tuple[Array, ...]

    def shares(self) -> tuple[Array, list[Array]]:
        """(edges of bins, the share of each group's pixels in each bin, in percent)."""
        together = np.concatenate(self.of_group)
        if not together.size:
            return np.linspace(0, 1, BINS + 1), [np.zeros(BINS) for _ in self.of_group]
        low, high = np.percentile(together, ENDS)
        if low == high:
            low, high = low - 0.5, high + 0.5
        is_whole = together.dtype.kind in "iu" and high - low < BINS
        edges = np.arange(low - 0.5, high + 1) if is_whole else np.linspace(low, high, BINS + 1)
        return edges, [
            100 * np.histogram(values, edges)[0] / max(values.size, 1) for values in self.of_group
        ]


@dataclass(frozen=True)
class ModalityValues:
    """Values of some bands of a modality."""

    modality: Modality
    bands: tuple[BandValues, ...]

    @property
    def title(self) -> str:
        """The modality's name and title, and whether not all bands are shown."""
        bands = len(self.modality.bands)
        some = f"; {len(self.bands)} of {bands} bands" if len(self.bands) < bands else ""
        return f"{self.modality.name}: {self.modality.title}{some}"

    @property
    def height(self) -> float:
        """Inches that it takes."""
        return line_height(NORMAL) + 0.3 + -(-len(self.bands) // ACROSS) * (HIGH + BELOW)


def band_histograms(asked: PictureAsked) -> PicturePage:
    """Draw the distribution of each band's values.

    Raises:
        SelectionEmpty, OptionError: a wish that the store cannot fulfil.
    """
    images = asked.images()
    column = asked.group_column()
    columns = [column] if column else []
    for modality in images:
        columns += [key_column(modality), presence_column(modality.name)]
    rows = find_rows(asked.store, asked.rows, columns)
    groups = groups_of(asked, rows)
    count = number_asked(asked.count, PATCHES, MOST_PATCHES)
    drawn = _drawn_of_each(groups, count, asked.seed)
    values = [_values(asked.store, modality, rows, drawn) for modality in images]
    values = [one for one in values if any(some.size for some in one.bands[0].of_group)]
    if not values:
        raise OptionError(f"the patches chosen have no finite pixel in {asked.place}")
    read = sum(len(some) for some in drawn)
    subtitle = (
        f"{read:,} of {len(rows):,} patches{' of ' + rows.words if rows.words else ''}"
        f"{rows.left_out_text()}"
        if read == len(rows)
        else f"Up to {count:,} patches of each group, drawn with seed {asked.seed} from "
        f"{len(rows):,}{' of ' + rows.words if rows.words else ''}{rows.left_out_text()}"
    )
    return _page(asked, groups, values, subtitle)


def _drawn_of_each(groups: Groups, count: int, seed: int) -> list[npt.NDArray[np.intp]]:
    """Positions of rows: at most so many of each group."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(len(groups.names)):
        there = np.flatnonzero(groups.of_row == number)
        found.append(np.sort(random.permutation(there)[:count]))
    return found


def _values(
    store: Store,
    modality: Modality,
    rows: RowsFound,
    drawn: list[npt.NDArray[np.intp]],
) -> ModalityValues:
    names = list(modality.band_names)
    if len(names) > MOST_BANDS:
        at = np.linspace(0, len(names) - 1, MOST_BANDS).round().astype(int)
        names = [names[number] for number in at.tolist()]
    read = [_group_values(store, modality, rows.take(positions), names) for positions in drawn]
    bands = tuple(BandValues(name, tuple(one[name] for one in read)) for name in names)
    return ModalityValues(modality, bands)


def _group_values(
    store: Store, modality: Modality, rows: RowsFound, names: list[str]
) -> dict[str, Array]:
    """Finite values of each band of some patches."""
    there = rows.table.filter(rows.table[presence_column(modality.name)])
    found: dict[str, list[Array]] = {name: [] for name in names}
    for key in keys_in(modality, there[key_column(modality)]):
        for name, band in store.read_bands(key, names).items():
            pixels = of_first_date(modality, band)
            flat = pixels.ravel()[:: -(-pixels.size // PIXELS)]
            found[name].append(flat[np.isfinite(flat)])
    empty = np.empty(0, modality.dtype)
    return {name: np.concatenate([empty, *some]) for name, some in found.items()}


def _page(
    asked: PictureAsked, groups: Groups, values: list[ModalityValues], subtitle: str
) -> PicturePage:
    inside = ACROSS * (WIDE + GAP) - GAP
    lines = wrapped(f"Values of the bands of {asked.title}", inside, size=TITLE, weight="bold")
    more = wrapped(
        f"{subtitle}. Height: share of the pixels of each group; the axes end at percentiles "
        f"{ENDS[0]} and {ENDS[1]}.",
        inside,
    )
    legend = Legend.of(groups.entries(counted=False), groups.title, inside)
    above = MARGIN + len(lines) * line_height(TITLE) + len(more) * line_height(SMALL) + 0.12
    height = above + legend.height + sum(one.height for one in values) + MARGIN
    page = PicturePage(inside + 2 * MARGIN, height)
    top = MARGIN + page.text(MARGIN, MARGIN, lines, size=TITLE, weight="bold")
    page.text(MARGIN, top, more, colour=FAINT)
    top = above + legend.draw(page, MARGIN, above)
    for one in values:
        known = wavelengths_of(one.modality, asked.description)
        title = wrapped(one.title, inside, size=NORMAL, weight="bold", most=1)
        page.text(MARGIN, top + 0.05, title, size=NORMAL, weight="bold")
        for number, band in enumerate(one.bands):
            left = MARGIN + (number % ACROSS) * (WIDE + GAP)
            y = top + line_height(NORMAL) + 0.3 + (number // ACROSS) * (HIGH + BELOW)
            wavelength = known.get(band.name)
            name = band.name + (f", {wavelength:.0f} nm" if wavelength else "")
            page.text(left, y - 0.17, wrapped(name, WIDE, most=1), weight="bold")
            _draw_band(page.axes(left, y, WIDE, HIGH), band, groups.colours)
        top += one.height
    return page


def _draw_band(axes: Any, band: BandValues, colours: Sequence[str]) -> None:
    edges, shares = band.shares()
    for share, colour in zip(shares, colours, strict=True):
        axes.stairs(share, edges, color=colour, linewidth=1.3, baseline=None)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0)
    axes.set_yticks([])
    axes.set_xticks(_ticks(float(edges[0]), float(edges[-1])))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axes.tick_params(labelsize=SMALL, colors=INK, length=3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#9AA3AA")


def _ticks(low: float, high: float) -> list[float]:
    """A few round numbers inside a range, away from its ends, where the next axes begin."""
    from matplotlib.ticker import MaxNLocator

    room = 0.1 * (high - low)
    ticks = MaxNLocator(4).tick_values(low, high)
    return [float(tick) for tick in ticks if low + room <= tick <= high - room]
