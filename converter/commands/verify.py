"""`verify`: every record of a store read back, alone or against the source it was made from.

What is checked stands in the modules `verify_records`, `verify_readback`, `verify_shards`,
`verify_extents`, `verify_table`, `verify_labels` and, with a source, `verify_pixels`.
"""

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from patchpress.converter.collections import rarely_collected
from patchpress.converter.commands.verdict import Verdict
from patchpress.converter.commands.verify_extents import extents_problems
from patchpress.converter.commands.verify_files import FilesOf, VerifiedFiles, files_of
from patchpress.converter.commands.verify_labels import LabelsOfMaps, MapReader
from patchpress.converter.commands.verify_pixels import Comparison
from patchpress.converter.commands.verify_readback import RecordsReadBack
from patchpress.converter.commands.verify_shards import stray_files
from patchpress.converter.commands.verify_statistics import statistics_problems
from patchpress.converter.commands.verify_table import (
    is_table_as_written,
    manifest_problems,
    table_problems,
)
from patchpress.converter.commands.verify_worker import CHECK, COMPARE, Source, VerifyingWorker
from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.parse import built_in_descriptions, find_description
from patchpress.converter.options import window_bytes, worker_count
from patchpress.converter.paths import StrPath, local_path, shown_place
from patchpress.converter.processes import worker_pool
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.side_by_side import threads_each
from patchpress.converter.sources.compression import WINDOW
from patchpress.converter.sources.locate import locate
from patchpress.converter.sources.order import require_patches
from patchpress.converter.text import first_few
from patchpress.readers.errors import ExtentsUnusable, OptionError, StoreDamaged
from patchpress.readers.format.table import record_keys
from patchpress.readers.format.table_file import any_table
from patchpress.readers.remote.url import is_url
from patchpress.readers.store import Store, open_store

_log = logging.getLogger(__name__)

BYTES_A_WORKER = (
    256 << 20
)  # of a store: a worker that reads fewer takes longer to start than to read


@rarely_collected()
def verify(
    store: StrPath,
    against: StrPath | None = None,
    *,
    paths: Mapping[str, StrPath] | None = None,
    workers: int | None = None,
    dataset: StrPath | None = None,
    zstd_window: int | str = WINDOW,
    progress: Progress | None = None,
) -> Verdict:
    """Read every record of a store back: count, checksum, form; with a source, every pixel.

    If the description has a rule that makes labels from a map, and the table gave the labels, both
    are compared. Where they differ though the store has both as they were written, it is the source
    that contradicts itself: that is said, and the store is good.

    Args:
        store: folder of the store, or its URL: all of its data files are requested once, and
            kept nowhere.
        against: folder of the source to compare with, unpacked or in archives.
        paths: modality -> where it lies, if that is not where the description says.
        workers: processes that read records back and decode the source: one a CPU for None, this
            process for 0.
        dataset: TOML file of the description, if the dataset is not built in.
        zstd_window: as an option of `convert`.
        progress: told of each patch that is compared, and of each record.

    Raises:
        StoreError: there is no store to verify, or its files are not as long as they should be.
        SourceError: the source is not the dataset that the store was made from, or an archive of it
            is damaged or ends early.
        OptionError: paths without a source, or a description that is needed.
        PatchpressError: a worker process died.
    """
    if paths and against is None:
        raise OptionError("--path says where parts of a source lie: give the source with --against")
    count, window = worker_count(workers), window_bytes(zstd_window)
    progress = progress or NoProgress()
    url = os.fspath(store) if is_url(store) else None
    if url is not None and against is not None:
        raise OptionError(
            f"{shown_place(store)} is a URL, and --against compares a store on a disk: copy it to "
            "a folder first, or verify it without --against"
        )
    verdict = Verdict(shown_place(store))
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", ExtentsUnusable)
        opened = open_store(store, stage=False)
    unusable = [str(warning.message) for warning in raised]
    description = _description_of(opened, dataset, is_needed=against is not None)
    name = "none" if description is None else description.dataset.name
    _log.info("%s: %d records, description %s", opened.path, len(opened), name)
    with any_table(opened.path):
        files = files_of(opened.path, opened.manifest, url)
        check = _Check(opened, url or opened.path, files, description, verdict, progress)
        if against is None or description is None:
            check.alone(unusable, count)
        else:
            check.against(against, paths, window, count, unusable)
    return verdict


@dataclass
class _Check:
    """A store that is compared with its source, if there is one, and then with itself."""

    opened: Store
    place: StrPath
    """Its folder, or its URL."""
    files: FilesOf
    description: Description | None
    verdict: Verdict
    progress: Progress
    maps: MapReader = field(init=False)

    def __post_init__(self) -> None:
        self.maps = MapReader(self.opened.manifest, self.description)

    def _worker(self, source: Source | None) -> tuple[Any, ...]:
        """What each worker is made of."""
        return self.place, self.opened.manifest, self.maps, self.files, source

    def alone(self, unusable: list[str], count: int) -> None:
        """Compare it with itself."""
        self.verdict.problems += unusable
        # What a network gives, one process compares.
        useful = _useful(self.opened, count) if self.opened.url is None else 0
        made = self._worker(None)
        with worker_pool(useful, VerifyingWorker, *made, work="verifying") as submit:
            self._read_back(submit, useful)

    def against(
        self,
        against: StrPath,
        paths: Mapping[str, StrPath] | None,
        window: int,
        count: int,
        unusable: list[str],
    ) -> None:
        """Compare it with a source first."""
        opened, verdict, description = self.opened, self.verdict, self.description
        if description is None:
            raise RuntimeError("a source is compared by a description")
        located = {name: local_path(path) for name, path in (paths or {}).items()}
        modalities = tuple(opened.manifest.modalities)
        parts = locate(description, local_path(against), located, modalities, window)
        require_patches(description, parts)
        comparison = Comparison(opened, description, parts, count, self.progress)
        threads, known = threads_each(comparison.workers), description.modalities
        made = self._worker((comparison.shared, threads, known))
        # The same workers for both: a process that has drawn a bar must not fork again.
        with worker_pool(comparison.workers, VerifyingWorker, *made, work="verifying") as submit:
            found = comparison.run(partial(submit, COMPARE))
            verdict.compared, verdict.problems = found.compared, found.problems
            verdict.notes = found.notes
            verdict.problems += unusable
            self._read_back(submit, comparison.workers)
        verdict.problems += _without_source(opened, found.keys)

    def _read_back(self, submit: Callable[..., Future[Any]], workers: int) -> None:
        _read_back(
            self.opened, self.maps, self.verdict, submit, workers, self.progress, self.files()
        )


def _useful(store: Store, count: int) -> int:
    """How many of so many workers are worth the time that they take to start."""
    manifest = store.manifest
    nbytes = sum(shard.bytes for shard in manifest.shards)
    if manifest.in_archives:
        nbytes = sum(m.form.size * m.records for m in manifest.modalities.values())
    useful = min(count, nbytes // BYTES_A_WORKER)
    return useful if useful > 1 else 0


def _description_of(
    store: Store, dataset: StrPath | None, *, is_needed: bool
) -> Description | None:
    """The description that a store was made by; None if it is the user's own, and not given.

    Raises:
        OptionError: it is needed.
        DescriptionError: there is none, or it is wrong.
    """
    if dataset is not None:
        return find_description(dataset)
    name = store.manifest.dataset.name
    if name in built_in_descriptions():
        return find_description(name)
    if is_needed:
        raise OptionError(
            f"the store was made by a description of your own, {name}: give it with --dataset FILE"
        )
    return None


def _without_source(store: Store, compared: Mapping[str, list[str]]) -> list[str]:
    """A sentence for each modality with records whose patches the source does not have."""
    problems = []
    for name in store.manifest.modalities:
        there = set(compared[name])
        lacking = [k for k in record_keys(store.path, store.manifest, name) if k not in there]
        if lacking:
            problems.append(
                f"{len(lacking):,} {name} records have no patch in the source: {first_few(lacking)}"
            )
    return problems


def _read_back(
    store: Store,
    maps: MapReader,
    verdict: Verdict,
    submit: Callable[..., Future[Any]],
    workers: int,
    progress: Progress,
    files: VerifiedFiles,
) -> None:
    """Read every record, then compare with all that is beside them."""
    labels = LabelsOfMaps(store, maps.rules)
    records = RecordsReadBack(store, labels, files)
    at_url = files if store.url is not None else None
    progress.start("reading back", len(store))
    verdict.problems += records.run(partial(submit, CHECK), 2 * workers + 1, progress)
    verdict.records, verdict.others = records.read, len(records.others)
    verdict.problems += [*records.damage, *stray_files(store)]
    if records.damage:
        # What else is wrong cannot be told: each record that was not reached would be called lost.
        return
    verdict.problems += records.problems()
    looks: tuple[Callable[[], object], ...] = (
        lambda: _compare_table(store, records, labels, verdict),
        lambda: verdict.problems.extend(manifest_problems(store)),
        lambda: verdict.problems.extend(
            extents_problems(store, records.headers(), records.others, at_url)
        ),
        lambda: verdict.problems.extend(statistics_problems(store)),
    )
    for look in looks:
        try:
            look()
        except StoreDamaged as error:  # the file that it looks at cannot be read at all
            if str(error) not in verdict.problems:
                verdict.problems.append(str(error))


def _compare_table(
    store: Store, records: RecordsReadBack, labels: LabelsOfMaps, verdict: Verdict
) -> None:
    """Compare the table with the records, and its labels with those of the maps."""
    found = table_problems(store, records.keys, records.checksums)
    verdict.problems += found.problems
    differing = labels.differences(found.damaged)
    if is_table_as_written(store):
        verdict.source += differing
    else:  # who changed it may have changed the labels
        verdict.problems += differing
