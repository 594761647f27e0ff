"""The columns of formats whose samples all have the same: names, a row as JSON, arrays, labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from patchpress.converter.exports.exported import Written
from patchpress.converter.exports.names import ColumnNames
from patchpress.converter.exports.row_arrays import RowArray, label_arrays
from patchpress.converter.exports.samples import (
    FILLED,
    PixelPart,
    absent_notes,
    grid_notes,
    pixel_parts,
    split_notes,
)
from patchpress.converter.exports.selection import ExportSelection


@dataclass(frozen=True)
class SampleColumns:
    """What the columns of each sample are called, and what they hold."""

    selection: ExportSelection
    key: str
    """That of the names of patches."""
    row: str
    """That of the rows as JSON."""
    parts: Sequence[PixelPart]
    arrays: Mapping[str, str]
    """Name of one of `parts` -> its column."""
    labels: Sequence[RowArray]
    targets: Mapping[str, str]
    """Name of one of `labels` -> its column."""
    renamed: Sequence[str]

    def notes(self, written: Written) -> list[str]:
        """A sentence for each thing that is not as in the store."""
        labels = [column.note for column in self.labels if column.note]
        absent = absent_notes(self.selection, written, FILLED)
        return [
            *split_notes(self.selection),
            *absent,
            *grid_notes(self.selection),
            *self.renamed,
            *labels,
        ]


def sample_columns(selection: ExportSelection) -> SampleColumns:
    """The columns of a selection.

    Raises:
        StoreDamaged: as `label_arrays`.
    """
    names, labels = ColumnNames(), label_arrays(selection)
    parts = [part for one in selection.modalities.values() for part in pixel_parts(one)]
    arrays = {part.name: names.of(part.name) for part in parts}
    key, row = names.of("key"), names.of("row")
    targets = {column.name: names.of(column.name) for column in labels}
    return SampleColumns(selection, key, row, parts, arrays, labels, targets, names.notes)
