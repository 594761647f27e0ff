"""How near the patches of test are to those of train: by the splits, and by others before them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.pictures.asked import PictureAsked
from patchpress.converter.pictures.choice import find_rows
from patchpress.converter.pictures.legend import Legend
from patchpress.converter.pictures.page import (
    FAINT,
    GROUP_COLOURS,
    INK,
    MARGIN,
    SMALL,
    TITLE,
    PicturePage,
    line_height,
    wrapped,
)
from patchpress.converter.tables.block_split import BESIDE, distances_to_train
from patchpress.converter.tables.patch_places import GroundPlaces, places_in
from patchpress.converter.tables.published_columns import KEPT_AS
from patchpress.readers.errors import OptionError
from patchpress.readers.format.arrow_kinds import plain
from patchpress.readers.format.table import EPSG, SIDES, table_columns

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
WIDE, HIGH = 7.4, 3.6  # inches
POINTS = 1500  # of a curve
LEAST_SIDES = 0.2
"""Where the axis begins, in sides of a patch: what is nearer is the same place for a reader."""


@dataclass(frozen=True)
class Curve:
    """Distances from the patches of test to train, by one column of splits."""

    title: str
    distances: Floats
    """(patches of test,) kilometres."""
    colour: str

    def entry(self, beside_km: float) -> tuple[str, str]:
        """(title, median and share of those beside train, colour), for a legend."""
        near = float((self.distances < beside_km).mean())
        median = float(np.median(self.distances))
        return f"{self.title}: median {median:.3g} km; {near:.1%} beside train", self.colour


def distances_to_train_page(asked: PictureAsked) -> PicturePage:
    """Draw for each split column what share of test is nearer to train than so many kilometres.

    Raises:
        OptionError: no splits, no patch with a place, or no patch of test and train among them.
        SelectionEmpty: no patch is asked for.
    """
    manifest = asked.store.manifest
    column = manifest.split_column
    if not manifest.splits:
        raise OptionError(
            f"{asked.place} has no splits: `patchpress index` with --split geographic gives it some"
        )
    known = table_columns(asked.store.path, manifest)
    kept = f"{KEPT_AS}{column}"
    other = asked.by if asked.by is not None else kept if kept in known else None
    columns = [EPSG, *SIDES, column, *([other] if other else [])]
    rows = find_rows(asked.store, asked.rows, columns)
    table = rows.table
    places = places_in(table)
    if not places.known.any():
        raise OptionError(
            f"no patch of {asked.place} has a place: its source has no coordinates, or another "
            "program wrote its records"
        )
    curves = _curves(places, table, asked, column, other)
    lost = int((~places.known).sum())
    subtitle = (
        f"{len(rows) - lost:,} patches{' of ' + rows.words if rows.words else ''}"
        f"{f'; {lost:,} have no place' if lost else ''}{rows.left_out_text()}. For each patch of "
        "test the distance to the nearest one of train, from middle to middle: the further to the "
        "right, the less a model has seen of where it is tested."
    )
    return _page(asked, curves, places.side_km, subtitle)


def _curves(
    places: GroundPlaces,
    table: "pa.Table",
    asked: PictureAsked,
    column: str,
    other: str | None,
) -> list[Curve]:
    import pyarrow as pa

    splits = plain(table[column])
    block = asked.store.manifest.options.get("block")
    how = f"{column}, by blocks of {block}" if block else column
    found = [(how, splits, GROUP_COLOURS[0])]
    if other and other != column:
        values = plain(table[other])
        if asked.by and not (_is_text(values) and len(distances_to_train(places, values))):
            raise OptionError(
                f"column {other!r} says of no patches with a place that they are train and test: "
                "--by names another column of splits"
            )
        found.append((other, values, GROUP_COLOURS[4]))
    order = np.random.default_rng(asked.seed).permutation(len(table))
    found.append(("if each patch were drawn by itself", splits.take(pa.array(order)), "#9AA3AA"))
    curves = [
        Curve(title, distances, colour)
        for title, values, colour in found
        if len(distances := distances_to_train(places, values))
    ]
    if not curves or curves[0].title != how:
        raise OptionError(
            f"among the patches chosen of {asked.place} none with a place is of train, or none of "
            "test: ask for both, or for no split"
        )
    return curves


def _is_text(values: "pa.ChunkedArray") -> bool:
    import pyarrow.types as pt

    return bool(pt.is_string(values.type) or pt.is_large_string(values.type))


def _page(asked: PictureAsked, curves: list[Curve], side_km: float, subtitle: str) -> PicturePage:
    beside = BESIDE * side_km
    title = f"How near test is to train in {asked.title}"
    lines = wrapped(title, WIDE, size=TITLE, weight="bold", most=2)
    more = wrapped(subtitle, WIDE, most=5)
    entries = [curve.entry(beside) for curve in curves]
    legend = Legend.of(entries, "Splits", WIDE)
    above = MARGIN + len(lines) * line_height(TITLE) + len(more) * line_height(SMALL) + 0.15
    page = PicturePage(WIDE + 2 * MARGIN, above + legend.height + 0.15 + HIGH + 0.75)
    top = MARGIN + page.text(MARGIN, MARGIN, lines, size=TITLE, weight="bold")
    page.text(MARGIN, top, more, colour=FAINT)
    legend.draw(page, MARGIN, above)
    axes = page.axes(MARGIN + 0.5, above + legend.height + 0.15, WIDE - 0.6, HIGH)
    _draw(axes, curves, side_km, beside)
    return page


def _draw(axes: Any, curves: list[Curve], side_km: float, beside: float) -> None:
    least = LEAST_SIDES * side_km
    most = max(float(curve.distances.max()) for curve in curves)
    shares = np.linspace(0, 1, POINTS)
    axes.axvspan(least, beside, color="#F6E3E1", linewidth=0, zorder=0)
    for curve in reversed(curves):
        km = np.maximum(np.quantile(curve.distances, shares), least)
        # From the left edge at 0 to the right one at 100: a step where a curve begins and ends.
        x = np.concatenate([[least], km, [max(2 * beside, 1.15 * most)]])
        axes.plot(x, 100 * np.concatenate([[0], shares, [1]]), color=curve.colour, linewidth=1.8)
    axes.set_xscale("log")
    axes.set_xlim(least, max(2 * beside, 1.15 * most))
    axes.set_ylim(0, 101)
    axes.set_xticks(_ticks(*axes.get_xlim()))
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("kilometres to the nearest patch of train", fontsize=SMALL, color=INK)
    axes.set_ylabel("percent of test that is nearer", fontsize=SMALL, color=INK)
    axes.text(
        beside, 101.5, "beside it, or over it ", fontsize=SMALL, color=FAINT, ha="right",
        va="bottom", parse_math=False,
    )  # fmt: skip
    axes.tick_params(labelsize=SMALL, colors=INK, length=3)
    axes.grid(color="#E3E8EC", linewidth=0.5, zorder=1)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9AA3AA")


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20, … within a range."""
    tens = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [digit * 10.0**ten for ten in tens for digit in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]
