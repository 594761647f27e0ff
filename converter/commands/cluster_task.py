"""What a worker of a cluster does for a conversion: shards in its scratch, then in the store."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from patchpress.converter.cluster.on_worker import TaskProgress, local_directory
from patchpress.converter.cluster.scratch import scratch_folder
from patchpress.converter.commands.make_shards import make_listed_shard
from patchpress.converter.commands.shard_maker import ShardMaker
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.planning.shard_patches import ShardPatches
from patchpress.converter.planning.space import require_room
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.shard_file import FinishedShard
from patchpress.converter.storage.shard_place import deliver_shard


@dataclass(frozen=True)
class ShardTask:
    """The work of one task: one shard of listed patches, or shards of one pass over archives."""

    request: ConversionRequest
    """Its paths are whole; `options.workers` processes beside the worker's own."""
    store: Path
    scratch: Path | None
    """A folder of the worker's disk; None for the worker's own."""
    numbers: tuple[int, ...]
    patches: ShardPatches | None
    """None if the patches are in archives."""


@dataclass(frozen=True)
class ShardsDone:
    """What became of it."""

    numbers: tuple[int, ...]
    records: int
    warnings: tuple[str, ...]
    """What was to be said."""


def make_shards_here(task: ShardTask, progress: TaskProgress) -> ShardsDone:
    """Make shards in scratch, and move each to its place; `run_tasks` calls this on a worker.

    Raises:
        PatchpressError: as `make_shard` and `deliver_shard`.
    """
    scratch = task.scratch or local_directory()
    with _kept_warnings() as said, _folder(scratch) as folder:
        made = _make(task, folder, progress)
        for number, _shard in made.items():
            deliver_shard(
                folder / str(number), task.store, number, task.request.decisive_settings()
            )
        return ShardsDone(task.numbers, sum(one.records for one in made.values()), said())


def _make(task: ShardTask, folder: Path, progress: TaskProgress) -> Mapping[int, FinishedShard]:
    folders = {number: folder / str(number) for number in task.numbers}
    if task.patches is not None:
        ((number, place),) = folders.items()
        shard = make_listed_shard(task.request, number, place, task.patches, progress=progress)
        return {number: shard}
    with ShardMaker(task.request, progress) as maker:
        maker.choose(folder, task.numbers, rehearse=False)
        require_room(folder, maker.needed(), goes_on=False)
        return maker.make(folders)


@contextmanager
def _folder(scratch: Path) -> Iterator[Path]:
    with writing(scratch):
        folder = scratch_folder(scratch)
    with folder as path:
        yield path


@contextmanager
def _kept_warnings() -> Iterator[Callable[[], tuple[str, ...]]]:
    """What is warned of in this block is not printed, where nobody would read it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: tuple(dict.fromkeys(str(one.message) for one in caught))
