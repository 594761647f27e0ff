"""How many patches each class has, by split or by another column, as bars."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.pictures.asked import PictureAsked
from patchpress.converter.pictures.choice import RowsFound, find_rows, target_of
from patchpress.converter.pictures.groups import Groups, groups_of
from patchpress.converter.pictures.legend import Legend
from patchpress.converter.pictures.page import (
    FAINT,
    INK,
    MARGIN,
    SMALL,
    TITLE,
    PicturePage,
    line_height,
    wrapped,
)
from patchpress.readers.errors import OptionError

NAME, BARS, NUMBER = 3.1, 5.6, 0.75  # inches: names of classes, bars, numbers at their ends
BAR, GAP = 0.14, 0.1
BESIDE = 4
"""So many groups have bars below each other; more are parts of one bar."""
LOG_FROM = 50
"""If the longest bar is so many times the shortest, bars have a logarithmic scale."""

Counts = npt.NDArray[np.intp]


def class_counts(asked: PictureAsked) -> PicturePage:
    """Draw how many patches of each group have each class.

    Raises:
        OptionError: the store has no labels, or shares of classes.
        SelectionEmpty: no patch is asked for.
    """
    target = target_of(asked.store, asked.rows.target)
    if target is None:
        raise OptionError(f"{asked.place} has no labels to count")
    if target in asked.store.manifest.numbers:
        there = ", ".join(asked.store.manifest.classes)
        way_out = (
            f"name a column of classes with --target (there: {there})"
            if there
            else (f"{asked.place} has no column of classes")
        )
        raise OptionError(f"{target!r} is a number and has no classes to count: {way_out}")
    column = asked.group_column()
    rows = find_rows(asked.store, asked.rows, [target, *([column] if column else [])])
    groups = groups_of(asked, rows)
    classes = asked.store.manifest.classes[target]
    counts = count_classes(rows, target, classes, groups)
    unlabelled = _unlabelled(rows, target)
    subtitle = f"{len(rows):,} patches{' of ' + rows.words if rows.words else ''}"
    if unlabelled:
        subtitle += f", {unlabelled:,} of them without a label"
    if asked.store.manifest.target != target or len(asked.store.manifest.classes) > 1:
        subtitle += f"; column {target}"
    title = f"Classes of {asked.title}"
    return _page(title, subtitle + rows.left_out_text(), classes, groups, counts)


def count_classes(rows: RowsFound, target: str, classes: tuple[str, ...], groups: Groups) -> Counts:
    """Patches (classes, groups) that have each class.

    Raises:
        OptionError: the column has shares of classes, which are no labels.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = rows.table[target].combine_chunks()
    of_value = groups.of_row
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        of_value = of_value[np.asarray(pc.list_parent_indices(values)).astype(np.intp)]
        values = pc.list_flatten(values)
    if not pa.types.is_string(values.type) and not pa.types.is_large_string(values.type):
        raise OptionError(
            f"column {target!r} has shares of classes and no labels: choose another target"
        )
    at = pc.index_in(values, value_set=pa.array(classes, values.type))
    number = np.asarray(pc.fill_null(at, -1)).astype(np.intp)
    known = number >= 0
    places = number[known] * len(groups.names) + of_value[known]
    counted = np.bincount(places, minlength=len(classes) * len(groups.names))
    return counted.reshape(len(classes), len(groups.names))


def _unlabelled(rows: RowsFound, target: str) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = rows.table[target]
    if pa.types.is_nested(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), 0)
        return int(pc.sum(pc.equal(lengths, 0)).as_py() or 0)
    return int(values.null_count)


def _page(
    title: str, subtitle: str, classes: tuple[str, ...], groups: Groups, counts: Counts
) -> PicturePage:
    is_beside = len(groups.names) <= BESIDE
    inside = NAME + BARS + NUMBER
    step = (BAR * len(groups.names) if is_beside else BAR * 1.4) + GAP
    step = max(step, 2 * line_height(SMALL) if _has_long(classes) else 0.2)
    lines = wrapped(title, inside, size=TITLE, weight="bold", most=2)
    more = wrapped(subtitle, inside, most=3)
    legend = Legend.of(groups.entries(), groups.title, inside)
    above = MARGIN + len(lines) * line_height(TITLE) + len(more) * line_height(SMALL) + 0.12
    height = above + legend.height + step * len(classes) + 0.65
    page = PicturePage(inside + 2 * MARGIN, height)
    top = MARGIN + page.text(MARGIN, MARGIN, lines, size=TITLE, weight="bold")
    page.text(MARGIN, top, more, colour=FAINT)
    top = above + legend.draw(page, MARGIN, above)
    axes = page.axes(MARGIN + NAME, top, BARS, step * len(classes))
    for number, name in enumerate(classes):
        shown = wrapped(name, NAME - 0.15, most=2)
        middle = top + (number + 0.5) * step - len(shown) * line_height(SMALL) / 2
        page.text(MARGIN + NAME - 0.08, middle, shown, align="right")
    _bars(axes, counts, groups.colours, step, is_beside=is_beside)
    return page


def _has_long(classes: tuple[str, ...]) -> bool:
    return any(len(wrapped(name, NAME - 0.15)) > 1 for name in classes)


def _bars(
    axes: Any, counts: Counts, colours: Sequence[str], step: float, *, is_beside: bool
) -> None:
    """Draw bars in axes whose vertical unit is an inch."""
    classes, groups = counts.shape
    totals = counts if is_beside else counts.sum(axis=1, keepdims=True)
    longest = int(totals.max(initial=1)) or 1
    there = totals[totals > 0]
    is_log = is_beside and bool(there.size) and longest > LOG_FROM * int(there.min())
    least = 10.0 ** np.floor(np.log10(there.min())) / 2 if is_log else 0.0
    bar = BAR if is_beside else BAR * 1.4
    first = (step - bar * totals.shape[1]) / 2 + bar / 2
    rows = np.arange(classes) * step + first
    for group in range(groups):
        colour = colours[group]
        if is_beside:
            long = np.maximum(counts[:, group] - least, 0)
            axes.barh(rows + group * bar, long, left=least, height=bar * 0.86, color=colour)
        else:
            left = counts[:, :group].sum(axis=1)
            axes.barh(rows, counts[:, group], left=left, height=bar * 0.86, color=colour)
    for (number, group), total in np.ndenumerate(totals):
        at = max(float(total), least), rows[number] + group * bar
        axes.annotate(f"{total:,}", at, (3, 0), textcoords="offset points", va="center",
                      fontsize=SMALL, color=INK, annotation_clip=False)  # fmt: skip
    if is_log:
        axes.set_xscale("log")
    axes.set_xlim(least if is_log else 0, longest * (1.05 if not is_log else 1.3))
    axes.set_ylim(classes * step, 0)
    axes.set_yticks([])
    axes.tick_params(labelsize=SMALL, colors=FAINT)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if not is_log:
        axes.locator_params(axis="x", nbins=6, integer=True)
    scale = "patches, logarithmic scale" if is_log else "patches"
    axes.set_xlabel(scale, fontsize=SMALL, color=FAINT)
    axes.grid(axis="x", color="#E3E6E9", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#C4C9CE")
