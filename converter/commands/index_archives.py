"""`index ARCHIVE…`: archives that are not compressed become a store as they lie.

Everything is read once, as by a conversion, and nothing but the table, the index and the manifest
is written. An index that was interrupted begins anew.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypedDict

from patchpress.converter.commands.converted import (
    converted_manifest,
    converted_report,
    findings,
)
from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.frame import ROOM
from patchpress.converter.encoding.stream import Encoding, encoding
from patchpress.converter.options import ConvertOptions, Layout, Nan, OnError
from patchpress.converter.paths import StrPath
from patchpress.converter.planning.rehearsal import rehearsed_selection
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.planning.selection import Selection
from patchpress.converter.progress import Progress
from patchpress.converter.sources.archives import StreamOptions
from patchpress.converter.sources.given_archives import archives_given, locate_in_archives
from patchpress.converter.sources.patch import Patch, stopping
from patchpress.converter.sources.places import Places
from patchpress.converter.storage.folder import Target, claim, writing
from patchpress.converter.storage.placed_records import PlacedRecords, path_in_index
from patchpress.converter.storage.report import Report, save_report
from patchpress.converter.tables.metadata import join
from patchpress.converter.tables.metadata_file import write_metadata
from patchpress.converter.tables.official import Tables, with_splits_of_tables
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.readers.access.archive_index import read_index, write_index
from patchpress.readers.access.archives import identity_of
from patchpress.readers.access.files import open_file
from patchpress.readers.errors import OptionError, PatchError, SourceError
from patchpress.readers.format.manifest import (
    ARCHIVES,
    MANIFEST,
    METADATA,
    Shard,
    read_manifest,
    write_manifest,
)


class IndexKeywords(TypedDict, total=False):
    """The options of `index` that are for archives; `ConvertOptions` says what they mean."""

    modalities: str | Sequence[str] | None
    workers: int | None
    on_error: OnError | Literal["stop", "skip"]
    nan: Nan | Literal["refuse", "keep"]
    overwrite: bool


@dataclass(frozen=True, slots=True)
class AsLying:
    """What was done with a store whose archives were found to lie elsewhere now."""

    store: str
    archives: tuple[str, ...]

    def text(self) -> str:
        """A line for people."""
        return (
            f"{self.store}: the same archives as when they were indexed, "
            f"{', '.join(self.archives)}; where they lie is noted"
        )


def index_archives(
    archives: Sequence[Path],
    store: Path,
    dataset: StrPath | None,
    options: ConvertOptions,
    progress: Progress,
) -> Report | AsLying:
    """Make a store of archives; what ``patchpress index ARCHIVE…`` calls.

    Args:
        archives: tar files and zip archives, or folders that have them.
        store: folder to write; it may lie beside the archives.
        dataset: name of a built-in description, or the path of a TOML file.
        options: of a conversion; those that say how to store are set here.
        progress: told of every chunk of patches.

    Raises:
        PatchpressError: as `convert`; also for an archive that is compressed, and for files whose
            pixels do not lie in it as they are.
    """
    begun = time.monotonic()
    if dataset is None:
        raise OptionError(
            "--dataset says what the archives have: `patchpress datasets --guess FOLDER` may tell"
        )
    if not options.overwrite:
        moved = _noted_anew(archives, store)
        if moved is not None:
            return moved
    request = _request(archives, dataset, options)
    indexing = _Indexing(request, store, progress)
    with claim(store, overwrite=options.overwrite) as target:
        report = indexing.run(target)
        report.seconds = time.monotonic() - begun
        save_report(report, store)
    return report


def _noted_anew(archives: Sequence[Path], store: Path) -> AsLying | None:
    """Note where the archives of a store lie now; None if it is not a store of these archives."""
    if not (store / MANIFEST).exists():
        return None
    manifest = read_manifest(store)
    if not manifest.in_archives or not all(path.is_file() for path in archives):
        return None
    index = read_index(store, manifest.shards[0].bytes, manifest.record_limit)
    known = {(one.bytes, one.identity): n for n, one in enumerate(index.archives)}
    entries = list(index.archives)
    for path in archives:
        file = open_file(path)
        number = known.get((file.size, identity_of(file))) if file.size else None
        if number is None:
            return None
        entries[number] = entries[number]._replace(path=path_in_index(store, path))
    with writing(store):
        nbytes = write_index(store, replace(index, archives=tuple(entries)))
        (shard,) = manifest.shards
        write_manifest(store, replace(manifest, shards=(replace(shard, bytes=nbytes),)))
    return AsLying(str(store), tuple(str(path) for path in archives))


def _request(
    archives: Sequence[Path], dataset: StrPath, options: ConvertOptions
) -> ConversionRequest:
    description = find_description(dataset)
    given = archives_given(archives, description)
    parts = locate_in_archives(description, given, options.paths, options.modalities)
    for name in parts.modalities:
        if description.modalities[name].steps:
            raise OptionError(
                f"patches of {name} have several dates, whose files lie apart, so that they are "
                "not read in place: `patchpress convert` makes a store of them"
            )
    tables = parts.files_named(description.tables)
    description = with_splits_of_tables(description, tables)
    return ConversionRequest(description, options, parts, str(dataset), given[0].parent)


def index_options(paths: Mapping[str, Path], keywords: IndexKeywords) -> ConvertOptions:
    """The options of a conversion that leaves every pixel as it is.

    Raises:
        OptionError: there is no such option, or a value that cannot be.
    """
    for name in keywords:
        if name not in IndexKeywords.__annotations__:
            raise OptionError(f"there is no option {name!r} of an index of archives")
    # In the native layout patches of another size stay as they are, or are refused.
    return ConvertOptions(layout=Layout.native, paths=paths, **keywords)  # type: ignore[arg-type]


@dataclass
class _Indexing:
    """One run: what it was asked, and what it has found so far."""

    request: ConversionRequest
    store: Path
    progress: Progress
    logs: dict[str, RecordLog] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def run(self, target: Target) -> Report:
        """Find all records, then write what describes them, and the manifest last."""
        request, options, parts = self.request, self.request.options, self.request.parts
        recipes, self.logs = request.recipes(), request.empty_logs()
        with encoding(
            recipes,
            options.worker_count,
            parts.packed,
            parts.stream_count,
            count=request.count_patches,
        ) as encode:
            tables = request.checked_tables()
            chosen = self._choose(tables, encode)
            twice = Places(chosen.walks, chosen.streams).twice
            records = PlacedRecords(request.description.modalities, twice)
            self._find(chosen, encode, records)
        joined = join(request.description, self.logs, tables, parts.files, request.split_options)
        index, digest = records.index(self.store)
        target.clear(request.decisive_settings())
        with writing(self.store):
            nbytes = write_index(self.store, index)
            shard = Shard(ARCHIVES, len(index), nbytes, digest)
            write_metadata(self.store / METADATA, joined.table)
            counts = {name: len(log) for name, log in self.logs.items()}
            manifest = converted_manifest(request, self.store, joined, counts, (shard,))
            write_manifest(self.store, manifest)
        found = findings(chosen, self.skipped)
        report = converted_report(request, self.store, joined, manifest, found, {})
        report.archives = [(str(one.at(self.store).resolve()), one.bytes) for one in index.archives]
        return report

    def _choose(self, tables: Tables | None, encode: Encoding) -> Selection:
        reading = StreamOptions(cells=encode.cells, unpackers=encode.unpackers, notes_places=True)
        return rehearsed_selection(self.request, tables, None, self._problem, reading)

    def _find(self, chosen: Selection, encode: Encoding, records: PlacedRecords) -> None:
        """Note where the record of each patch lies."""
        self.progress.start("indexing", chosen.total)
        patches = chosen.read()
        for outcomes, release in encode(patches):
            nbytes = 0
            for patch, result, frame in outcomes:
                length = 0 if isinstance(result, PatchError) else result.length
                noted = records.put(patch, result, frame[ROOM : ROOM + length])
                self._note(patch, noted)
                nbytes += length
            release()
            self.progress.advance(len(outcomes), nbytes, chosen.share)
        if not len(records):
            raise SourceError(f"no patch could be indexed: {(*self.skipped, 'there is none')[0]}")
        incomplete = patches.incomplete_patches()
        for one in incomplete:
            self._problem(one.error)
        records.remove(key for one in incomplete for key in one.keys.values())
        for log in self.logs.values():
            log.remove_rows({one.identity for one in incomplete})

    def _note(self, patch: Patch, result: Encoded | PatchError) -> None:
        if isinstance(result, PatchError):
            self._problem(result)
        else:
            self.logs[patch.modality].add(patch, result)

    def _problem(self, error: PatchError) -> None:
        """Stop at a patch that cannot be read in place, or leave it out, as the options say."""
        if self.request.options.on_error is OnError.stop:
            raise stopping(error)
        self.skipped.append(str(error))
