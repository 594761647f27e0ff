"""`plot`: pictures of what is in a store, with matplotlib (the extra `plot`)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.options import Picture, member
from patchpress.converter.paths import StrPath, local_path, shown_place
from patchpress.converter.pictures.asked import PictureAsked, description_of
from patchpress.converter.pictures.bands import bands_of_patch
from patchpress.converter.pictures.brightness import brightness_sheet
from patchpress.converter.pictures.choice import RowsAsked
from patchpress.converter.pictures.class_counts import class_counts
from patchpress.converter.pictures.contact import contact_sheet
from patchpress.converter.pictures.distances import distances_to_train_page
from patchpress.converter.pictures.histograms import band_histograms
from patchpress.converter.pictures.page import PicturePage, own_style, require_matplotlib
from patchpress.converter.pictures.places import places_map
from patchpress.converter.pictures.statistics_table import statistics_table
from patchpress.converter.sources.apart import require_no_source
from patchpress.readers.choice import Where
from patchpress.readers.errors import OptionError
from patchpress.readers.format.table import Split
from patchpress.readers.store import open_store

PictureName = (
    Picture
    | Literal[
        "sheet", "bands", "brightness", "classes", "places", "distances", "histograms", "statistics"
    ]
)
Names = str | Sequence[str] | None

DRAW: dict[Picture, Callable[[PictureAsked], PicturePage]] = {
    Picture.sheet: contact_sheet,
    Picture.bands: bands_of_patch,
    Picture.brightness: brightness_sheet,
    Picture.classes: class_counts,
    Picture.places: places_map,
    Picture.distances: distances_to_train_page,
    Picture.histograms: band_histograms,
    Picture.statistics: statistics_table,
}


def plot(
    store: StrPath,
    keys: Names = None,
    *,
    out: StrPath,
    picture: PictureName | None = None,
    split: Split = None,
    where: Where = None,
    label: Names = None,
    flagged: Literal["exclude", "include", "only"] | None = None,
    target: str | None = None,
    modality: Names = None,
    by: str | None = None,
    count: int | None = None,
    seed: int = 0,
    dataset: StrPath | None = None,
) -> Path:
    """Draw what is in a store, and write the picture.

    Args:
        store: folder of the store, or its URL.
        keys: records whose patches are drawn; None for patches that are drawn by chance.
        out: picture to write; its ending says of which kind: .png, .svg, .pdf.
        picture: ``sheet``: patches, one row each, with their partners, labels and split;
            ``bands``: one patch with each of its bands; ``brightness``: the darkest, most typical
            and brightest of some patches; ``classes``: patches of each class; ``places``: where
            they lie; ``distances``: how near test is to train; ``histograms``: values of each
            band; ``statistics``: what `stats` computed. By default the bands of one key, else a
            sheet.
        split: only its rows, as `Store.table` has it: a name, several, or `Samples`.
        where: only rows with these values, or a pyarrow expression, as loaders have it.
        label: only patches of one of these classes.
        flagged: what is done with patches that their publisher does not recommend; by default they
            are left out, unless there are no others.
        target: the label column; None for the one that is learned by default.
        modality: one or several; all for None.
        by: the column whose values are told apart in `classes`, `places` and `histograms`, the
            split by default; for `distances` another column of splits to compare with,
            `source_split` by default, if there is one.
        count: patches that are shown (`sheet`), or read (`brightness`, `histograms`).
        seed: decides which patches are drawn: the same seed, the same patches.
        dataset: description of the data set, which knows wavelengths and colours; by default the
            built-in one, if the store is of such a data set.

    Returns:
        The picture's path.

    Raises:
        StoreError: there is no finished store.
        KeyMissing: a record that is not there.
        SelectionEmpty: no patch is asked for.
        StatisticsMissing, StatisticsStale: there are no statistics, or of other data.
        OptionError: a wish that cannot be fulfilled; matplotlib is not installed, or cannot write
            that kind of file.
        TargetError: the picture would lie in a source.
    """
    require_matplotlib()
    file = local_path(out)
    require_no_source(file)
    records = _names(keys)
    default = Picture.bands if len(records) == 1 else Picture.sheet
    kind = default if picture is None else member(Picture, "picture", picture)
    rows = RowsAsked(split=split, where=where, labels=_names(label), flagged=flagged, target=target)
    _check(kind, records, rows, by, seed)
    opened = open_store(store, stage=False)
    asked = PictureAsked(
        store=opened,
        place=shown_place(store),
        rows=rows,
        keys=records,
        modalities=_names(modality),
        by=by,
        count=count,
        seed=seed,
        description=find_description(dataset) if dataset else description_of(opened),
    )
    with own_style():
        return DRAW[kind](asked).save(file)


def _names(given: Names) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given or ())


def _check(
    kind: Picture, keys: tuple[str, ...], rows: RowsAsked, by: str | None, seed: object
) -> None:
    """Refuse wishes that have no meaning together.

    Raises:
        OptionError: there is one.
    """
    if not isinstance(seed, int) or seed < 0:
        raise OptionError(f"seed must be 0 or more, not {seed!r}")
    if keys and kind not in (Picture.sheet, Picture.bands):
        raise OptionError(f"picture {kind!s} takes no keys, and {keys[0]!r} is one: leave it out")
    if keys and not rows.is_all:
        raise OptionError(
            f"{keys[0]!r} names what is drawn: leave split, where, label and flagged out"
        )
    if kind is Picture.bands and len(keys) > 1:
        raise OptionError(
            f"picture bands is of one patch, and {len(keys)} keys are given: name one of them"
        )
    takes_by = (Picture.classes, Picture.places, Picture.distances, Picture.histograms)
    if by is not None and kind not in takes_by:
        raise OptionError(
            f"by {by!r} is for the pictures classes, places, distances and histograms, not for "
            f"{kind!s}"
        )
