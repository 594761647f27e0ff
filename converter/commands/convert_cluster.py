"""`convert --scheduler`: the shards of a store made by the workers of a Dask cluster."""

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.cluster.agreement import require_same_sight, require_same_versions
from patchpress.converter.cluster.connection import LOCAL, connected
from patchpress.converter.cluster.tasks import run_tasks
from patchpress.converter.commands.cluster_task import ShardTask, make_shards_here
from patchpress.converter.commands.join_shards import Gathered, finish
from patchpress.converter.commands.shard_maker import ShardMaker
from patchpress.converter.options import ConvertOptions
from patchpress.converter.paths import StrPath
from patchpress.converter.planning.request import ConversionRequest, prepare_request
from patchpress.converter.planning.space import require_room
from patchpress.converter.progress import Progress
from patchpress.converter.stderr import say
from patchpress.converter.storage.folder import Target, claim
from patchpress.converter.storage.report import Report, save_report
from patchpress.converter.storage.resume import goes_on
from patchpress.converter.storage.shard_place import remove_working_files
from patchpress.converter.storage.writer_choice import choose_pages
from patchpress.readers.format.shard_rule import shard_folder

if TYPE_CHECKING:
    from distributed import Client

MODALITY_APART = (
    "; to read several archives at a time, convert each modality to a store of its own "
    "(--modality), and merge the stores"
)


def convert_on_cluster(
    dataset: StrPath, source: Path, store: Path, options: ConvertOptions, progress: Progress
) -> Report:
    """Let workers make all shards of a store that are not there, then put them together.

    Args:
        dataset: as for `convert`.
        source: as for `convert`; workers see it at the same path.
        store: as for `convert`; workers see it at the same path.
        options: `options.scheduler` says where the scheduler is.
        progress: is told of all workers together.

    Raises:
        ClusterError: there is no scheduler, or workers are not as this process; the scheduler is
            lost, or workers die.
        DescriptionError, OptionError, SourceError, PatchError, TableError, TargetError,
        StoreDamaged: as `convert`.
    """
    begun, store = time.monotonic(), store.absolute()
    is_local = options.scheduler == LOCAL
    request = _request_for_workers(dataset, source, store, options, is_local=is_local)
    workers = min(options.worker_count, options.shards or 1) if is_local else 0
    with claim(store, overwrite=options.overwrite) as target:
        work = _ClusterWork(request, store, options.scratch, progress)
        with connected(str(options.scheduler), workers) as client:
            work.run(client, target)
        report = finish(store, request, progress, gathered=work.gathered)
        report.seconds = time.monotonic() - begun
        save_report(report, store)
    remove_working_files(store)
    return report


def _request_for_workers(
    dataset: StrPath, source: Path, store: Path, options: ConvertOptions, *, is_local: bool
) -> ConversionRequest:
    """A request that means the same on each worker: its paths are whole.

    A worker does a shard in its own process, unless more are asked for: most workers are daemon
    processes, which may not start others.
    """
    options = replace(
        options,
        workers=0 if is_local else options.workers or 0,
        paths={name: path.absolute() for name, path in options.paths.items()},
        scheduler=None,
        scratch=None,
    )
    return prepare_request(dataset, source.absolute(), store, options)


@dataclass
class _ClusterWork:
    """What is to be done on a cluster."""

    request: ConversionRequest
    store: Path
    scratch: Path | None
    progress: Progress
    gathered: Gathered = field(init=False)

    def __post_init__(self) -> None:
        self.gathered = Gathered(self.request)

    def run(self, client: "Client", target: Target) -> None:
        """Make all shards that are not in their places."""
        request, options = self.request, self.request.options
        require_same_versions(client)
        require_same_sight(client, self.store, self._read(), self.scratch)
        _say_of_threads(client)
        here = request._replace(options=replace(options, workers=0))
        with ShardMaker(here, self.progress) as maker:
            maker.choose(self.store, rehearse=True)
            is_begun = goes_on(
                self.store, target.interrupted_settings(), request.decisive_settings()
            )
            require_room(self.store, maker.needed(), goes_on=is_begun)
            choose_pages(options.writer, request.recipes().values(), self.store)
            if not is_begun:
                target.clear(request.marker_settings())
            left = [n for n in range(options.shards or 0) if self._is_missing(maker, n)]
            if left:
                self._make(client, maker, left)

    def _read(self) -> list[Path]:
        """The folders and files that workers read."""
        return [path for paths in self.request.parts.paths.values() for path in paths]

    def _is_missing(self, maker: ShardMaker, number: int) -> bool:
        return maker.finished(number, self.store / shard_folder(number)) is None

    def _make(self, client: "Client", maker: ShardMaker, numbers: list[int]) -> None:
        packed = self.request.parts.packed
        if packed:
            say(
                f"archives are read from beginning to end ({', '.join(packed)}): one worker makes "
                f"all {len(numbers):,} shards in one pass, and the others have nothing to do"
                + MODALITY_APART
                * (len(packed) > 1)
            )
        total = None if packed else maker.count(numbers)
        self.progress.start("converting", total)
        told: set[str] = set()
        tasks = self._tasks(maker, numbers)
        left, shards = set(numbers), self.request.options.shards or 0
        what = "shard" if not packed else "the pass over the archives, task"
        for done in run_tasks(client, make_shards_here, tasks, self.progress, what=what):
            for sentence in done.warnings:
                if sentence not in told:
                    told.add(sentence)
                    warnings.warn(sentence, stacklevel=2)
            left.difference_update(done.numbers)
            self._gather(maker, min(left, default=shards))

    def _gather(self, maker: ShardMaker, end: int) -> None:
        """Read the journals of the shards before `end`, while workers make others."""
        for number in range(self.gathered.shards, end):
            folder = self.store / shard_folder(number)
            shard = maker.finished(number, folder)
            if shard is None:  # somebody removed it: `finish` says so
                return
            self.gathered.add(folder, shard)

    def _tasks(self, maker: ShardMaker, numbers: list[int]) -> Iterator[tuple[int, ShardTask]]:
        """The tasks, each made when it is handed on: the lists of all would take memory."""
        groups = [tuple(numbers)] if self.request.parts.packed else [(n,) for n in numbers]
        for group in groups:
            patches = None if self.request.parts.packed else maker.listed(group[0])
            yield group[0], ShardTask(self.request, self.store, self.scratch, group, patches)


def _say_of_threads(client: "Client") -> None:
    """Say if workers would share one Python between several shards."""
    threads = client.nthreads()
    several = [count for count in threads.values() if count > 1]
    if several:
        say(
            f"{len(several)} of {len(threads)} workers have {max(several)} threads, which share "
            "one Python: start them with --nthreads 1 --nworkers N to use N cores"
        )
