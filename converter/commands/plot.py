"""`plot`: pictures of records, with matplotlib (the extra `plot`)."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.paths import StrPath, local_path, shown_place
from patchpress.converter.sources.apart import require_no_source
from patchpress.readers.errors import OptionError
from patchpress.readers.format.modality import Modality
from patchpress.readers.store import Store, open_store

COLUMNS = 4  # pictures in a row
DEFAULT = 8  # records that are drawn if none is named
STRETCH = (2, 98)  # percentiles that become black and white


def plot(store: StrPath, keys: str | Sequence[str] | None = None, *, out: StrPath) -> Path:
    """Draw records of a store side by side.

    A modality with red, green and blue bands is drawn in colour, a map by its classes, and of any
    other the first band in grey.

    Args:
        store: folder of the store.
        keys: records to draw; the first few of each modality for None.
        out: picture to write; its ending says of which kind: .png, .jpg, .pdf.

    Returns:
        The picture's path.

    Raises:
        StoreError: there is no finished store.
        KeyMissing: a record that is not there.
        OptionError: matplotlib is not installed, or cannot write that kind of file.
        TargetError: the picture would lie in a source.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise OptionError(
            "plotting needs matplotlib, which is not installed: pip install 'patchpress[plot]'"
        ) from None
    opened, file = open_store(store, stage=False), local_path(out)
    require_no_source(file)
    names = [keys] if isinstance(keys, str) else list(keys or _first_keys(opened))
    if not names:
        raise OptionError(f"{shown_place(store)} has no record to draw")
    columns = min(COLUMNS, len(names))
    rows = ceil(len(names) / columns)
    figure = Figure(figsize=(3 * columns, 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for position, key in enumerate(names, start=1):
        axes = figure.add_subplot(rows, columns, position)
        axes.imshow(**_image(opened.read(key), opened.modality_of(key)))
        axes.set_title(_in_two_lines(key), fontsize=6)
        axes.set_axis_off()
    try:
        figure.savefig(file, dpi=100)
    except (OSError, ValueError) as error:
        raise OptionError(f"the picture {file} cannot be written ({error})") from None
    return file


def _first_keys(store: Store) -> list[str]:
    """The first records of each modality, equally many of each."""
    names = list(store.manifest.modalities)
    share = ceil(DEFAULT / len(names))
    return [key for name in names for key in store.keys(name)[:share]][:DEFAULT]


def _image(array: npt.NDArray[Any], modality: Modality) -> dict[str, Any]:
    """Arguments of `imshow`: stretched colours, one stretched band, or the codes of a map."""
    if modality.kind == "classes":
        _, ranks = np.unique(array[0], return_inverse=True)
        return {"X": ranks.reshape(array[0].shape), "cmap": "tab20", "interpolation": "nearest"}
    shown = array[modality.indices(modality.rgb)] if modality.rgb else array[:1]
    stretched = np.stack([_stretch(band) for band in shown], axis=-1)
    if modality.rgb:
        return {"X": stretched}
    return {"X": stretched[..., 0], "cmap": "gray", "vmin": 0, "vmax": 1}


def _stretch(band: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """A band with its percentiles `STRETCH` as 0 and 1; pixels that are no finite numbers are 0.

    If nearly all pixels are alike, the lowest and highest take the place of the percentiles; if all
    are, they are grey.
    """
    # Halves, because the difference of two large numbers may be larger than any number.
    values = band.astype(np.float64) / 2
    finite = np.isfinite(values)
    known = values[finite]
    if not known.size:
        return np.zeros_like(values)
    low, high = np.percentile(known, STRETCH)
    if low == high:
        low, high = known.min(), known.max()
    if low == high:
        return np.where(finite, 0.5, 0.0)
    shown = np.clip(np.where(finite, values, low), low, high)
    return np.where(finite, (shown - low) / (high - low), 0.0)


def _in_two_lines(key: str) -> str:
    """A long key, broken at an underscore near its middle."""
    half = key.find("_", len(key) // 2)
    return f"{key[:half]}\n{key[half + 1 :]}" if len(key) > 30 and half > 0 else key
