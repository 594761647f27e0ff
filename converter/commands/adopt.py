"""Makes the LMDB of another program a store: describes its records, and does not copy them.

The data file is read by its own pages and never opened by LMDB, so that nothing in it is locked or
changed, and a truncated file ends in a sentence.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import xxhash

from patchpress.converter.commands.adopt_records import (
    NAMELESS,
    AdoptedRecord,
    OtherRecord,
    RecordIdentifier,
)
from patchpress.converter.commands.data_file import values_in
from patchpress.converter.commands.other_records import OtherRecords
from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.labels import record_columns
from patchpress.converter.encoding.columnreader import ColumnReader
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.progress import Progress
from patchpress.converter.sources.apart import require_no_source
from patchpress.converter.sources.file_patterns import files_named
from patchpress.converter.sources.files import MemoryFiles
from patchpress.converter.sources.locate import locate_files
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.new_manifest import new_manifest, stored_modality
from patchpress.converter.storage.report import Report, report_of, save_report
from patchpress.converter.tables.metadata import Joined, join
from patchpress.converter.tables.metadata_file import write_metadata
from patchpress.converter.tables.official import Tables, check_tables, with_splits_of_tables
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.converter.tables.split_column import SplitOptions
from patchpress.readers.access.extents_file import FORMAT, facts_of, write_extents
from patchpress.readers.access.files import open_file
from patchpress.readers.access.scan import HeaderList, Scan, build, scan
from patchpress.readers.errors import PatchError, SourceError, StoreDamaged, TargetError
from patchpress.readers.format.manifest import (
    DATA,
    EXTENTS,
    MANIFEST,
    METADATA,
    OTHER_VALUES,
    ContentDigest,
    Manifest,
    Shard,
    write_manifest,
)
from patchpress.readers.format.store_files import require_inside
from patchpress.readers.format.table import checksum_column
from patchpress.readers.format.whole_file import whole_file

TOLD_AFTER = 256  # records between two calls of the progress
NO_FILES = MemoryFiles({})  # the JSON files beside the pixels were not stored


def adopt(
    store: Path, description: Description, paths: Mapping[str, Path], progress: Progress
) -> Report:
    """Read every value once, and write metadata.parquet, extents and, last, manifest.json.

    Args:
        store: folder with the data file.
        description: of the dataset that the records are of.
        paths: table or list -> where it lies.
        progress: told of the records that are read.

    Raises:
        OptionError, SourceMissing, TableError: a table that is not there, or not as described.
        SourceError: a record of another dataset; the message names it.
        StoreMissing, StoreDamaged: no data file that can be read.
        TargetError: the folder cannot be written, or has a file of that name.
    """
    begun = time.monotonic()
    files = locate_files(description, paths)
    absent = tuple(name for name in description.files() if name not in files)
    # What is said in files beside the pixels is not in the records.
    bare = {name: replace(m, sidecar=None) for name, m in description.modalities.items()}
    description = replace(description, modalities=bare)
    _check_folder(store)
    tables = files_named(files, description.tables)
    description = with_splits_of_tables(description, tables)
    checked = check_tables(description, tables) if tables else None
    adoption = _Adoption(store, description, files, checked, progress)
    report = adoption.run(absent)
    report.seconds = time.monotonic() - begun
    save_report(report, store)
    return report


def _check_folder(store: Path) -> None:
    """Refuse a folder that cannot be written, or whose table is not one of ours."""
    require_no_source(store / MANIFEST, above=0)
    with writing(store), suppress(_Tried), whole_file(store / MANIFEST):
        raise _Tried  # a file can be made, and is gone again
    for name in (METADATA, EXTENTS):
        if os.path.lexists(store / name) and not _is_ours(store / name):
            raise TargetError(
                f"{store / name} would be replaced: move it out of the folder, and if it is a "
                "table of the dataset name it with --path"
            )


class _Tried(Exception):
    """Ends the writing of a file that is only tried."""


def _is_ours(file: Path) -> bool:
    """Whether a file is one that an adoption wrote which was killed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.name == EXTENTS:
            with file.open("rb") as opened:
                return FORMAT.encode() in opened.read(1000)
        names = pq.read_schema(file).names
    except (OSError, pa.ArrowException):
        return False
    return any(name.endswith(checksum_column("")) for name in names)


@contextmanager
def _whole_or_nothing(store: Path) -> Iterator[None]:
    """Remove what was written, if there is an error before the manifest is written."""
    try:
        with writing(store):
            yield
    except BaseException:
        for name in (MANIFEST, EXTENTS, METADATA):
            (store / name).unlink(missing_ok=True)
        raise


class _Adoption:
    """One run: what it was asked, and what it has found so far."""

    def __init__(
        self,
        store: Path,
        description: Description,
        files: Mapping[str, Path],
        tables: Tables | None,
        progress: Progress,
    ) -> None:
        self._store, self._description = store, description
        self._files, self._tables, self._progress = files, tables, progress
        self._data = require_inside(store, DATA)
        self._identifier = RecordIdentifier(self._data, description)
        # Labels are derived from maps only if no table gives them, as in a conversion.
        rules = description.record_rules(has_tables=tables is not None)
        modalities = description.modalities
        self._column_readers = {
            name: ColumnReader(m, rules, description.splits, description.identity)
            for name, m in modalities.items()
        }
        self._columns = {name: record_columns(m, rules) for name, m in modalities.items()}
        self._logs: dict[str, RecordLog] = {}
        self._layouts: dict[str, str] = {}
        self._headers = HeaderList()
        self._others = OtherRecords()

    def run(self, absent: tuple[str, ...]) -> Report:
        """Read all records, join them with the tables, and write what describes them."""
        found = scan(self._data)
        if not len(found.keys) + len(found.nameless):
            raise SourceError(f"{self._data} has no records: there is nothing to adopt")
        for key in found.nameless:
            self._others.add(key, NAMELESS)
        digest = self._read(found)
        if not self._logs:
            raise SourceError(
                f"none of the {len(self._others):,} values of {self._data} is a record of "
                f"{self._description.dataset.name}: they are {self._others.kinds()}; choose "
                "another --dataset, or describe your own in a TOML file"
            )
        if facts_of(open_file(self._data)) != found.facts:
            raise StoreDamaged(
                f"{self._data} changed while it was read: wait for the program that writes it, and "
                "run the same command again"
            )
        extents = build(self._store, [DATA], self._headers, without=self._others.keys)
        shard = Shard(DATA, len(extents), int(found.facts["bytes"]), digest)
        logs = {name: self._logs[name] for name in self._description.modalities
                if name in self._logs}  # fmt: skip
        joined = join(self._description, logs, self._tables, self._files, SplitOptions())
        with _whole_or_nothing(self._store):
            (self._store / MANIFEST).unlink(missing_ok=True)  # of an earlier adoption
            write_metadata(self._store / METADATA, joined.table)
            write_extents(self._store, extents)
            manifest = self._manifest(logs, joined, shard)
            write_manifest(self._store, manifest)
        report = report_of(self._store, self._description, joined, manifest, self._files, absent)
        report.other_values = len(self._others)
        report.kinds_of_other_values = self._others.kinds()
        return report

    def _manifest(self, logs: Mapping[str, RecordLog], joined: Joined, shard: Shard) -> Manifest:
        modalities = {
            name: stored_modality(
                self._description,
                name,
                layout=self._layouts[name],
                records=len(log),
            )
            for name, log in logs.items()
        }
        return new_manifest(
            self._store,
            self._description,
            joined,
            modalities=modalities,
            shards=(shard,),
            options={
                "dataset": self._description.dataset.name,
                "split": "official",
                "adopted": DATA,
                **({OTHER_VALUES: len(self._others)} if self._others else {}),
            },
        )

    def _read(self, found: Scan) -> str:
        """Note every record in the order of the keys; the digest over keys and checksums."""
        digest = ContentDigest()
        self._progress.start("reading", len(found.keys), "values")
        done = nbytes = 0
        for name, value in values_in(self._data, found):
            record = self._identifier.identify(name, value)
            if isinstance(record, OtherRecord):
                self._others.add(name, record.why)
            else:
                checksum = xxhash.xxh3_64_intdigest(value)
                self._note(name, record, value, checksum)
                digest.add(name.decode(), checksum)  # the tree's keys ascend: `scan` has seen to it
            done, nbytes = done + 1, nbytes + len(value)
            if done == TOLD_AFTER:
                self._progress.advance(done, nbytes)
                done = nbytes = 0
        self._progress.advance(done, nbytes)
        return digest.text()

    def _note(self, name: bytes, record: AdoptedRecord, value: memoryview, checksum: int) -> None:
        """Note what a record is, and what the table will say of it."""
        modality = record.modality
        self._headers.add(value)
        layout = self._layouts.setdefault(modality.name, modality.layout)
        if layout != modality.layout:
            raise self._identifier.foreign(
                name, f"it is {modality.layout}, where those before are {layout}"
            )
        log = self._logs.get(modality.name)
        if log is None:
            columns = self._columns[modality.name]
            log = self._logs[modality.name] = RecordLog(columns, self._description.identity)
        reader = self._column_readers[modality.name]
        try:
            values = reader.read(record.patch, NO_FILES, value[record.pixels :])
        except PatchError as error:
            raise SourceError(f"record {name.decode()!r} of {self._data}: {error}") from None
        log.add(record.patch, Encoded(len(value), checksum, None, values))
