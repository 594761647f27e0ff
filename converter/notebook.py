"""A progress bar in a cell of a notebook, without widgets: HTML that is shown again and again."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from patchpress.converter.counted import Counted
from patchpress.readers.showing import html

OFTEN = 0.25
"""Seconds between two drawings: a notebook keeps up with that over a slow network, too."""


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, whose cells can show HTML."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class NotebookBar:
    """A bar in the output of the cell that runs."""

    def __init__(self) -> None:
        self._counted = Counted()
        self._handle: Any = None
        self._drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._draw(ended="stopped" if kind else "done")

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
        """Show a bar for this stage, in the place of the stage before."""
        self._counted = Counted(stage, total, unit)
        self._draw()

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        """Count, and draw if it is time."""
        self._counted.add(count, nbytes, share)
        if time.monotonic() - self._drawn >= OFTEN:
            self._draw()

    def _draw(self, ended: str = "") -> None:
        from IPython.display import display

        self._drawn = time.monotonic()
        shown = _Shown(self._counted, ended)
        if self._handle is None:
            self._handle = display(shown, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(shown)


class _Shown:
    """The bar as it is now: HTML, and a line of text for frontends that show none."""

    def __init__(self, counted: Counted, ended: str) -> None:
        times = f"{counted.elapsed()}, {ended}" if ended else counted.times()
        said = (counted.far(), counted.rate(), counted.bytes_rate(), times)
        self._text = f"{counted.stage}: " + ", ".join(part for part in said if part)
        self._share = counted.share

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        value = "" if self._share is None else f' value="{min(self._share, 1):.4f}"'
        return f"<progress{value} max='1' style='width:20em'></progress> {html(self._text)}"
