"""Writes a new store as a plan says: data files, extents, table, statistics, and the manifest last.

It goes on after an interruption: what is stored is not copied again, and shards that are done stay.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xxhash

from patchpress.converter.allocation import large_blocks_given_back
from patchpress.converter.options import Writer
from patchpress.converter.progress import Progress
from patchpress.converter.sources.apart import require_apart
from patchpress.converter.storage.disk import RecordSizes, data_bytes, disk_of, room_there
from patchpress.converter.storage.folder import Target, claim, writing
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.new_manifest import software
from patchpress.converter.storage.ownership import VERSION, manifest_in
from patchpress.converter.storage.resume import clear_or_go_on, continued_journal, goes_on
from patchpress.converter.storage.shard_place import remove_working_files
from patchpress.converter.storage.writer_choice import choose_pages_for, why_not_of_modalities
from patchpress.converter.tables.metadata_file import write_metadata
from patchpress.converter.text import size
from patchpress.converter.transfer.data_file import WrittenFile, write_data_file
from patchpress.converter.transfer.frames import FrameReader
from patchpress.converter.transfer.plan import COPIED, CopyPlan
from patchpress.converter.transfer.records import StoredRecords
from patchpress.readers.access.extents import UNKNOWN
from patchpress.readers.access.extents_file import write_extents
from patchpress.readers.access.scan import HeaderList, build
from patchpress.readers.errors import StatisticsMissing, StatisticsStale, StoreDamaged, TargetError
from patchpress.readers.format.manifest import (
    DATA,
    METADATA,
    STATISTICS,
    Manifest,
    file_digest,
    write_manifest,
)
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.shard_rule import shard_folder, shard_path
from patchpress.readers.format.table import checksum_column
from patchpress.readers.format.whole_file import write_whole
from patchpress.readers.statistics_file import read_file, to_bytes

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLED = 1000  # lengths of records that stand for all, when the size of a store is estimated


def write_store(
    store: Path, plan: CopyPlan, command: str, progress: Progress, *, overwrite: bool
) -> Manifest:
    """Write a store, or go on with one that the same command has begun.

    Args:
        store: the folder.
        plan: what it is to have.
        command: what writes it, for the sentence about another command's unfinished store.
        progress: told of each chunk of records.
        overwrite: replace a finished store.

    Raises:
        StoreDamaged: a source is.
        TargetError: the folder cannot be written, does not lie apart from the sources, or has
            something else.
    """
    require_apart(store, [source.path for source in plan.sources])
    with claim(store, overwrite=overwrite) as target:
        return _Writing(store, plan, command, progress).run(target)


class _Writing:
    """One run."""

    def __init__(self, store: Path, plan: CopyPlan, command: str, progress: Progress) -> None:
        self._store, self._plan, self._progress = store, plan, progress
        self._settings = _settings(plan, command)
        self._reader = FrameReader(plan.sources, plan.pickers)
        self._paged = False

    def run(self, target: Target) -> Manifest:
        """Store all records, then write what describes them, and the manifest last."""
        plan = self._plan
        is_begun = goes_on(self._store, target.interrupted_settings(), self._settings)
        written = manifest_in(self._store) if is_begun else None
        if written is not None:  # an earlier run was killed when only some steps were left
            self._remove_working_files()
            return written
        require_room(self._store, plan, goes_on=is_begun)
        self._paged = pages_are_possible(plan.modalities.values(), self._store)
        self._progress.start("copying", len(plan.records))
        if plan.shards:
            files, checksums = self._write_shards(target, goes_on=is_begun)
        else:
            with clear_or_go_on(target, self._settings) as journal:
                files = [self._write(self._store, DATA, journal, plan.records)]
            checksums = files[0].checksums
        manifest = self._describe(files, checksums)
        self._remove_working_files()
        return manifest

    def _remove_working_files(self) -> None:
        if self._plan.shards:
            remove_working_files(self._store)

    def _write_shards(
        self, target: Target, *, goes_on: bool
    ) -> tuple[list[WrittenFile], npt.NDArray[np.uint64]]:
        """Write one shard after the other; those that are there already are left as they are."""
        if not goes_on:
            target.clear(self._settings)
        records, files = self._plan.records, list[WrittenFile]()
        checksums = records.checksum.copy()
        for number, positions in enumerate(records.in_shards(self._plan.shards)):
            folder = self._store / shard_folder(number)
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            with continued_journal(folder) as journal:
                some = records.at(positions)
                written = self._write(folder, shard_path(number), journal, some)
            checksums[positions] = written.checksums
            files.append(written)
        return files, checksums

    def _write(
        self, folder: Path, path: str, journal: Journal, records: StoredRecords
    ) -> WrittenFile:
        return write_data_file(
            folder,
            path,
            journal,
            records,
            self._plan.names,
            self._reader,
            self._progress,
            paged=self._paged,
        )

    @large_blocks_given_back()
    def _describe(self, files: list[WrittenFile], checksums: npt.NDArray[np.uint64]) -> Manifest:
        """Write extents, table, statistics and manifest."""
        plan, store = self._plan, self._store
        shards = tuple(file.shard for file in files)
        modality, row = plan.records.modality, plan.records.row
        # Of a large data set they take as much memory as each of the steps that follow.
        plan.give_up_records()
        with writing(store):
            if plan.unchanged:
                write_whole(store / METADATA, _same_table(plan))
            else:
                write_metadata(store / METADATA, _with_checksums(plan, modality, row, checksums))
            headers = _joined_headers([file.headers for file in files])
            write_extents(store, build(store, [shard.path for shard in shards], headers))
            manifest = replace(
                plan.manifest,
                modalities=plan.modalities,
                shards=shards,
                metadata_digest=file_digest(store / METADATA),
                software=plan.manifest.software if plan.unchanged else software(),
            )
            statistics = _same_statistics(plan, manifest)
            if statistics is None:
                (store / STATISTICS).unlink(missing_ok=True)
            else:
                write_whole(store / STATISTICS, statistics)
            write_manifest(store, manifest)
        return manifest


def _settings(plan: CopyPlan, command: str) -> Mapping[str, Any]:
    """All that decides what is stored, for the marker of an unfinished store.

    The sources are known by what they hold, so that they may be moved meanwhile.
    """
    records = plan.records
    content = xxhash.xxh3_128(records.keys.view(np.uint8).data)
    content.update(records.checksum.data)
    return {
        VERSION: version("patchpress"),
        "dataset": plan.manifest.dataset.name,
        "command": command,
        "choice": plan.manifest.options.get(COPIED),
        "data_files": f"{plan.shards:,} shards" if plan.shards else DATA,
        "bands": {name: ",".join(one.band_names) for name, one in plan.modalities.items()},
        "tables": [source.manifest.metadata_digest for source in plan.sources],
        "records": f"{len(records):,} ({content.hexdigest()})",
    }


def pages_are_possible(modalities: Iterable[Modality], store: Path) -> bool:
    """Whether a new data file is written in pages, as a conversion decides it by itself."""
    return choose_pages_for(Writer.auto, why_not_of_modalities(modalities), store)


def require_room(store: Path, plan: CopyPlan, *, goes_on: bool) -> None:
    """Refuse a store for which there is certainly not enough room.

    Raises:
        TargetError: how much it needs, and how much there is.
    """
    least = least_bytes(plan)
    disk, there = disk_of(store), room_there(store)
    if not disk.plain or least <= disk.most + there:
        return
    beside = f" beside the {size(there)} that are there already" if there else ""
    advice = (
        "make room and run the same command again"
        if goes_on
        else "make room, choose another place, or copy less"
    )
    raise TargetError(
        f"{store} needs at least {size(least)}, but {size(disk.most)} are free on its disk{beside}"
        f": {advice}"
    )


def least_bytes(plan: CopyPlan) -> int:
    """Bytes that the data files of a store take, but for records that are compressed anew."""
    sizes = []
    for number, modality in enumerate(plan.modalities.values()):
        lengths = plan.records.length[plan.records.modality == number]
        if not len(lengths):
            continue
        if number in plan.pickers:
            if modality.compression.codec != "none" or modality.any_size:
                continue
            sample = [modality.form.size]
        else:
            step = -(-len(lengths) // SAMPLED)
            sample = np.sort(lengths)[::step].tolist() if step > 1 else lengths.tolist()
        sizes.append(RecordSizes(len(lengths), sample, 0))
    return data_bytes(sizes) if sizes else 0


def _joined_headers(lists: Sequence[HeaderList]) -> HeaderList:
    """The headers of several data files as those of one, each different header once."""
    if len(lists) == 1:
        return lists[0]
    known = list(dict.fromkeys(header for one in lists for header in one.known))
    position = {header: number for number, header in enumerate(known)}
    numbers = []
    for one in lists:
        own = np.full(UNKNOWN + 1, UNKNOWN, np.uint16)
        own[: len(one.known)] = [position[header] for header in one.known]
        numbers.append(own[one.numbers])
    return HeaderList(known, np.concatenate(numbers).tolist())


def _with_checksums(
    plan: CopyPlan,
    modality: npt.NDArray[np.uint16],
    row: npt.NDArray[np.int64],
    checksums: npt.NDArray[np.uint64],
) -> "pa.Table":
    """The table with the checksums of records that were made anew; one of each array a record."""
    import pyarrow as pa

    table = plan.make_table()
    for number in plan.pickers:
        mine = modality == number
        digits: list[str | None] = [None] * len(table)
        for place, value in zip(row[mine].tolist(), checksums[mine].tolist(), strict=True):
            digits[place] = f"{value:016x}"
        column = checksum_column(plan.names[number])
        at = table.column_names.index(column)
        table = table.set_column(at, table.schema.field(column), pa.array(digits, pa.string()))
    return table


def _same_table(plan: CopyPlan) -> bytes:
    """The bytes of the source's table."""
    (source,) = plan.sources
    data = (source.path / METADATA).read_bytes()
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != source.manifest.metadata_digest:
        raise StoreDamaged(f"{source.path / METADATA} changed while it was copied: copy it again")
    return data


def _same_statistics(plan: CopyPlan, manifest: Manifest) -> bytes | None:
    """Those of the source, if they are of the same records and rows; None if there are none."""
    if not plan.unchanged:
        return None
    (source,) = plan.sources
    try:
        entries = read_file(source.path, source.manifest, f"patchpress stats {source.path}")
    except (StatisticsMissing, StatisticsStale, StoreDamaged):
        return None
    return to_bytes(entries, manifest)
