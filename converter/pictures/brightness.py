"""The darkest, most typical and brightest of some patches, with their flags."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from patchpress.converter.pictures.asked import PictureAsked, number_asked
from patchpress.converter.pictures.choice import complete_rows, find_rows, rows_of_keys
from patchpress.converter.pictures.contact import caption_columns, sheet_of
from patchpress.converter.pictures.page import PicturePage
from patchpress.converter.pictures.sheet import SheetTexts
from patchpress.converter.pictures.views import of_first_date
from patchpress.readers.errors import OptionError
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import key_column, keys_in
from patchpress.readers.store import Store

READ, MOST_READ = 500, 20_000
OF_EACH = 3


def brightness_sheet(asked: PictureAsked) -> PicturePage:
    """Draw the darkest, most typical and brightest patches as a contact sheet.

    Raises:
        SelectionEmpty, OptionError: a wish that the store cannot fulfil.
    """
    images = asked.images()
    modality = next((one for one in images if one.rgb), images[0])
    # Clouds are what is to be seen here: flagged patches are among them if nobody says otherwise.
    wanted = replace(asked.rows, flagged=asked.rows.flagged or "include")
    found = find_rows(asked.store, wanted, caption_columns(asked))
    count = number_asked(asked.count, READ, MOST_READ)
    rows = complete_rows(found, [modality.name], 1).drawn(count, asked.seed)
    keys = keys_in(modality, rows.table[key_column(modality)])
    bright = mean_values(asked.store, modality, keys)
    chosen = darkest_typical_brightest(bright, OF_EACH)
    if not chosen:
        raise OptionError(f"no patch of {asked.place} has a finite pixel in {modality.name}")
    shown = rows_of_keys(asked.store, [keys[at] for _, at in chosen], caption_columns(asked))
    bands = ", ".join(modality.rgb or modality.band_names[:1])
    without = int(np.isnan(bright).sum())
    left_out = f"; {without:,} of them without a finite pixel left out" if without else ""
    texts = SheetTexts(
        f"Darkest, most typical and brightest patches of {asked.title}",
        f"by their mean of {bands} ({modality.name}), of {len(rows):,} patches"
        f"{' drawn with seed ' + str(asked.seed) if len(rows) < len(found) else ''}"
        f"{' of ' + found.words if found.words else ''}; their median is "
        f"{_value(float(np.nanmedian(bright)))}{left_out}{found.left_out_text()}",
        tuple(f"{what}: mean {_value(float(bright[at]))}" for what, at in chosen),
    )
    return sheet_of(asked, shown, texts)


def mean_values(store: Store, modality: Modality, keys: list[str]) -> npt.NDArray[np.float64]:
    """The mean of the finite pixels of each record in red, green and blue; NaN without any."""
    bands = list(modality.rgb or modality.band_names[:1])
    found = np.full(len(keys), np.nan)
    for number, key in enumerate(keys):
        pixels = of_first_date(modality, store.read(key, bands=bands))
        finite = pixels[np.isfinite(pixels)]
        if finite.size:
            found[number] = finite.mean(dtype=np.float64)
    return found


def darkest_typical_brightest(values: npt.NDArray[np.float64], most: int) -> list[tuple[str, int]]:
    """(what it is, its position) of the least, the nearest to the median, and the greatest.

    No position is there twice; of few values there are fewer of each.
    """
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return []
    order = known[np.argsort(values[known], kind="stable")]
    each = min(most, max(1, len(order) // 3))
    dark, bright = order[:each], order[max(each, len(order) - each) :]
    rest = order[each : max(each, len(order) - each)]
    away = abs(values[rest] - np.median(values[known]))
    typical = np.sort(rest[np.argsort(away, kind="stable")][:each])
    return [
        *(("Darkest", int(at)) for at in dark),
        *(("Typical", int(at)) for at in typical),
        *(("Brightest", int(at)) for at in bright),
    ]


def _value(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
