"""`Groups`: rows by the value of a column, such as the split, each with a colour of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchpress.converter.pictures.asked import PictureAsked
from patchpress.converter.pictures.choice import RowsFound
from patchpress.converter.pictures.page import GROUP_COLOURS
from patchpress.readers.errors import OptionError
from patchpress.readers.format.split_names import STANDARD

MOST_GROUPS = len(GROUP_COLOURS)
OTHERS = "others"


@dataclass(frozen=True)
class Groups:
    """Which group each row is of."""

    column: str
    """The column; empty if all rows are one group."""
    names: tuple[str, ...]
    of_row: npt.NDArray[np.intp]
    """Number of the group of each row."""
    colours: tuple[str, ...]
    """A split has the same colour in every picture."""

    @property
    def counts(self) -> npt.NDArray[np.intp]:
        """Rows of each group."""
        return np.bincount(self.of_row, minlength=len(self.names))

    def entries(self, *, counted: bool = True) -> list[tuple[str, str]]:
        """(name and number of patches, colour) of each group, for a legend."""
        return [
            (f"{name}  {count:,}" if counted else name, colour)
            for name, count, colour in zip(
                self.names, self.counts.tolist(), self.colours, strict=True
            )
        ]

    @property
    def title(self) -> str:
        """What a legend calls the groups."""
        return f"Patches by {self.column}" if self.column else "Patches"


def groups_of(asked: PictureAsked, rows: RowsFound) -> Groups:
    """The rows in groups: splits in their order, other values from many rows to few.

    Rows without a value are a group, and so are all values that are too many to be told apart.

    Raises:
        OptionError: the column has lists, or numbers that are no whole ones.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = asked.group_column()
    if column is None:
        return Groups("", ("all",), np.zeros(len(rows), np.intp), GROUP_COLOURS[:1])
    values = rows.table[column]
    kind = values.type
    if pa.types.is_nested(kind) or pa.types.is_floating(kind):
        raise OptionError(f"by {column!r}: its values are {kind}, which cannot be told apart")
    none = f"without {column}"
    text = pc.fill_null(pc.cast(values, pa.string()), none)
    counted = pc.value_counts(text)
    counts = dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))
    splits = list(asked.store.manifest.splits)
    names = sorted(counts, key=lambda name: (name == none, -counts[name], name))
    if column == asked.store.manifest.split_column:
        names = [name for name in splits if name in counts] + [
            name for name in names if name not in splits
        ]
    if len(names) > MOST_GROUPS:
        names = [*names[: MOST_GROUPS - 1], OTHERS]
    at = pc.fill_null(pc.index_in(text, value_set=pa.array(names, pa.string())), len(names) - 1)
    return Groups(column, tuple(names), np.asarray(at).astype(np.intp), _colours(names))


def _colours(names: Sequence[str]) -> tuple[str, ...]:
    """A colour for each name: the usual splits have theirs, the others what is left, in turn."""
    kept = {name: GROUP_COLOURS[at] for at, name in enumerate(STANDARD) if name in names}
    free = [colour for colour in GROUP_COLOURS if colour not in kept.values()]
    return tuple(kept.get(name) or free.pop(0) for name in names)
