"""`Nearby`: copies of a store's data files that are read instead of them; who makes them is hidden.

`readers.staging` has the one way there is to make such copies.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from patchpress.readers.access.files import DataFile
from patchpress.readers.format.manifest import Shard


class Nearby(Protocol):
    """The copies of one store's data files, by the numbers of its shards."""

    @property
    def stirred(self) -> bool:
        """Whether `refresh` has something to do."""
        ...

    def refresh(self) -> Sequence[int]:
        """Numbers of the shards whose copies came since this was asked last."""
        ...

    def open(self, number: int) -> DataFile | None:
        """The copy of a shard, with the same bytes; None while there is none."""
        ...

    def close(self) -> None:
        """Let go of what makes copies."""
        ...


class OpensNearby(Protocol):
    """What finds the copies of any store; it can be pickled."""

    def of(self, store: Path, shards: Sequence[Shard]) -> Nearby:
        """The copies of a store."""
        ...
