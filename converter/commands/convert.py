"""`convert`: patches of a source through workers to the writer of a store.

A bounded number of patches is under way between them, so memory does not grow with the source.
"""

import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

from patchpress.converter.collections import rarely_collected
from patchpress.converter.commands.converted import (
    converted_manifest,
    converted_report,
    findings,
)
from patchpress.converter.descriptions.description import Description
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.stream import EncodedChunk, Encoding, encoding
from patchpress.converter.options import ConvertKeywords, ConvertOptions, OnError, convert_options
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.planning.limited_patches import find_limited_patches
from patchpress.converter.planning.rehearsal import rehearsed_selection
from patchpress.converter.planning.request import ConversionRequest, prepare_request
from patchpress.converter.planning.selection import IncompletePatch, Selection
from patchpress.converter.planning.space import RoomNeeded, require_room
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.sources.archives import StreamOptions
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.patch import Patch, stopping
from patchpress.converter.sources.places import Places
from patchpress.converter.storage.directfile import AHEAD
from patchpress.converter.storage.folder import Target, claim, writing
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.report import Report, save_report
from patchpress.converter.storage.resume import clear_or_go_on, goes_on, skip_stored
from patchpress.converter.storage.writer import ShardWriter
from patchpress.converter.storage.writer_choice import check_same_writer, choose_pages
from patchpress.converter.tables.metadata import join
from patchpress.converter.tables.metadata_file import write_metadata
from patchpress.converter.tables.official import Tables
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.readers.access.extents_file import write_extents
from patchpress.readers.access.scan import build
from patchpress.readers.errors import PatchError, SourceError
from patchpress.readers.format.manifest import DATA, METADATA, Shard, write_manifest
from patchpress.readers.remote.url import is_url

_log = logging.getLogger(__name__)


@rarely_collected()
def convert(
    dataset: StrPath,
    source: StrPath,
    store: StrPath,
    *,
    progress: Progress | None = None,
    **options: Unpack[ConvertKeywords],
) -> Report:
    """Convert a published dataset to a store; what ``patchpress convert`` calls.

    Args:
        dataset: name of a built-in description, or the path of a TOML file.
        source: folder that holds the dataset as published.
        store: folder to write, or with `shards` a URL; it is a store once its manifest.json is
            there. Credentials are those of the environment; shards are made in the folder
            `scratch`, or that of temporary files, and removed there when they were sent.
        progress: told of every chunk of patches.
        options: how to store it, and what to do with damaged patches; `ConvertOptions` says what
            each means and what it is by default. Names are plain strings: ``layout="native"``.

    Raises:
        PatchpressError: DescriptionError, OptionError, SourceError, PatchError, TableError,
            TargetError, ClusterError, as their names say; the store is left without a manifest.
    """
    if is_url(store):
        from patchpress.converter.commands.convert_to_url import convert_to_url

        told = progress or NoProgress()
        return convert_to_url(dataset, source, os.fspath(store), options, told)
    folder, begun, checked = local_path(store), time.monotonic(), convert_options(options)
    if checked.scheduler is not None:
        from patchpress.converter.commands.convert_cluster import convert_on_cluster

        return convert_on_cluster(
            dataset, local_path(source), folder, checked, progress or NoProgress()
        )
    asked = prepare_request(dataset, local_path(source), folder, checked)
    if asked.options.shards is not None:
        from patchpress.converter.commands.convert_shards import convert_shards

        return convert_shards(asked, folder, progress or NoProgress())
    conversion = _Conversion(asked, folder, progress or NoProgress())
    with claim(folder, overwrite=asked.options.overwrite) as target:
        report = conversion.run(target)
        report.seconds = time.monotonic() - begun
        save_report(report, folder)
    return report


@dataclass
class _Conversion:
    """One run: what it was asked, and what it has stored so far."""

    request: ConversionRequest
    store: Path
    progress: Progress
    logs: dict[str, RecordLog] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    other_size: dict[str, list[str]] = field(default_factory=dict)

    @property
    def description(self) -> Description:
        return self.request.description

    @property
    def options(self) -> ConvertOptions:
        return self.request.options

    @property
    def parts(self) -> SourceParts:
        return self.request.parts

    def run(self, target: Target) -> Report:
        """Store all records, then write what describes them, and the manifest last."""
        self._log_options()
        recipes, self.logs = self.request.recipes(), self.request.empty_logs()
        count = self.request.count_patches
        # Workers are started before pyarrow and LMDB are loaded here, so that they can be forked.
        workers, parts = self.options.worker_count, self.parts
        with encoding(
            recipes, workers, parts.packed, parts.stream_count, writing=AHEAD, count=count
        ) as encode:
            tables = self.request.checked_tables()
            chosen = self._choose(tables, encode)
            asked = self.request.decisive_settings()
            needed = RoomNeeded(self.request, chosen, tables)
            is_begun = goes_on(self.store, target.interrupted_settings(), asked)
            require_room(self.store, needed, goes_on=is_begun)
            # Before an earlier store is removed: the writer that is asked for may not be possible.
            paged = choose_pages(
                self.options.writer, recipes.values(), self.store, goes_on=is_begun
            )
            with clear_or_go_on(target, asked) as journal:
                check_same_writer(self.options.writer, journal)
                twice = Places(chosen.walks, chosen.streams).twice
                with ShardWriter(self.store, journal, paged=paged, twice=twice) as writer:
                    self._store_records(chosen, encode, journal, writer)
        joined = join(
            self.description,
            self.logs,
            tables,
            self.parts.files,
            self.request.split_options,
            is_part=bool(self.options.limit),
        )
        shard = Shard(DATA, writer.records, (self.store / DATA).stat().st_size, writer.digest)
        records = {name: len(log) for name, log in self.logs.items()}
        with writing(self.store):
            write_extents(self.store, build(self.store, [DATA], writer.headers))
            write_metadata(self.store / METADATA, joined.table)
            manifest = converted_manifest(self.request, self.store, joined, records, (shard,))
            write_manifest(self.store, manifest)
        found = findings(chosen, self.skipped)
        return converted_report(self.request, self.store, joined, manifest, found, self.other_size)

    def _log_options(self) -> None:
        options = self.options
        _log.info(
            "%s to %s: layout %s, resampling %s, compression %s",
            self.description.dataset.name,
            self.store,
            options.layout,
            options.resampling,
            options.compression,
        )
        why = "as asked" if options.workers is not None else "one for each CPU of this process"
        _log.info("workers: %d, %s", options.worker_count, why)

    def _choose(self, tables: Tables | None, encode: Encoding) -> Selection:
        """Find the patches that are wanted, and check the MD5 of tables if that is asked for."""
        reading = StreamOptions(
            cells=encode.cells, md5=self.request.check_md5(), unpackers=encode.unpackers
        )
        wanted = find_limited_patches(self.description, self.parts, tables, self.options.limit)
        return rehearsed_selection(self.request, tables, wanted, self._problem, reading)

    def _store_records(
        self, chosen: Selection, encode: Encoding, journal: Journal, writer: ShardWriter
    ) -> None:
        """Store the records of all patches that an earlier run has not stored."""
        self.progress.start("converting", chosen.total)
        patches = chosen.read()
        left = skip_stored(patches, journal, self._note, self.progress)
        self._write(encode(left), chosen, writer)
        self._remove_incomplete(patches.incomplete_patches(), writer)
        writer.finish()

    def _problem(self, error: PatchError) -> None:
        """Stop at a damaged patch, or leave it out, as the options say."""
        if self.options.on_error is OnError.stop:
            raise stopping(error)
        self.skipped.append(str(error))

    def _note(self, patch: Patch, result: Encoded | PatchError) -> None:
        """Note what became of a patch, in this run or in an earlier one."""
        if isinstance(result, PatchError):
            self._problem(result)
        else:
            self.logs[patch.modality].add(patch, result)
            if result.found_size:
                named = f"{patch.key} ({result.found_size})"
                self.other_size.setdefault(patch.modality, []).append(named)

    def _write(
        self, chunks: Iterable[EncodedChunk], chosen: Selection, writer: ShardWriter
    ) -> None:
        """Store every record in order."""
        for outcomes, release in chunks:
            nbytes = 0
            for patch, result, frame in outcomes:
                stored = writer.put(patch, result, frame)
                self._note(patch, stored)
                nbytes += 0 if isinstance(stored, PatchError) else stored.length
            writer.flush(release)
            self.progress.advance(len(outcomes), nbytes, chosen.share)
        if not writer.records:
            raise SourceError(f"no patch could be converted: {self.skipped[0]}")

    def _remove_incomplete(self, patches: list[IncompletePatch], writer: ShardWriter) -> None:
        """Remove patches of which only the end of the archives told that they are incomplete."""
        if not patches:
            return
        for patch in patches:
            self._problem(patch.error)
        writer.remove([key for patch in patches for key in patch.keys.values()])
        for log in self.logs.values():
            log.remove_rows({patch.identity for patch in patches})
