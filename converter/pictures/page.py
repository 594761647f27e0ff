"""`PicturePage`: a figure laid out in inches from its upper left corner; text that fits a width.

matplotlib is imported when the first page is made. Texts come from other people's data, so no `$`
in them begins a formula, and control characters are shown by their numbers.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from patchpress.readers.errors import OptionError
from patchpress.readers.showing import plain

DPI = 120
INK, FAINT, WARNING, EMPTY = "#1F2328", "#5A626B", "#B3261E", "#ECEEF0"
SMALL, NORMAL, TITLE = 8.0, 9.0, 13.0
"""Sizes of text in points; none is smaller."""
MARGIN = 0.25  # inches
MOST_INCHES = 300.0  # 36,000 pixels: Agg draws less than 65,536
GROUP_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#7A5C3E", "#C9B900",
    "#7F7F7F", "#6A3D9A", "#1B1B1B", "#9ACD32",
)  # fmt: skip
"""Colours of splits or other groups: told apart also by most people who see fewer colours."""


def require_matplotlib() -> None:
    """Say that matplotlib is needed, before anything is read.

    Raises:
        OptionError: it is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise OptionError(
            "plotting needs matplotlib, which is not installed: pip install matplotlib"
        ) from None


@contextmanager
def own_style() -> Iterator[None]:
    """Draw as matplotlib does without a user's settings, such as a dark background."""
    import matplotlib.style

    with matplotlib.style.context("default"):
        yield


class PicturePage:
    """A figure of a size in inches; all positions are inches from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        if height > MOST_INCHES:
            raise OptionError(
                f"the picture would be {height:.0f} inches high, and {MOST_INCHES:.0f} are the "
                "most: ask for fewer patches with --count"
            )
        self.width, self.height = width, height
        self.figure: Any = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        """Axes whose frame lies there."""
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def image(self, left: float, top: float, side: float, pixels: Any, **options: Any) -> Any:
        """Axes with an image and nothing else, in a square of that side."""
        axes = self.axes(left, top, side, side)
        axes.imshow(pixels, **options)
        axes.set_axis_off()
        return axes

    def text(
        self,
        left: float,
        top: float,
        lines: str | Sequence[str],
        *,
        size: float = SMALL,
        colour: str = INK,
        weight: str = "normal",
        align: str = "left",
    ) -> float:
        """Write lines; gives the inches down to where the next text may begin."""
        shown = [lines] if isinstance(lines, str) else lines
        for number, line in enumerate(shown):
            self.figure.text(
                left / self.width,
                1 - (top + number * line_height(size)) / self.height,
                plain(line),
                fontsize=size,
                color=colour,
                fontweight=weight,
                ha=align,
                va="top",
                parse_math=False,
            )
        return len(shown) * line_height(size)

    def box(
        self, left: float, top: float, width: float, height: float, colour: str, edge: str = "none"
    ) -> Any:
        """Fill a rectangle; gives the artist."""
        from matplotlib.patches import Rectangle

        corner = left / self.width, 1 - (top + height) / self.height
        artist = Rectangle(
            corner,
            width / self.width,
            height / self.height,
            transform=self.figure.transFigure,
            facecolor=colour,
            edgecolor=edge,
            linewidth=0.6,
        )
        self.figure.add_artist(artist)
        return artist

    def save(self, file: Path) -> Path:
        """Write the picture; its ending says of which kind.

        Raises:
            OptionError: matplotlib cannot write that kind of file, or the file.
        """
        import matplotlib as mpl

        # The same picture has the same bytes: no date, and names in SVG that are not drawn.
        dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        metadata = dates.get(file.suffix.lower())
        try:
            with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": "patchpress"}):
                # A name in letters that the font does not have: boxes stand for them.
                warnings.filterwarnings("ignore", message="Glyph .* missing")
                self.figure.savefig(file, dpi=DPI, metadata=metadata)
        except (OSError, ValueError) as error:
            raise OptionError(f"the picture {file} cannot be written ({error})") from None
        return file


def line_height(size: float) -> float:
    """Inches from one line of text to the next."""
    return size * 1.32 / 72


@cache
def _renderer() -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas: Any = FigureCanvasAgg(Figure(dpi=DPI))
    return canvas.get_renderer()


@cache
def text_width(text: str, size: float = SMALL, weight: str = "normal") -> float:
    """Inches that a line of text takes."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(size=size, weight=weight)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        width, _, _ = _renderer().get_text_width_height_descent(plain(text), font, ismath=False)
    return float(width) / DPI


def wrapped(
    text: str, width: float, *, size: float = SMALL, weight: str = "normal", most: int = 100
) -> list[str]:
    """Break a text into lines of a width, after blanks and underscores, else within a word.

    Of more than `most` lines the last one ends in an ellipsis.
    """
    lines = [""]
    for piece in _pieces(plain(text)):
        if text_width((lines[-1] + piece).rstrip(), size, weight) <= width:
            lines[-1] += piece
            continue
        if lines[-1]:
            lines.append("")
        for letter in piece:
            if lines[-1] and text_width(lines[-1] + letter, size, weight) > width:
                lines.append("")
            lines[-1] += letter
        if len(lines) > most:
            break
    lines = [line.strip() for line in lines]
    if len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and text_width(f"{last} …", size, weight) > width:
        last = last[:-1]
    return [*lines[: most - 1], f"{last} …"]


def _pieces(text: str) -> list[str]:
    """A text cut after each blank, underscore, slash and semicolon."""
    pieces, piece = [], ""
    for letter in text[:2000]:
        piece += letter
        if letter in " _/;":
            pieces.append(piece)
            piece = ""
    return [*pieces, piece] if piece else pieces
