"""What a worker of a cluster does when all pieces of a source were read: one shard of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from patchpress.converter.cluster.on_worker import TaskProgress
from patchpress.converter.commands.cluster_task import ShardsDone, kept_warnings, task_folder
from patchpress.converter.options import OnError
from patchpress.converter.planning.pieces import Piece, pieces_of
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.sources.patch import stopping
from patchpress.converter.storage.new_manifest import software
from patchpress.converter.storage.shard_delivery import deliver_shard, part_folder
from patchpress.converter.storage.shard_file import (
    FinishedShard,
    SourceFindings,
    finished_shard,
    settings_digest,
)
from patchpress.converter.storage.shard_folder import join_parts
from patchpress.converter.storage.writer_choice import choose_pages
from patchpress.readers.errors import PatchError, StoreUnfinished


@dataclass(frozen=True)
class JoinTask:
    """One shard, whose parts are in the store."""

    request: ConversionRequest
    """Of the whole store, as for `ShardTask`."""
    store: Path
    scratch: Path | None
    number: int
    incomplete: Mapping[str, str]
    """Identity -> a sentence for each patch that is left out because it lacks a modality."""


def join_shard_here(task: JoinTask, progress: TaskProgress) -> ShardsDone:
    """Join the parts of a shard in scratch, and move it to its place; runs on a worker.

    Raises:
        PatchpressError: a part is not as it was written, or is not there; as `deliver_shard`;
            nobody waits for the shard any more.
    """
    settings = task.request.decisive_settings()
    pieces = pieces_of(task.request)
    parts = [_part(task, piece) for piece in pieces]
    with kept_warnings() as said, task_folder(task.scratch) as folder:
        made = join_parts(
            folder / "joined",
            parts,
            _known(task, [shard for _, shard in parts]),
            paged=choose_pages(
                task.request.options.writer, task.request.recipes().values(), folder
            ),
            left_out=task.incomplete,
            twice=_Twice(task.request, pieces).error,
            tell=progress.advance,
        )
        progress.require_wanted()
        deliver_shard(folder / "joined", task.store, task.number, settings)
        return ShardsDone((task.number,), made.records, said())


def _part(task: JoinTask, piece: Piece) -> tuple[Path, FinishedShard]:
    settings = piece.request.decisive_settings()
    folder = part_folder(task.store, task.number, settings)
    shard = finished_shard(folder, task.number, settings)
    if shard is None:
        raise StoreUnfinished(
            f"{folder} is gone, which is what shard {task.number} has of {piece.name}: run the "
            "same command again"
        )
    return folder, shard


def _known(task: JoinTask, parts: list[FinishedShard]) -> FinishedShard:
    found = SourceFindings()
    for part in parts:
        found = found.with_those_of(part.source)
    found = found.with_those_of(SourceFindings(skipped=list(task.incomplete.values())))
    options = task.request.options
    return FinishedShard(
        number=task.number,
        shards=options.shards or 1,
        settings=settings_digest(task.request.decisive_settings()),
        records=0,
        left_out=0,
        bytes=0,
        content="",
        journal="",
        on_error=str(options.on_error),
        limited="",  # with a limit, the source is no pieces
        software=software(),
        source=found,
    )


class _Twice:
    """Tells of patches that two pieces have."""

    def __init__(self, request: ConversionRequest, pieces: tuple[Piece, ...]) -> None:
        self._stops, self._pieces = request.options.on_error is OnError.stop, pieces

    def error(self, key: str, first: int, second: int) -> PatchError:
        """The error of a patch.

        Raises:
            PatchError: the same, if it stops the conversion.
        """
        one, two = (self._pieces[number].name for number in (first, second))
        sentence = (
            f"dates of {key} lie in {one} and in {two}: unpack what is packed and give the folder"
            if self._are_dated(first, second)
            else f"the patch {key} is there twice, in {one} and in {two}: remove one of the two"
        )
        error = PatchError(sentence)
        if self._stops:
            raise stopping(error)
        return error

    def _are_dated(self, *numbers: int) -> bool:
        """Whether what these pieces have of a place may be some of its dates."""
        requests = [self._pieces[number].request for number in numbers]
        return all(
            any(request.description.modalities[name].is_dated for name in request.parts.modalities)
            for request in requests
        )
