"""Pictures of records, with matplotlib (the extra `plot`)."""

from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.paths import StrPath, local_path
from patchpress.readers.errors import OptionError
from patchpress.readers.format.modality import Modality
from patchpress.readers.store import Store, open_store

COLUMNS = 4
DEFAULT = 8  # records shown when none is named
STRETCH = (2, 98)  # percentiles that become black and white


def plot(path: StrPath, keys: list[str], out: StrPath) -> None:
    """Draw records of a store side by side.

    Raises:
        KeyMissing: a record that is not there.
        OptionError: matplotlib is not installed, or cannot write that kind of file.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise OptionError(
            "plotting needs matplotlib, which is not installed: pip install 'patchpress[plot]'"
        ) from None
    store = open_store(path)
    keys = keys or _some(store)
    columns = min(COLUMNS, len(keys))
    rows = ceil(len(keys) / columns)
    figure = Figure(figsize=(3 * columns, 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for position, key in enumerate(keys, start=1):
        axes = figure.add_subplot(rows, columns, position)
        axes.imshow(**_image(store.read(key), store.modality_of(key)))
        axes.set_title(_broken(key), fontsize=6)
        axes.set_axis_off()
    try:
        figure.savefig(local_path(out), dpi=100)
    except (OSError, ValueError) as error:
        raise OptionError(f"the picture {out} cannot be written ({error})") from None


def _some(store: Store) -> list[str]:
    """The first records of each modality, as many of each as there is room for."""
    names = list(store.manifest.modalities)
    share = ceil(DEFAULT / len(names))
    return [key for name in names for key in store.keys(name)[:share]][:DEFAULT]


def _image(array: npt.NDArray[Any], modality: Modality) -> dict[str, Any]:
    """What imshow takes: stretched colours, a stretched band, or the codes of a map."""
    if modality.kind == "classes":
        _, ranks = np.unique(array[0], return_inverse=True)
        return {"X": ranks.reshape(array[0].shape), "cmap": "tab20", "interpolation": "nearest"}
    shown = array[modality.indices(modality.rgb)] if modality.rgb else array[:1]
    stretched = np.stack([_stretch(band) for band in shown], axis=-1)
    return {"X": stretched} if modality.rgb else {"X": stretched[..., 0], "cmap": "gray"}


def _stretch(band: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """A band between its percentiles, as 0 to 1."""
    values = band.astype(np.float64)
    low, high = np.nanpercentile(values, STRETCH)
    stretched: npt.NDArray[np.float64] = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    return stretched


def _broken(key: str) -> str:
    half = key.find("_", len(key) // 2)
    return f"{key[:half]}\n{key[half + 1 :]}" if len(key) > 30 and half > 0 else key
