"""Where the patches of a store lie, on a map of coastlines, coloured by split or another column."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.pictures.asked import PictureAsked
from patchpress.converter.pictures.choice import find_rows
from patchpress.converter.pictures.coastline import coastlines
from patchpress.converter.pictures.groups import Groups, groups_of
from patchpress.converter.pictures.legend import Legend
from patchpress.converter.pictures.page import (
    FAINT,
    MARGIN,
    NORMAL,
    SMALL,
    TITLE,
    PicturePage,
    line_height,
    wrapped,
)
from patchpress.readers.errors import OptionError
from patchpress.readers.format.table import EPSG, SIDES

Floats = npt.NDArray[np.float64]
LONGITUDE_LATITUDE = 4326
MAP, MOST_HIGH, LEAST_HIGH = 7.6, 8.5, 3.2  # inches
ZOOM, ZOOM_GAP = 4.2, 0.75
ZOOM_KM = 60.0
"""What the second map shows, from side to side."""
ZOOM_FROM, ZOOM_BELOW = 50, 2.0
"""With so many patches, or if they lie within so many degrees, there is a second map, of the place
where most of them are."""
LEAST_DEGREES = 12.0  # from south to north of the first map: less may show no coast at all
KM_PER_DEGREE = 111.2
SEA, LAND, SHORE = "#EAF1F6", "#F7F5F0", "#8A949C"


@dataclass(frozen=True)
class PatchPlaces:
    """The corners of patches in degrees, and their groups."""

    corners: Floats
    """(patches, 4, 2): longitude and latitude of the corners, in turn."""
    groups: Groups

    @property
    def middles(self) -> Floats:
        """(patches, 2): longitude and latitude of each patch's middle."""
        middles: Floats = self.corners.mean(axis=1)
        return middles


def places_map(asked: PictureAsked) -> PicturePage:
    """Draw where the patches lie.

    Raises:
        OptionError: no patch has a place.
        SelectionEmpty: no patch is asked for.
    """
    column = asked.group_column()
    columns = [EPSG, *SIDES, *([column] if column else [])]
    rows = find_rows(asked.store, asked.rows, columns)
    codes = rows.table[EPSG].to_numpy().astype(np.float64)
    sides = np.stack([rows.table[side].to_numpy() for side in SIDES], axis=1).astype(np.float64)
    known = np.isfinite(codes) & np.isfinite(sides).all(axis=1)
    if not known.any():
        raise OptionError(
            f"no patch of {asked.place} has a place: its source has no coordinates, or another "
            "program wrote its records"
        )
    there = rows.take(np.flatnonzero(known))
    corners = corners_in_degrees(codes[known].astype(np.int64), sides[known])
    lost = len(rows) - len(there)
    subtitle = f"{len(there):,} patches{' of ' + rows.words if rows.words else ''}"
    subtitle += f"; {lost:,} have no place" if lost else ""
    places = PatchPlaces(corners, groups_of(asked, there))
    title = f"Places of the patches of {asked.title}"
    return draw_places(places, title, subtitle + rows.left_out_text(), asked.seed)


def corners_in_degrees(codes: npt.NDArray[np.int64], sides: Floats) -> Floats:
    """Corners (patches, 4, 2) in longitude and latitude, from EPSG codes and bounds (patches, 4).

    Raises:
        OptionError: a code that is unknown.
    """
    from rasterio.crs import CRS
    from rasterio.errors import CRSError
    from rasterio.warp import transform

    left, bottom, right, top = sides.T
    corners = np.stack([[left, left, right, right], [bottom, top, top, bottom]]).transpose(2, 1, 0)
    corners = np.ascontiguousarray(corners)
    for code in np.unique(codes).tolist():
        if code == LONGITUDE_LATITUDE:
            continue
        mask = codes == code
        flat = corners[mask].reshape(-1, 2)
        try:
            found = transform(
                CRS.from_epsg(code), CRS.from_epsg(LONGITUDE_LATITUDE), flat[:, 0], flat[:, 1]
            )
        except CRSError:
            raise OptionError(f"EPSG code {code} of the table is unknown here") from None
        corners[mask] = np.stack(found[:2], axis=1).reshape(-1, 4, 2)
    return corners


def draw_places(places: PatchPlaces, title: str, subtitle: str, seed: int = 0) -> PicturePage:
    """Draw the map of some places, and beside it, of many, a map of where most of them are."""
    middles = places.middles
    middles = middles[np.isfinite(middles).all(axis=1)]
    box = _box(middles)
    stretch = 1 / np.cos(np.radians(np.clip((box[1] + box[3]) / 2, -75, 75)))
    wide, high = box[2] - box[0], (box[3] - box[1]) * stretch
    height = float(np.clip(MAP * high / wide, LEAST_HIGH, MOST_HIGH))
    width = min(MAP, height * wide / high)
    is_small = float((middles.max(axis=0) - middles.min(axis=0)).max()) < ZOOM_BELOW
    zoom = _densest(middles) if is_small or len(middles) >= ZOOM_FROM else None
    inside = width + (ZOOM_GAP + ZOOM if zoom is not None else 0.0) + 0.45
    inside = max(inside, 6.0)
    lines = wrapped(title, inside, size=TITLE, weight="bold", most=2)
    more = wrapped(subtitle, inside, most=3)
    legend = Legend.of(places.groups.entries(), places.groups.title, inside)
    above = MARGIN + len(lines) * line_height(TITLE) + len(more) * line_height(SMALL) + 0.12
    above += legend.height + 0.1 + (line_height(NORMAL) if zoom is not None else 0)
    below = max(height, ZOOM if zoom is not None else 0) + 0.75
    page = PicturePage(inside + 2 * MARGIN, above + below)
    top = MARGIN + page.text(MARGIN, MARGIN, lines, size=TITLE, weight="bold")
    top += page.text(MARGIN, top, more, colour=FAINT) + 0.12
    legend.draw(page, MARGIN, top)
    left = MARGIN + 0.45
    _draw_map(page.axes(left, above, width, height), places, box, seed)
    page.text(MARGIN, page.height - MARGIN - 0.05, "Coastline: Natural Earth.", colour=FAINT)
    if zoom is not None:
        at = left + width + ZOOM_GAP
        heading = f"Where most are: {ZOOM_KM:.0f} km from side to side, patches in their size"
        page.text(at, above - line_height(NORMAL) - 0.03, wrapped(heading, ZOOM, most=1))
        axes = page.axes(at, above, ZOOM, ZOOM)
        _draw_zoom(axes, places, zoom)
        page.figure.axes[0].plot(*_outline(axes), color="#1F2328", linewidth=1.4, zorder=5)
    return page


def _box(middles: Floats) -> tuple[float, float, float, float]:
    """West, south, east and north of a map of places, with some room around them."""
    west, south = middles.min(axis=0).tolist()
    east, north = middles.max(axis=0).tolist()
    room = max(0.06 * (east - west), 0.06 * (north - south), 0.4)
    south, north = _at_least(south - room, north + room, LEAST_DEGREES, 90.0)
    # Not too narrow, either, in kilometres.
    wide = 0.7 * (north - south) / np.cos(np.radians(np.clip((south + north) / 2, -75, 75)))
    west, east = _at_least(west - room, east + room, float(wide), 180.0)
    return west, south, east, north


def _at_least(low: float, high: float, span: float, end: float) -> tuple[float, float]:
    """A range of at least some degrees, within -end to end."""
    more = max(0.0, (span - (high - low)) / 2)
    return max(low - more, -end), min(high + more, end)


def _densest(middles: Floats) -> Floats:
    """The middle of the patches in the cell, a third of a degree wide, where most are."""
    cells = np.floor(middles * 3).astype(np.int64)
    _, at, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    middle: Floats = middles[at.reshape(-1) == counts.argmax()].mean(axis=0)
    return middle


def _draw_map(
    axes: Any, places: PatchPlaces, box: tuple[float, float, float, float], seed: int
) -> None:
    west, south, east, north = box
    _draw_land(axes, box)
    middles = places.middles
    # In an order drawn by chance: no group hides another one.
    order = np.random.default_rng(seed).permutation(len(middles))
    colours = np.array([_rgb(colour) for colour in places.groups.colours])[
        places.groups.of_row[order]
    ]
    size = float(np.clip(9000 / len(middles), 0.6, 22))
    axes.scatter(*middles[order].T, s=size, c=colours, linewidths=0, rasterized=True, zorder=3)
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    _draw_degrees(axes)


def _draw_zoom(axes: Any, places: PatchPlaces, middle: Floats) -> None:
    from matplotlib.collections import PolyCollection

    half = ZOOM_KM / KM_PER_DEGREE / 2
    across = half / np.cos(np.radians(middle[1]))
    box = middle[0] - across, middle[1] - half, middle[0] + across, middle[1] + half
    _draw_land(axes, box)
    away = abs(places.middles - middle)
    near = (away[:, 0] < 1.1 * across) & (away[:, 1] < 1.1 * half)
    colours = [places.groups.colours[group] for group in places.groups.of_row[near].tolist()]
    axes.add_collection(
        PolyCollection(
            places.corners[near], facecolors=colours, edgecolors="white", linewidths=0.4, zorder=3
        )
    )
    axes.set_xlim(box[0], box[2])
    axes.set_ylim(box[1], box[3])
    _draw_degrees(axes)


def _draw_land(axes: Any, box: tuple[float, float, float, float]) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    axes.set_facecolor(SEA)
    west, south, east, north = box
    # The largest ring is land, and so are all that run as it does.
    is_positive = _turns_left(coastlines()[0])
    for ring in coastlines():
        low, high = ring.min(axis=0), ring.max(axis=0)
        if high[0] >= west and low[0] <= east and high[1] >= south and low[1] <= north:
            is_lake = _turns_left(ring) != is_positive
            axes.add_patch(
                PathPatch(
                    Path(ring, closed=True),
                    facecolor=SEA if is_lake else LAND,
                    edgecolor=SHORE,
                    linewidth=0.6,
                    zorder=2 if is_lake else 1,
                )
            )


def _turns_left(ring: Floats) -> bool:
    x, y = ring.T
    return bool(np.dot(x[:-1], y[1:]) > np.dot(x[1:], y[:-1]))


def _draw_degrees(axes: Any) -> None:
    axes.locator_params(axis="x", nbins=5)
    axes.locator_params(axis="y", nbins=6)
    axes.xaxis.set_major_formatter(lambda value, _: _degrees(value, "E", "W"))
    axes.yaxis.set_major_formatter(lambda value, _: _degrees(value, "N", "S"))
    axes.tick_params(labelsize=SMALL, colors=FAINT, length=3)
    axes.grid(color="#D5DCE1", linewidth=0.5, zorder=2.5)
    axes.set_axisbelow(False)
    axes.spines[:].set_color("#9AA3AA")


def _degrees(value: float, positive: str, negative: str) -> str:
    side = "" if abs(value) < 1e-9 else positive if value > 0 else negative
    return f"{abs(value):g}°{side}"


def _outline(axes: Any) -> tuple[list[float], list[float]]:
    """The frame of a zoom, to be drawn on the map."""
    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    return [west, east, east, west, west], [south, south, north, north, south]


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue
