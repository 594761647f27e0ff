"""The patches of a source's folders, listed once for all shards, and kept on the disk meanwhile.

A walk over folders of millions of patches takes minutes on a network disk, and their list takes
gigabytes of memory. So one walk notes each patch in a file without a name; of each the memory has
only its place there and its shard.
"""

import marshal
import os
from array import array
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.patch_notes import from_note, noted
from patchpress.converter.sources.walks import PatchWalk
from patchpress.converter.storage.folder import writing
from patchpress.readers.format.shard_rule import shard_of


class _Listed:
    """Of each patch of one modality where it is noted in the file, and its shard."""

    def __init__(self) -> None:
        self.begins, self.lengths, self.shards = array("Q"), array("I"), array("I")


class ShardListing:
    """The patches of some shards in the order of their walks; closing it removes its file."""

    def __init__(self, beside: Path, shards: int, kept: Collection[int] | None = None) -> None:
        """Begin with no patch.

        Args:
            beside: the file without a name is made beside this path, or if that is not possible
                where the system keeps such files.
            shards: how many shards the store has.
            kept: only patches of these are noted; None notes all.

        Raises:
            TargetError: the file cannot be made.
        """
        self.shards, self._kept = shards, kept
        folder = beside.absolute().parent
        with writing(beside):
            self._file = TemporaryFile(  # noqa: SIM115 -- closed by `__exit__`
                dir=folder if os.access(folder, os.W_OK) else None
            )
        self._beside, self._end = beside, 0
        self._listed: dict[str, _Listed] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, patch: Patch) -> None:
        """Note a patch of a folder, if it is of a shard that is kept.

        Raises:
            TargetError: the disk is full.
        """
        number = shard_of(patch.key, self.shards)
        if self._kept is not None and number not in self._kept:
            return
        listed = self._listed.setdefault(patch.modality, _Listed())
        note = marshal.dumps(noted(patch))
        listed.begins.append(self._end)
        listed.lengths.append(len(note))
        listed.shards.append(number)
        self._end += len(note)
        with writing(self._beside):
            self._file.write(note)

    def count(self, numbers: Collection[int]) -> dict[str, int]:
        """Modality -> how many of the noted patches are of these shards."""
        return {name: len(self._positions(name, numbers)) for name in self._listed}

    def patches(
        self, walks: Mapping[str, PatchWalk], numbers: Collection[int] | None = None
    ) -> list[Iterator[Patch]]:
        """The noted patches of some shards, or all, in the order of their keys, by modality.

        `walks` have come to their end: they tell whether their keys ascended.
        """
        with writing(self._beside):
            self._file.flush()
        found = []
        for name, walk in walks.items():
            if name not in self._listed:
                continue
            patches = self._read(name, self._positions(name, numbers))
            found.append(patches if walk.ascending else iter(sorted(patches, key=_key)))
        return found

    def _positions(self, name: str, numbers: Collection[int] | None) -> npt.NDArray[np.int64]:
        shards = np.frombuffer(self._listed[name].shards, np.uint32)
        if numbers is None:
            return np.arange(len(shards))
        return np.flatnonzero(np.isin(shards, np.fromiter(numbers, np.uint32)))

    def _read(self, name: str, positions: npt.NDArray[np.int64]) -> Iterator[Patch]:
        listed, file = self._listed[name], self._file.fileno()
        for position in positions.tolist():
            note = os.pread(file, listed.lengths[position], listed.begins[position])
            yield from_note(name, marshal.loads(note))  # noqa: S302 -- written above


def _key(patch: Patch) -> str:
    return patch.key
