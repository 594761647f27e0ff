"""The contact sheet: one row a patch, its modalities side by side, with a legend of the map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from patchpress.converter.pictures.legend import Legend
from patchpress.converter.pictures.page import (
    EMPTY,
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
from patchpress.converter.pictures.patch_texts import ShownPatch
from patchpress.converter.pictures.pixels import ViewPixels, codes_shown

PANEL, GAP = 1.85, 0.08  # inches
CAPTION = 2.9
WIDE = 11.0
"""Patches stand side by side while they fit into so many inches."""
LABELS_SHOWN = 6


@dataclass(frozen=True)
class SheetTexts:
    """What is written above a sheet."""

    title: str
    subtitle: str
    headings: tuple[str, ...] = ()
    """Of each patch, what stands above its caption; none, or as many as patches."""


def draw_sheet(
    patches: Sequence[ShownPatch], drawn: Sequence[ViewPixels], texts: SheetTexts
) -> PicturePage:
    """Draw patches as a contact sheet.

    Args:
        patches: what is shown, from top to bottom.
        drawn: the views of these patches, from left to right.
        texts: what is written above.
    """
    block = len(drawn) * (PANEL + GAP) + CAPTION
    across = max(1, min(int((WIDE + GAP) // block), len(patches)))
    down = -(-len(patches) // across)
    width = across * block + 2 * MARGIN
    inside = width - 2 * MARGIN
    heads = [_head(one) for one in drawn]
    head = max(len(lines) for lines in heads) * line_height(SMALL) + line_height(NORMAL) + 0.06
    title = wrapped(texts.title, inside, size=TITLE, weight="bold", most=2)
    subtitle = wrapped(texts.subtitle, inside, most=3)
    above = MARGIN + len(title) * line_height(TITLE) + len(subtitle) * line_height(SMALL) + 0.15
    legend = Legend.of(codes_shown(drawn).values(), _legend_title(drawn), inside)
    notes = _notes(drawn, inside)
    below = legend.height + len(notes) * line_height(SMALL) + MARGIN + 0.1
    page = PicturePage(width, above + head + down * (PANEL + GAP) + below)
    top = MARGIN + page.text(MARGIN, MARGIN, title, size=TITLE, weight="bold")
    page.text(MARGIN, top, subtitle, colour=FAINT)
    for column in range(across):
        for number, lines in enumerate(heads):
            left = MARGIN + column * block + number * (PANEL + GAP)
            size = page.text(left, above, drawn[number].view.title.capitalize(),
                             size=NORMAL, weight="bold")  # fmt: skip
            page.text(left, above + size, lines, colour=FAINT)
    for number, patch in enumerate(patches):
        left = MARGIN + (number % across) * block
        top = above + head + (number // across) * (PANEL + GAP)
        for position, one in enumerate(drawn):
            _panel(page, left + position * (PANEL + GAP), top, one, number)
        heading = texts.headings[number] if texts.headings else ""
        _caption(page, left + len(drawn) * (PANEL + GAP) + 0.08, top, patch, heading)
    top = above + head + down * (PANEL + GAP) + 0.06
    top += legend.draw(page, MARGIN, top)
    page.text(MARGIN, top, notes, colour=FAINT)
    return page


def _head(one: ViewPixels) -> list[str]:
    """What stands below the title of a column: which bands are shown."""
    if one.classes:
        return wrapped(f"{one.view.modality}: {one.classes.title}", PANEL)
    meaning = "dB, and their ratio" if one.in_decibels and one.view.kind == "radar" else ""
    texts = filter(None, (one.note, meaning or one.view.meaning))
    return [line for text in texts for line in wrapped(text, PANEL)]


def _legend_title(drawn: Sequence[ViewPixels]) -> str:
    titles = dict.fromkeys(one.classes.title for one in drawn if one.classes)
    return f"Classes of the maps above: {', '.join(titles)}" if titles else ""


def _notes(drawn: Sequence[ViewPixels], width: float) -> list[str]:
    """How the images were stretched."""
    ranges = [one.range_text() for one in drawn if one.stretches]
    if not ranges:
        return []
    text = (
        "Black to white: percentiles 2 to 98 of the finite pixels of all patches shown, dark ones "
        "of colour views brightened. Values as stored: "
    )
    nan = [told for one in drawn if (told := one.nan_text())]
    shown_black = f" NaN, which is black: {', '.join(nan)}." if nan else ""
    return wrapped(f"{text}{'; '.join(ranges)}.{shown_black}", width)


def _panel(page: PicturePage, left: float, top: float, one: ViewPixels, number: int) -> Any:
    pixels = one.image(number)
    if pixels is None:
        page.box(left, top, PANEL, PANEL, EMPTY)
        page.text(left + 0.1, top + PANEL / 2 - 0.07, f"no {one.view.modality} record",
                  colour=FAINT)  # fmt: skip
        return None
    how = "nearest" if one.classes else "auto"
    return page.image(left, top, PANEL, pixels, interpolation=how)


def _caption(page: PicturePage, left: float, top: float, patch: ShownPatch, heading: str) -> None:
    width, end = CAPTION - 0.2, top + PANEL
    if heading:
        top += page.text(left, top, heading, size=NORMAL, weight="bold")
    top += page.text(left, top, wrapped(patch.name, width, weight="bold", most=3), weight="bold")
    if patch.where:
        top += page.text(left, top, wrapped(patch.where, width, most=2), colour=FAINT)
    if patch.flags:
        flagged = wrapped(f"flagged: {', '.join(patch.flags)}", width, most=2)
        top += page.text(left, top, flagged, colour=WARNING)
    top += 0.04
    lines: list[list[str]] = [wrapped(f"• {label}", width, most=2) for label in patch.labels]
    for position, some in enumerate(lines):
        rest = len(lines) - position
        # The last line that fits says how many more there are.
        is_last = rest == 1
        if top + (len(some) + (not is_last)) * line_height(SMALL) > end and not (
            is_last and top + len(some) * line_height(SMALL) <= end
        ):
            page.text(left, top, f"… and {rest} more")
            return
        top += page.text(left, top, some)
