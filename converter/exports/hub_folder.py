"""What a folder for the Hugging Face Hub holds, as its card and croissant.json tell it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from patchpress.converter.exports.hub_pixels import Array
from patchpress.converter.exports.hub_rows import HubRows
from patchpress.converter.exports.selection import ExportSelection

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class HubSplit:
    """One split, counted while it is written."""

    name: str
    rows: int = 0
    bytes: int = 0
    """Of its files."""
    memory: int = 0
    """Bytes of its rows in memory."""
    files: dict[str, int] = field(default_factory=dict)
    """Path in the folder -> rows."""
    digests: dict[str, str] = field(default_factory=dict)
    """Path in the folder -> SHA-256."""
    arrays: Counter[str] = field(default_factory=Counter)
    """`PixelColumn.source` -> rows that have it."""
    labels: dict[str, Counter[int]] = field(default_factory=dict)
    """Label column -> number of a class -> rows that have it."""

    def count(
        self, table: "pa.Table", arrays: Sequence[Mapping[str, Array]], rows: HubRows
    ) -> None:
        """Count the rows of a row group."""
        self.rows += len(table)
        self.memory += table.nbytes
        for row in arrays:
            self.arrays.update(row.keys())
        for column in rows.columns:
            if column.classes:
                counter = self.labels.setdefault(column.name, Counter())
                for value in table[column.name].to_pylist():
                    counter.update(value if isinstance(value, list) else [value])


@dataclass(frozen=True)
class HubFolder:
    """The whole folder."""

    selection: ExportSelection
    rows: HubRows
    splits: tuple[HubSplit, ...]
    picture: str
    """What the pictures show."""

    @property
    def count(self) -> int:
        """All rows."""
        return sum(split.rows for split in self.splits)
