"""The finished shards of a store become the store, without a look at a patch.

The journals of the shards tell what each record is. They are read shard after shard into logs of
some 20 bytes a record; the extents of the shards become those of the store.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from patchpress.converter.allocation import large_blocks_given_back
from patchpress.converter.commands.converted import converted_manifest, converted_report
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.options import OnError, convert_options
from patchpress.converter.planning.request import ConversionRequest, prepare_request
from patchpress.converter.progress import Progress
from patchpress.converter.sources.patch import Patch
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.ownership import SHARD_JOURNAL
from patchpress.converter.storage.report import Report
from patchpress.converter.storage.settings_difference import OLDER, REQUEST, differences, told
from patchpress.converter.storage.shard_extents import join_extents
from patchpress.converter.storage.shard_file import (
    FinishedShard,
    SourceFindings,
    require_journal,
    require_same_limited,
)
from patchpress.converter.storage.shard_place import shards_there
from patchpress.converter.storage.shard_software import software_notes
from patchpress.converter.tables.metadata import join
from patchpress.converter.tables.metadata_file import write_metadata
from patchpress.converter.text import number_ranges
from patchpress.readers.access.extents_file import load_extents, read_extents, write_extents
from patchpress.readers.errors import (
    PatchError,
    SourceError,
    StoreDamaged,
    StoreUnfinished,
    TargetError,
)
from patchpress.readers.format.manifest import (
    MARKER,
    METADATA,
    ContentDigest,
    Shard,
    write_manifest,
)
from patchpress.readers.format.shard_rule import shard_folder, shard_path


def request_of(store: Path, settings: Mapping[str, Any], name: str) -> ConversionRequest:
    """The request that a store was begun with, as the source is now.

    Args:
        store: a folder that must lie apart from the source.
        settings: of the marker.
        name: of the store, for messages.

    Raises:
        TargetError: the description or the source is another one than then.
    """
    asked = settings.get(REQUEST)
    if not isinstance(asked, dict):
        raise TargetError(f"{name}/{MARKER} does not say what the source was: convert again")
    options, dataset = convert_options(asked["options"]), asked["dataset"]
    if os.sep in dataset and not Path(dataset).is_file():
        raise TargetError(
            f"{name} was begun with the description {dataset}, which is not there any more: put "
            "the same file back, and run the same command again"
        )
    request = prepare_request(dataset, Path(asked["source"]), store, options)
    differ = differences(settings, request.decisive_settings())
    if differ:
        back = "put the source, its tables and the description back as they were"
        is_older = differ[0].startswith(OLDER)
        way_out = "finish it with that one, or remove it and begin anew" if is_older else back
        raise TargetError(f"{name} was begun with {told(differ)}: {way_out}")
    return request


@large_blocks_given_back()
def finish(
    store: Path,
    request: ConversionRequest,
    progress: Progress,
    shards: list[FinishedShard] | None = None,
    gathered: "Gathered | None" = None,
) -> Report:
    """Write what describes all shards of a store, and the manifest last.

    The store is locked for this process. Its shards keep their working files.

    Args:
        store: the folder.
        request: of the whole store.
        progress: told of every shard that is read.
        shards: all of them, if their data files lie elsewhere and are known to be there; None if
            the folder has them.
        gathered: what the first of them have, if their journals were read while others were made.

    Raises:
        StoreUnfinished, StoreDamaged, SourceError, TableError, TargetError: as `finish_store`.
    """
    settings = request.decisive_settings()
    read = read_extents if shards is None else load_extents
    shards = _all_shards(store, settings) if shards is None else shards
    require_same_limited(shards)
    if any(shard.on_error == OnError.skip for shard in shards):
        # The store says so, whichever of its shards were made like this.
        options = replace(request.options, on_error=OnError.skip)
        request = request._replace(options=options)
    tables = request.checked_tables()
    with writing(store):
        # Before the logs are made, if they are not there: neither is in memory with the other.
        paths = [shard_path(one.number) for one in shards]
        write_extents(store, join_extents(store, paths, read))
    gathered = gathered or Gathered(request)
    left = shards[gathered.shards :]
    progress.start("putting shards together", sum(shard.records for shard in left))
    for shard in left:
        gathered.add(store / shard_folder(shard.number), shard)
        progress.advance(shard.records, 0)
    if not any(shard.records for shard in shards):
        raise SourceError(f"no patch could be converted: {gathered.found.skipped[0]}")
    joined = join(
        request.description,
        gathered.logs,
        tables,
        request.parts.files,
        request.split_options,
        is_part=bool(request.options.limit),
    )
    records = {name: len(log) for name, log in gathered.logs.items()}
    with writing(store):
        write_metadata(store / METADATA, joined.table)
        entries = tuple(
            Shard(shard_path(shard.number), shard.records, shard.bytes, shard.content)
            for shard in shards
        )
        manifest = converted_manifest(request, store, joined, records, entries)
        write_manifest(store, manifest)
    found = gathered.found
    report = converted_report(request, store, joined, manifest, found, gathered.other_size)
    report.notes += software_notes(shards)
    return report


def _all_shards(store: Path, settings: Mapping[str, Any]) -> list[FinishedShard]:
    there = shards_there(store, settings)
    missing = [number for number, shard in there.items() if shard is None]
    if missing:
        raise StoreUnfinished(
            f"{store} lacks {len(missing):,} of {len(there):,} shards ({number_ranges(missing)}): "
            f"make them first; `patchpress missing {store}` prints their numbers"
        )
    return [shard for shard in there.values() if shard is not None]


class Gathered:
    """What the shards that were read so far have; they are read in the order of their numbers."""

    def __init__(self, request: ConversionRequest) -> None:
        self.logs = request.empty_logs()
        self.found = SourceFindings()
        self.other_size: dict[str, list[str]] = {}
        self.shards = 0
        """How many were read."""
        self._modalities = request.description.modalities

    def add(self, folder: Path, shard: FinishedShard) -> None:
        """Read the journal of the next shard.

        Raises:
            StoreDamaged: it is not what the shard says.
        """
        require_journal(folder, shard)
        self.found = self.found.with_those_of(shard.source)
        digest = ContentDigest()
        with Journal(folder / SHARD_JOURNAL) as journal:
            for entry in journal.entries():
                if isinstance(entry.result, PatchError):
                    self.found.skipped.append(str(entry.result))
                    continue
                digest.add(entry.key, entry.result.checksum)
                patch = Patch(
                    modality=entry.modality,
                    key=entry.key,
                    name=self._modalities[entry.modality].name_of(entry.key),
                    identity=entry.identity,
                )
                self._add_record(patch, entry.result)
        if digest.text() != shard.content:
            raise StoreDamaged(
                f"{folder} has a journal of other records than its data file: remove the folder, "
                "and make that shard again"
            )
        self.shards += 1

    def _add_record(self, patch: Patch, record: Encoded) -> None:
        self.logs[patch.modality].add(patch, record)
        if record.found_size:
            named = f"{patch.key} ({record.found_size})"
            self.other_size.setdefault(patch.modality, []).append(named)
