"""One record as a small picture of coloured characters, for terminals with 24-bit colour."""

import numpy as np
import numpy.typing as npt

from patchpress.converter.pictures.class_colours import classes_of
from patchpress.converter.pictures.stretch import Stretch, stretched
from patchpress.converter.pictures.views import are_decibels, of_first_date, views_of
from patchpress.readers.store import Store

WIDTH = 40
"""Characters of a line of the picture."""
HALF = "\u2580"  # the upper half of a character in one colour, the lower half in another
_PLAIN = "\x1b[0m"


def terminal_picture(store: Store, key: str, width: int = WIDTH) -> str:
    """Draw a record: in true colour, radar as VV, VH and their ratio, maps by class, else grey.

    Args:
        store: the store.
        key: of the record.
        width: characters of a line; two pixels stand above one another in a character.

    Returns:
        Lines with escape sequences for colours.

    Raises:
        KeyMissing: there is no such record.
        StoreError: it cannot be read.
    """
    return "\n".join(map(_line, *_halves(_image(store, key), width)))


def _image(store: Store, key: str) -> npt.NDArray[np.uint8]:
    """The record as (height, width, 3)."""
    modality = store.modality_of(key)
    view = views_of(store.manifest, None, [modality.name])[0]
    bands = of_first_date(modality, store.read(key, bands=view.bands))
    if view.kind == "classes":
        return classes_of(modality, store.manifest).paint(bands[0])
    channels = view.channels(bands, in_decibels=are_decibels(bands))
    shown = stretched(channels, [Stretch.over([band]) for band in channels])
    stacked = np.concatenate([shown] * (3 // len(shown)))
    return (np.moveaxis(stacked, 0, -1) * 255).astype(np.uint8)


def _halves(
    image: npt.NDArray[np.uint8], width: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The pixels of the upper and of the lower halves: (lines, width, 3) each."""
    high, wide, _ = image.shape
    width = min(width, wide)
    lines = max(1, round(width * high / wide / 2))
    rows = np.arange(2 * lines) * high // (2 * lines)
    small = image[rows][:, np.arange(width) * wide // width]
    return small[::2], small[1::2]


def _line(upper: npt.NDArray[np.uint8], lower: npt.NDArray[np.uint8]) -> str:
    cells = (
        f"\x1b[38;2;{r};{g};{b};48;2;{red};{green};{blue}m{HALF}"
        for (r, g, b), (red, green, blue) in zip(upper.tolist(), lower.tolist(), strict=True)
    )
    return "".join(cells) + _PLAIN
