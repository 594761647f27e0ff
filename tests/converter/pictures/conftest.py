"""A store to draw, and a way to look at a page before it is a file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from patchpress import open_store
from patchpress.converter.pictures.asked import PictureAsked, description_of
from patchpress.converter.pictures.page import PicturePage, own_style


@pytest.fixture
def asked(stores: dict[tuple[str, str], Path]) -> Callable[..., PictureAsked]:
    """What is asked for, of a store of 12 patches and 3 flagged ones."""

    def make(layout: str = "stacked", **wishes: Any) -> PictureAsked:
        store = open_store(stores[layout, "none"])
        words = {"description": description_of(store)} | wishes
        return PictureAsked(store=store, place=f"some/{layout}.store", **words)

    return make


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    with own_style():
        yield


def texts(page: PicturePage) -> list[str]:
    """All texts of a page, from its figure's artists."""
    from matplotlib.text import Text

    found = page.figure.findobj(Text)
    return [text.get_text() for text in found if text.get_visible() and text.get_text()]


def all_text(page: PicturePage) -> str:
    """These texts in one line, in the order in which they were written."""
    return " ".join(texts(page))


def check_texts(page: PicturePage) -> None:
    """No text is smaller than 8 points, leaves the page or overlaps another one."""
    renderer = page.figure.canvas.get_renderer()
    page.figure.draw(renderer)
    found = [text for text in seen_texts(page) if text.get_text()]
    assert found
    boxes = []
    for text in found:
        assert text.get_fontsize() >= 8, text.get_text()
        box = text.get_window_extent(renderer)
        width, height = page.figure.get_size_inches() * page.figure.dpi
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert inside, f"{text.get_text()!r} leaves the page"
        boxes.append((text.get_text(), box))
    for number, (one, first) in enumerate(boxes):
        for other, second in boxes[:number]:
            across = min(first.x1, second.x1) - max(first.x0, second.x0)
            down = min(first.y1, second.y1) - max(first.y0, second.y0)
            assert across < 1 or down < 2, f"{one!r} overlaps {other!r}"


def seen_texts(page: PicturePage) -> list[Any]:
    """The texts of a page as matplotlib draws them: of ticks, those inside the axes' limits."""
    found = list(page.figure.texts)
    for axes in page.figure.axes:
        found += axes.texts
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            found.append(axis.label)
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
            found += [label for place, label in ticks if low <= place <= high]
    return found
