"""What every table of a source can do, whatever its file is."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class OneTable(Protocol):
    """A table that is read group by group, so that a large one is never in memory as a whole."""

    @property
    def path(self) -> Path:
        """The file, or the first of several."""
        ...

    @property
    def notes(self) -> list[str]:
        """A sentence for each thing that is not read as it stands."""
        ...

    @property
    def schema(self) -> "pa.Schema":
        """Its columns."""
        ...

    def groups(self, columns: Sequence[str] | None = None) -> "Iterator[pa.Table]":
        """Its rows in groups; all columns or some, in the order asked for."""
        ...
