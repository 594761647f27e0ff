"""The pieces of a source for the workers of a cluster: tasks that read them, and that join.

What a task has of a piece are parts of shards. They lie in the store beside the places of the
shards until those are joined, so that any worker can join one, and an interrupted command goes on.
"""

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from patchpress.converter.commands.cluster_task import ShardTask
from patchpress.converter.commands.join_task import JoinTask
from patchpress.converter.commands.shard_maker import ShardMaker
from patchpress.converter.options import OnError
from patchpress.converter.planning.pieces import Piece, incomplete_patches
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.sources.patch import stopping
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.shard_delivery import part_folder
from patchpress.converter.text import several
from patchpress.readers.errors import PatchError


@dataclass
class Pieces:
    """The pieces of a source, and the shards that are to be made of them."""

    request: ConversionRequest
    pieces: tuple[Piece, ...]
    store: Path
    scratch: Path | None
    numbers: Collection[int]

    @property
    def needed(self) -> Collection[int]:
        """The shards of which there must be parts.

        All, if patches must have all modalities: what lies in one shard tells it of another.
        """
        if self.request.description.complete:
            return range(self.request.options.shards or 0)
        return self.numbers

    @cached_property
    def _lacking(self) -> list[tuple[Piece, list[int]]]:
        """The pieces of which parts are not there, and of which shards they are.

        The largest archive comes first, so that the last one does not begin when others end.
        """
        found = []
        for piece in sorted(self.pieces, key=_size, reverse=True):
            maker, settings = ShardMaker(piece.request), piece.request.decisive_settings()
            lacking = [
                number
                for number in self.needed
                if maker.finished(number, part_folder(self.store, number, settings)) is None
            ]
            found += [(piece, lacking)] if lacking else []
        return found

    def weights(self) -> dict[int, float]:
        """Number of a task that reads an archive -> its share of the bytes of all that are read."""
        sizes = [piece.archive.size for piece, _ in self._lacking if piece.archive is not None]
        return {number: nbytes / (sum(sizes) or 1) for number, nbytes in enumerate(sizes)}

    def reading(self, maker: ShardMaker) -> Iterator[tuple[int, ShardTask]]:
        """The tasks that read pieces: one for each archive, and one for each shard of folders."""
        number = 0
        for piece, lacking in self._lacking:
            if piece.archive is not None:
                yield number, self._task(piece, tuple(lacking), None)
                number += 1
                continue
            for shard in lacking:
                yield number, self._task(piece, (shard,), maker)
                number += 1

    def _task(self, piece: Piece, numbers: tuple[int, ...], maker: ShardMaker | None) -> ShardTask:
        patches = maker.listed(numbers[0]) if maker is not None else None
        return ShardTask(piece.request, self.store, self.scratch, numbers, patches, is_part=True)

    def joining(self) -> Iterator[tuple[int, JoinTask]]:
        """The tasks that join parts to shards, when all parts are there.

        Raises:
            PatchError: a patch lacks a modality that it must have, and that stops a conversion.
        """
        lacking = incomplete_patches(self.request, self._parts(self.needed))
        if lacking and self.request.options.on_error is OnError.stop:
            raise stopping(PatchError(next(iter(lacking.values()))))
        for number in self.numbers:
            yield number, JoinTask(self.request, self.store, self.scratch, number, lacking)

    def remove(self, numbers: Collection[int]) -> None:
        """Remove the parts of shards that are joined, unless they tell what others lack.

        Raises:
            TargetError: they cannot be removed.
        """
        if self.request.description.complete:
            return  # the last step of the conversion removes them
        for part in self._parts(numbers):
            with writing(part):
                shutil.rmtree(part)

    def _parts(self, numbers: Collection[int]) -> Iterator[Path]:
        for piece in self.pieces:
            settings = piece.request.decisive_settings()
            for number in numbers:
                yield part_folder(self.store, number, settings)

    def said(self) -> str:
        """Which parts of the source are read at the same time, and which cannot be."""
        archives = [piece.archive.path.name for piece in self.pieces if piece.archive is not None]
        folders = [
            name
            for piece in self.pieces
            if piece.archive is None
            for name in piece.request.parts.modalities
        ]
        beside = f", beside the folders of {', '.join(folders)}, shard by shard" * bool(folders)
        return (
            f"{several(len(archives), 'archive')} in parallel ({', '.join(archives)}){beside}: "
            "each archive is one stream, which one worker reads from beginning to end; then the "
            "shards are joined from their parts, in parallel, too"
        )


def _size(piece: Piece) -> int:
    return piece.archive.size if piece.archive is not None else -1
