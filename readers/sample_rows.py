"""Which rows of a store are samples: those that have all that was asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from patchpress.readers.choice import Choice, images_asked, targets_asked
from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import Split
from patchpress.readers.pairing import Pairing, by_row, of_samples, pair_by, with_way_out
from patchpress.readers.presence import Presence, fill_values, fills_in, presence_in
from patchpress.readers.rows import Rows, rows_labelled, rows_of, rows_with, rows_with_any
from patchpress.readers.store import Store


@dataclass(frozen=True)
class SampleRows:
    """The rows of samples, and what of them was asked for."""

    images: Sequence[Modality]
    """The modalities that are read as images."""
    columns: Sequence[str]
    """The label column, if one is the target."""
    maps: Sequence[Modality]
    """The map, if one is the target."""
    pairing: Pairing
    """The row of each sample, and of its record of each modality."""
    presence: Presence | None
    """Which modalities each sample has, if what it lacks is filled in."""
    fills: Mapping[str, int]
    """Modality -> what each pixel of a missing one becomes."""


def sample_rows(store: Store, split: Split, choice: Choice) -> SampleRows:
    """Choose the rows.

    Args:
        store: an opened one.
        split: as `Samples` takes it.
        choice: with everything in it, as `completed` gives it.

    Raises:
        SelectionEmpty: no row is left; the message lists what there is.
        OptionError: a modality, column or option that is not there.
    """
    manifest = store.manifest
    images = images_asked(manifest, choice["modalities"])
    columns, maps = targets_asked(manifest, choice["target"])
    if choice["mask_labels"] is not None and not maps:
        raise OptionError(
            f"mask_labels {choice['mask_labels']!r} says what a map's codes become: name a map "
            "in target, or leave it out"
        )
    rows = rows_of(store.path, manifest, split, choice["where"], choice["flagged"])
    filled = fills_in(choice["missing"])
    fills = fill_values(images, choice["missing_code"], filled=filled)
    pairing = _paired(rows, choice["pair_by"], [*images, *maps])
    paired = pairing.rows
    try:
        rows = rows_with_any(paired, images) if filled else rows_with(paired, [*images, *maps])
    except SelectionEmpty as error:
        raise with_way_out(error, rows, [*images, *maps]) from None
    for column in columns:
        rows = rows_labelled(rows, column)
    pairing = of_samples(pairing, rows, paired)
    presence = presence_in(rows.table, (*images, *maps)) if filled else None
    return SampleRows(images, columns, maps, pairing, presence, fills)


def _paired(rows: Rows, column: str | None, modalities: Sequence[Modality]) -> Pairing:
    return by_row(rows) if column is None else pair_by(rows, column, modalities)
