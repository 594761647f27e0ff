"""`convert --shards N`: all shards of a store by one process, or with `--shard I` one of them."""

import os
import time
import warnings
from pathlib import Path
from typing import Unpack

from patchpress.converter.collections import rarely_collected
from patchpress.converter.commands.convert_to_url import convert_shard_to_url
from patchpress.converter.commands.converted import is_as_asked
from patchpress.converter.commands.finished_before import FinishedBefore
from patchpress.converter.commands.join_shards import finish
from patchpress.converter.commands.make_shards import check_number, make_shard
from patchpress.converter.commands.shard_maker import ShardMaker
from patchpress.converter.commands.shard_report import ShardReport
from patchpress.converter.options import ConvertKeywords, convert_options
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.planning.parallel import archives_for_one_shard
from patchpress.converter.planning.request import ConversionRequest, prepare_request
from patchpress.converter.planning.space import require_room
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.storage.folder import Target, claim
from patchpress.converter.storage.ownership import SHARD_FILE, manifest_in
from patchpress.converter.storage.report import Report, save_report
from patchpress.converter.storage.resume import goes_on
from patchpress.converter.storage.shard_delivery import deliver_shard, new_folder_beside
from patchpress.converter.storage.shard_file import require_same_limited
from patchpress.converter.storage.shard_folder import errors_in
from patchpress.converter.storage.shard_place import (
    remove_working_files,
    shards_there,
    shared_store,
)
from patchpress.converter.storage.writer_choice import choose_pages
from patchpress.readers.errors import OptionError
from patchpress.readers.format.manifest import MANIFEST, MARKER
from patchpress.readers.format.shard_rule import shard_folder
from patchpress.readers.remote.url import is_url


def convert_shards(request: ConversionRequest, store: Path, progress: Progress) -> Report:
    """Make all shards of a store that are not there, then put them together.

    Raises:
        SourceError, PatchError, TableError, TargetError, StoreDamaged: as `convert`.
    """
    begun = time.monotonic()
    if (store / MANIFEST).exists() and not (store / MARKER).exists():
        remove_working_files(store)  # of a run that was killed when all else was done
    with claim(store, overwrite=request.options.overwrite) as target:
        _make_all(request, store, target, progress)
        report = finish(store, request, progress)
        report.seconds = time.monotonic() - begun
        save_report(report, store)
    remove_working_files(store)
    return report


def _make_all(request: ConversionRequest, store: Path, target: Target, progress: Progress) -> None:
    shards = request.options.shards or 0
    with ShardMaker(request, progress) as maker:
        maker.choose(store, rehearse=True)
        settings = request.decisive_settings()
        is_begun = goes_on(store, target.interrupted_settings(), settings)
        require_room(store, maker.needed(), goes_on=is_begun)
        # Before an earlier store is removed: the writer that is asked for may not be possible.
        choose_pages(request.options.writer, request.recipes().values(), store)
        if not is_begun:
            target.clear(request.marker_settings())
        maker.make({number: store / shard_folder(number) for number in range(shards)})


@rarely_collected()
def convert_shard(
    dataset: StrPath,
    source: StrPath,
    store: StrPath,
    number: int,
    *,
    progress: Progress | None = None,
    **options: Unpack[ConvertKeywords],
) -> ShardReport | FinishedBefore:
    """Make one shard of a store, beside other processes that make others of it.

    What ``patchpress convert … --shards N --shard I`` calls. `merge` finishes the store when all
    shards are there, in whatever order they were made.

    Args:
        dataset: as for `convert`.
        source: as for `convert`.
        store: the folder of the whole store, or a URL, as for `convert`.
        number: which shard, from 0.
        progress: told of every chunk of patches.
        options: as for `convert`; `shards` must be given, and all are the same for each shard.

    Raises:
        OptionError: there is no shard of that number; `overwrite` is given.
        TargetError: the store was finished or begun with other options; another process makes this
            shard at this moment; it cannot be written.
        DescriptionError, SourceError, PatchError, TableError, StoreDamaged: as `convert`.
    """
    if is_url(store):
        return convert_shard_to_url(
            dataset, source, os.fspath(store), number, options, progress or NoProgress()
        )
    place, begun = local_path(store), time.monotonic()
    asked = convert_options(options)
    check_number(number, asked.shards)
    if asked.scheduler is not None:
        raise OptionError(
            f"--shard {number} makes one shard here, and --scheduler lets workers make all: give "
            "one of the two"
        )
    if asked.overwrite:
        raise OptionError(
            f"--overwrite is for a whole store, and shard {number} is a part of one: remove "
            f"{place / shard_folder(number)} to make it anew, or {place} to begin anew"
        )
    request = prepare_request(dataset, local_path(source), place, asked)
    if _is_finished(place, request):  # a job array does a task again
        return FinishedBefore(str(place), asked.shards or 0)
    with shared_store(place, request.marker_settings()) as has_locks:
        report = _made(request, place, number, progress or NoProgress(), has_locks=has_locks)
        folder = place / shard_folder(number)
        if report.shard.left_out:
            report.skipped = [str(error) for error in errors_in(folder)]
        if asked.limit is not None:
            known = shards_there(place, request.decisive_settings()).values()
            require_same_limited(one for one in known if one is not None)
        others = (n for n in range(report.shard.shards) if n != number)
        there = (place / shard_folder(n) / SHARD_FILE for n in others)
        report.missing = sum(not file.exists() for file in there)
    report.seconds = time.monotonic() - begun
    return report


def _made(
    request: ConversionRequest, store: Path, number: int, progress: Progress, *, has_locks: bool
) -> ShardReport:
    settings, place = request.decisive_settings(), store / shard_folder(number)
    there = ShardMaker(request).finished(number, place)
    if there is not None:
        return ShardReport(str(store), there, was_there=True)
    _warn_of_archives(request)
    if has_locks:
        return ShardReport(str(store), make_shard(request, number, place, progress=progress))
    # Then nobody can tell whether another process makes this shard: each makes its own.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the file system of .* has no locks")
        folder = new_folder_beside(store, number)
        shard = make_shard(request, number, folder, progress=progress)
    is_new = deliver_shard(folder, store, number, settings)
    return ShardReport(str(store), shard, was_there=not is_new)


def _warn_of_archives(request: ConversionRequest) -> None:
    sentence = archives_for_one_shard(request)
    if sentence:
        warnings.warn(sentence, stacklevel=2)


def _is_finished(store: Path, request: ConversionRequest) -> bool:
    """Whether a store is there as this request makes it."""
    if not store.is_dir() or (store / MARKER).exists():
        return False
    manifest = manifest_in(store)
    return manifest is not None and is_as_asked(manifest, request)
