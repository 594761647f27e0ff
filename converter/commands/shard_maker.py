"""`ShardMaker`: shards of one store out of one look over a source, by one pool of workers."""

import logging
import resource
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from patchpress.converter.commands.converted import findings
from patchpress.converter.encoding.stream import EncodedChunk, Encoding, encoding
from patchpress.converter.options import OnError
from patchpress.converter.planning.limited_patches import find_limited_patches
from patchpress.converter.planning.rehearsal import Rehearsal
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.planning.selection import (
    IncompletePatch,
    Selection,
    SourcePass,
    select_patches,
)
from patchpress.converter.planning.shard_listing import ShardListing
from patchpress.converter.planning.shard_patches import ShardPatches
from patchpress.converter.planning.space import RoomNeeded
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.sources.archives import StreamOptions
from patchpress.converter.sources.order import walks_of
from patchpress.converter.sources.patch import Patch, ignore_problem, stopping
from patchpress.converter.sources.places import Places
from patchpress.converter.storage.directfile import AHEAD
from patchpress.converter.storage.folder import Target, claim
from patchpress.converter.storage.journal import Entry, Journal
from patchpress.converter.storage.new_manifest import software
from patchpress.converter.storage.resume import clear_or_go_on, require_same
from patchpress.converter.storage.shard_file import (
    FinishedShard,
    SourceFindings,
    finished_shard,
    settings_digest,
)
from patchpress.converter.storage.shard_folder import (
    bring_back_journal,
    errors_in,
    seal_shard,
    take_sorted,
)
from patchpress.converter.storage.writer import ShardWriter
from patchpress.converter.storage.writer_choice import check_same_writer, choose_pages
from patchpress.converter.tables.official import Tables
from patchpress.readers.errors import OptionError, PatchError
from patchpress.readers.format.shard_rule import shard_of

_log = logging.getLogger(__name__)

AT_ONCE_IN_PAGES = 512
"""Shards that one pass over archives writes at most; each has a thread and three files."""
AT_ONCE_BY_LMDB = 32
"""The same if LMDB writes them: each has a transaction of some megabytes in memory."""
_FILES_EACH, _FILES_BESIDE = 4, 64


@dataclass
class _Open:
    """A shard that is being made."""

    folder: Path
    target: Target
    journal: Journal
    writer: ShardWriter
    is_paged: bool


class ShardMaker:
    """Makes shards of one store, with one pool of workers and one look over the source.

    Use it as a context manager, call `choose` once, and then `make`.
    """

    def __init__(self, request: ConversionRequest, progress: Progress | None = None) -> None:
        if request.options.shards is None:
            raise OptionError("give the number of shards")
        self._request, self._progress = request, progress or NoProgress()
        self._shards, self._settings = request.options.shards, request.decisive_settings()
        self._recipes = request.recipes()
        self._stack = ExitStack()
        self._skipped: dict[str, None] = {}  # sentences, in their order
        self._reading: frozenset[int] = frozenset()
        self._taken: ShardPatches | None = None
        self._limited = ""
        self.tables: Tables | None = None

    def __enter__(self) -> Self:
        parts = self._request.parts
        # Workers are started before pyarrow and LMDB are loaded here, so that they can be forked.
        self._encode: Encoding = self._stack.enter_context(
            encoding(
                self._recipes,
                self._request.options.worker_count,
                parts.packed,
                parts.stream_count,
                writing=AHEAD,
                count=self._request.count_patches,
            )
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def choose(
        self, beside: Path, numbers: Collection[int] | None = None, *, rehearse: bool
    ) -> None:
        """List the folders of the source, once; archives are not touched yet.

        Args:
            beside: the list lies on the disk beside this path meanwhile.
            numbers: the shards that are to be made; None for all.
            rehearse: join tables and names as `merge` will do, so that errors come early.

        Raises:
            SourceError, PatchError, TableError: as `convert`.
        """
        request = self._request
        self.tables = request.checked_tables()
        # Whether the files of an archive's patch are read changes from one pass to the next.
        reading = StreamOptions(
            cells=self._encode.cells,
            md5=request.check_md5(),
            unpackers=self._encode.unpackers,
            reads=lambda patch: shard_of(patch.key, self._shards) in self._reading,
        )
        wanted = find_limited_patches(
            request.description, request.parts, self.tables, request.options.limit
        )
        self._limited = wanted.digest() if wanted is not None else ""
        rehearsal = Rehearsal(request) if rehearse else None
        is_packed = bool(request.parts.packed)
        self._listing = self._stack.enter_context(
            ShardListing(beside, self._shards, None if is_packed else numbers)
        )

        def note(patch: Patch) -> None:
            self._listing.add(patch)
            if rehearsal is not None:
                rehearsal.add(patch)

        self._chosen = select_patches(
            request.description,
            request.parts,
            wanted,
            self._problem,
            options=reading,
            on_patch=note,
            defects=request.known_defects(),
        )
        if rehearsal is not None:
            rehearsal.run(self._chosen, self.tables)

    def take(self, patches: ShardPatches) -> None:
        """Make one shard, of patches that another process has listed, instead of `choose`."""
        request = self._request
        walks = walks_of(request.description, request.parts, ignore_problem)
        self._limited = patches.limited
        self._taken, self._chosen = patches, Selection(walks, dict(patches.counts))

    def listed(self, number: int) -> ShardPatches:
        """The patches of a shard in folders, for another process that stores them."""
        in_folders = replace(self._chosen, streams=(), required=())
        patches = in_folders.read_shards(self._listing, [number])
        return ShardPatches.of(patches, self._findings(), self._limited)

    def count(self, numbers: Collection[int]) -> int:
        """How many patches some shards have in folders."""
        return sum(self._listing.count(numbers).values())

    @property
    def chosen(self) -> Selection:
        """The patches of all shards."""
        return self._chosen

    def needed(self, numbers: Collection[int] | None = None) -> RoomNeeded:
        """How much room some shards need, as far as folders tell, or all."""
        chosen = self._chosen
        if numbers is not None:
            chosen = replace(chosen, counts=self._listing.count(numbers), streams=())
        return RoomNeeded(self._request, chosen, self.tables)

    def make(self, folders: Mapping[int, Path]) -> dict[int, FinishedShard]:
        """Make shards, each in its folder; gives all of them. Those that are there are kept.

        Patches out of folders come shard after shard. Those out of archives come in one pass for
        many shards, because an archive can only be read from its beginning.

        Raises:
            SourceError, PatchError, TableError, TargetError, StoreDamaged: as `make_shard`.
        """
        done: dict[int, FinishedShard] = {}
        for number, folder in folders.items():
            shard = self.finished(number, folder)
            if shard is not None:
                done[number] = shard
        left = [number for number in folders if number not in done]
        if not left:
            return done
        self._progress.start("converting", self._total(left))
        for group in self._groups(left):
            done |= self._pass({number: folders[number] for number in group})
        return {number: done[number] for number in folders}

    def _total(self, numbers: Collection[int]) -> int | None:
        if self._taken is not None:
            return sum(self._taken.counts.values())
        return None if self._chosen.streams else self.count(numbers)

    def _groups(self, numbers: list[int]) -> Iterator[list[int]]:
        """The shards that are written in one pass."""
        most = self._most_at_once() if self._chosen.streams else 1
        if 1 < most < len(numbers):
            passes = -(-len(numbers) // most)
            _log.info("archives are read %d times, for %d shards each time", passes, most)
        for begin in range(0, len(numbers), most):
            yield numbers[begin : begin + most]

    def _most_at_once(self) -> int:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = max(1, (soft - _FILES_BESIDE) // _FILES_EACH) if soft > 0 else AT_ONCE_IN_PAGES
        is_large = all(recipe.codec == "none" for recipe in self._recipes.values())
        return min(files, AT_ONCE_IN_PAGES if is_large else AT_ONCE_BY_LMDB)

    def _pass(self, folders: Mapping[int, Path]) -> dict[int, FinishedShard]:
        """Make some shards out of one pass over the source."""
        with ExitStack() as stack:
            done: dict[int, FinishedShard] = {}
            shards: dict[int, _Open] = {}
            for number, folder in folders.items():
                opened = self._opened(number, folder, stack)
                if isinstance(opened, FinishedShard):
                    done[number] = opened  # another process has made it meanwhile
                else:
                    shards[number] = opened
            if shards:
                self._reading = frozenset(shards)
                self._store_records(shards)
                source = self._findings()
                for number, shard in shards.items():
                    done[number] = self._sealed(number, shard, source)
            return done

    def _opened(self, number: int, folder: Path, stack: ExitStack) -> "_Open | FinishedShard":
        """Take the folder of a shard, and open its file where an earlier run stopped."""
        options = self._request.options
        target = stack.enter_context(claim(folder, overwrite=False))
        take_sorted(folder)
        shard = self.finished(number, folder)
        if shard is not None:
            return shard
        bring_back_journal(folder)
        paged = choose_pages(options.writer, self._recipes.values(), folder)
        settings = {**self._settings, "shard": number}
        journal = stack.enter_context(clear_or_go_on(target, settings, identities=True))
        check_same_writer(options.writer, journal)
        twice = Places(self._chosen.walks, self._chosen.streams).twice
        writer = stack.enter_context(ShardWriter(folder, journal, paged=paged, twice=twice))
        return _Open(folder, target, journal, writer, paged)

    def finished(self, number: int, folder: Path) -> FinishedShard | None:
        """The shard of that number, if it is in its folder already.

        Raises:
            PatchError: it lacks damaged patches, and this conversion stops at such patches.
            StoreDamaged, TargetError: as `finished_shard`.
        """
        shard = finished_shard(folder, number, self._settings)
        if shard is not None and shard.left_out and self._request.options.on_error is OnError.stop:
            for error in errors_in(folder):
                raise stopping(error)
        return shard

    def _findings(self) -> SourceFindings:
        if self._taken is not None:
            return self._taken.source
        return findings(self._chosen, list(self._skipped))

    def _source_pass(self, numbers: Collection[int]) -> SourcePass:
        if self._taken is not None:
            return SourcePass(iter(self._taken), ())
        return self._chosen.read_shards(self._listing, numbers)

    def _store_records(self, shards: Mapping[int, _Open]) -> None:
        patches = self._source_pass(shards)
        left = self._skip_stored(patches, shards)
        for chunk in self._encode(left):
            self._write(chunk, shards)
        self._remove_incomplete(patches.incomplete_patches(), shards)
        for shard in shards.values():
            shard.writer.finish()

    def _skip_stored(
        self, patches: Iterable[Patch], shards: Mapping[int, _Open]
    ) -> Iterator[Patch]:
        """The patches after those that the journals have; each is compared with its entry.

        Raises:
            SourceError: another patch than a journal has.
        """
        stored: dict[int, Iterator[Entry]] = {
            number: shard.journal.entries() for number, shard in shards.items()
        }
        for patch in patches:
            number = shard_of(patch.key, self._shards)
            entry = next(stored[number], None) if number in stored else None
            if entry is None:
                stored.pop(number, None)
                yield patch
                continue
            require_same(patch, entry, shards[number].journal)
            if isinstance(entry.result, PatchError):
                self._stop(entry.result)
                self._progress.advance(1, 0)
            else:
                self._progress.advance(1, entry.result.length)
        for number, entries in stored.items():
            entry = next(entries, None)
            if entry is not None:
                require_same(None, entry, shards[number].journal)

    def _write(self, chunk: EncodedChunk, shards: Mapping[int, _Open]) -> None:
        """Store the records of a chunk, each in its shard, in order."""
        nbytes, touched = 0, dict[int, ShardWriter]()
        for patch, result, frame in chunk.outcomes:
            number = shard_of(patch.key, self._shards)
            touched[number] = writer = shards[number].writer
            stored = writer.put(patch, result, frame)
            if isinstance(stored, PatchError):
                self._stop(stored)
            else:
                nbytes += stored.length
        release = _after(len(touched), chunk.release)
        for writer in touched.values():
            writer.flush(release)
        self._progress.advance(len(chunk.outcomes), nbytes, self._chosen.share)

    def _remove_incomplete(
        self, patches: list[IncompletePatch], shards: Mapping[int, _Open]
    ) -> None:
        """Remove patches of which only the end of the archives told that they are incomplete."""
        keys: dict[int, list[str]] = {}
        for patch in patches:
            self._problem(patch.error)
            for key in patch.keys.values():
                keys.setdefault(shard_of(key, self._shards), []).append(key)
        for number, gone in keys.items():
            if number in shards:
                shards[number].writer.remove(gone)

    def _sealed(self, number: int, shard: _Open, source: SourceFindings) -> FinishedShard:
        known = FinishedShard(
            number=number,
            shards=self._shards,
            settings=settings_digest(self._settings),
            records=0,
            left_out=0,
            bytes=0,
            content="",
            journal="",
            on_error=str(self._request.options.on_error),
            limited=self._limited,
            software=software(),
            source=source,
        )
        return seal_shard(shard.folder, shard.writer, known, paged=shard.is_paged)

    def _problem(self, error: PatchError) -> None:
        """Stop at a patch whose name or partners are wrong, or leave it out."""
        self._stop(error)
        self._skipped[str(error)] = None

    def _stop(self, error: PatchError) -> None:
        """Stop at a patch that has no record, unless such patches are left out."""
        if self._request.options.on_error is OnError.stop:
            raise stopping(error)


def _after(count: int, call: Callable[[], None]) -> Callable[[], None]:
    """A function that calls another when it was called so many times, by whatever threads."""
    left = iter(range(count - 1, -1, -1))

    def count_down() -> None:
        if next(left) == 0:  # the next item of an iterator is given to one thread alone
            call()

    return partial(count_down)
