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
from patchpress.converter.commands.cluster_pieces import Pieces
from patchpress.converter.commands.cluster_task import ShardsDone, ShardTask, make_shards_here
from patchpress.converter.commands.join_shards import Gathered, finish
from patchpress.converter.commands.join_task import join_shard_here
from patchpress.converter.commands.shard_maker import ShardMaker
from patchpress.converter.options import ConvertOptions
from patchpress.converter.paths import StrPath
from patchpress.converter.planning.pieces import Piece, pieces_of
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
        PatchpressError: as `convert`; StoreDamaged, too.
    """
    begun, store = time.monotonic(), store.absolute()
    is_local = options.scheduler == LOCAL
    request = _request_for_workers(dataset, source, store, options, is_local=is_local)
    workers = min(options.worker_count, options.shards or 1) if is_local else 0
    with claim(store, overwrite=options.overwrite) as target:
        work = _ClusterWork(request, store, options.scratch, progress, alone=workers == 1)
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
    alone: bool
    """Whether there is one worker, and no other can come."""
    gathered: Gathered = field(init=False)
    _told: set[str] = field(default_factory=set)

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
            pieces = pieces_of(request)
            # One worker would read the archives one after the other, and copy all of it once more.
            # To a scheduler elsewhere more workers may come while the first is at work.
            apart = len(pieces) > 1 and bool(request.parts.packed) and not self.alone
            # Its parts stay to the end if patches must have all modalities.
            times = 2 if apart and request.description.complete else 1
            require_room(self.store, maker.needed()._replace(times=times), goes_on=is_begun)
            choose_pages(options.writer, request.recipes().values(), self.store)
            if not is_begun:
                target.clear(request.marker_settings())
            left = [n for n in range(options.shards or 0) if self._is_missing(maker, n)]
            if left and apart:
                self._make_of_pieces(client, maker, left, pieces)
            elif left:
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
                + self._why_one_pass()
            )
        total = None if packed else maker.count(numbers)
        self.progress.start("converting", total)
        tasks, left = self._tasks(maker, numbers), set(numbers)
        what = "shard" if not packed else "the pass over the archives, task"
        for done in run_tasks(client, make_shards_here, tasks, self.progress, what=what):
            self._note(maker, done, left)

    def _why_one_pass(self) -> str:
        """Why several archives are not read at the same time; empty if there is only one."""
        if len(self.request.parts.packed) < 2:
            return ""
        if self.request.options.limit is not None:
            return ": with a limit, one archive decides how much is read of the next"
        return ": with --workers 2 or more, archives are read at the same time"

    def _make_of_pieces(
        self,
        client: "Client",
        maker: ShardMaker,
        numbers: list[int],
        pieces: tuple[Piece, ...],
    ) -> None:
        """Let workers read the pieces of the source, and then join what they have of each shard."""
        work = Pieces(self.request, pieces, self.store, self.scratch, numbers)
        say(work.said())
        self.progress.start("converting", None)
        reading = run_tasks(
            client,
            make_shards_here,
            work.reading(maker),
            self.progress,
            what="the pass over an archive, task",
            weights=work.weights(),
        )
        records = 0
        for done in reading:
            records += done.records
            self._warn(done)
        self.progress.start("joining shards", records or None)
        left = set(numbers)
        joining = run_tasks(client, join_shard_here, work.joining(), self.progress, what="shard")
        for done in joining:
            self._note(maker, done, left)
            work.remove(done.numbers)

    def _note(self, maker: ShardMaker, done: ShardsDone, left: set[int]) -> None:
        """Note shards that are done; `left` are those that are not."""
        self._warn(done)
        left.difference_update(done.numbers)
        self._gather(maker, min(left, default=self.request.options.shards or 0))

    def _warn(self, done: ShardsDone) -> None:
        for sentence in done.warnings:
            if sentence not in self._told:
                self._told.add(sentence)
                warnings.warn(sentence, stacklevel=2)

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
