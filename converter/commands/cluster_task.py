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
from patchpress.converter.storage.shard_delivery import deliver_part, deliver_shard
from patchpress.converter.storage.shard_file import FinishedShard


@dataclass(frozen=True)
class ShardTask:
    """The work of one task: one shard of listed patches, or shards of one pass over archives.

    Or parts of these shards, if the request is for one piece of a source.
    """

    request: ConversionRequest
    """Its paths are whole; `options.workers` processes beside the worker's own."""
    store: Path
    scratch: Path | None
    """A folder of the worker's disk; None for the worker's own."""
    numbers: tuple[int, ...]
    patches: ShardPatches | None
    """None if the patches are in archives."""
    is_part: bool = False
    """Whether the shards have no more than a piece of the source, and are to be joined."""


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
        PatchpressError: as `make_shard` and `deliver_shard`; nobody waits for them any more.
    """
    deliver = deliver_part if task.is_part else deliver_shard
    settings = task.request.decisive_settings()
    with kept_warnings() as said, task_folder(task.scratch) as folder:
        made = _make(task, folder, progress)
        for number in made:
            progress.require_wanted()  # the client may have begun the store anew
            deliver(folder / str(number), task.store, number, settings)
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
def task_folder(given: Path | None) -> Iterator[Path]:
    """A folder for this task alone, on the worker's own disk or in the folder that was given."""
    scratch = given or local_directory()
    with writing(scratch):
        folder = scratch_folder(scratch)
    with folder as path:
        yield path


@contextmanager
def kept_warnings() -> Iterator[Callable[[], tuple[str, ...]]]:
    """What is warned of in this block is not printed, where nobody would read it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: tuple(dict.fromkeys(str(one.message) for one in caught))
