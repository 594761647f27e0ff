"""Takes the records of a finished store as another program left them: table, extents, manifest.

The data file is not written. Files of the store are replaced one after the other, the manifest
last; if that is interrupted, the same command does it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.commands.adopt_records import (
    NAMELESS,
    OtherRecord,
    RecordIdentifier,
)
from patchpress.converter.commands.changed_records import (
    ChangedRecords,
    DataValues,
    headers_and_digest,
)
from patchpress.converter.commands.changed_table import (
    GROUND,
    edit_known_rows,
    with_modalities,
    with_new_rows,
    without_empty_rows,
    without_records,
)
from patchpress.converter.commands.other_records import OtherRecords
from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.labels import record_columns
from patchpress.converter.encoding.columnreader import ColumnReader
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.sources.file_patterns import files_named
from patchpress.converter.sources.files import MemoryFiles
from patchpress.converter.sources.locate import locate_files
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.new_manifest import new_manifest, stored_modality
from patchpress.converter.storage.ownership import CHANGED
from patchpress.converter.storage.replaced_table import replace_table
from patchpress.converter.tables.acquired_dates import with_dates_again
from patchpress.converter.tables.metadata import Joined, join
from patchpress.converter.tables.official import Tables, check_tables
from patchpress.converter.tables.published_columns import KEPT_AS
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.converter.tables.split_column import SplitOptions
from patchpress.readers.access.scan import build
from patchpress.readers.errors import PatchError, SourceError, StoreDamaged
from patchpress.readers.format.compression import codec_of
from patchpress.readers.format.manifest import (
    DATA,
    OTHER_VALUES,
    Manifest,
    Shard,
)
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import (
    checksum_column,
    key_column,
    presence_column,
)
from patchpress.readers.format.time_axis import date_column, time_columns

if TYPE_CHECKING:
    import pyarrow as pa

NO_FILES = MemoryFiles({})  # the JSON files beside the pixels were not stored


@dataclass
class StoreChanges:
    """What another program changed, by the keys of the records."""

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    others: OtherRecords = field(default_factory=OtherRecords)
    """Values that are no records."""
    rows_added: int = 0
    rows_removed: int = 0
    without_split: int = 0
    """Rows that were added and have no split, though others have one."""
    notes: list[str] = field(default_factory=list)
    """A sentence for each modality that lacks dates of some records."""

    def __bool__(self) -> bool:
        return bool(self.added or self.replaced or self.removed)


def take_changes(
    store: Path,
    manifest: Manifest,
    description: Description,
    paths: Mapping[str, Path],
    data: DataValues,
    table: "pa.Table",
    changed: ChangedRecords,
) -> StoreChanges:
    """Write anew what describes the records of a store.

    Args:
        store: a finished store of one data file.
        manifest: its manifest, whose data file may have other records now.
        description: of its dataset.
        paths: tables and lists for records that are new, by their names in the description.
        data: the values of the data file as they are now.
        table: metadata.parquet as it was.
        changed: how they differ.

    Raises:
        SourceMissing, TableError, OptionError: a table that is not there, or not as described.
        SourceError: a new record is not of the dataset.
        StoreDamaged: a record is not one any more; the data file changed meanwhile.
        TargetError: the folder cannot be written.
    """
    update = _Update(store, manifest, data, table, description)
    update.remove(changed)
    update.read_changed(changed, paths)
    return update.write()


class _Update:
    """One store while its table and manifest are made anew."""

    def __init__(
        self,
        store: Path,
        manifest: Manifest,
        data: DataValues,
        table: "pa.Table",
        description: Description,
    ) -> None:
        self._store, self._manifest, self._data = store, manifest, data
        self._table, self._description = table, description
        self._modalities = dict(manifest.modalities)
        self.changes = StoreChanges()
        for key in data.found.nameless:
            self.changes.others.add(key, NAMELESS)

    def remove(self, changed: ChangedRecords) -> None:
        """Take the records out of the table that are gone."""
        names: dict[str, list[str]] = {}
        for name, keys in changed.removed.items():
            modality = self._modalities[name]
            prefix, suffix = modality.key.split(f"{{{key_column(modality)}}}")
            names[name] = [key.removeprefix(prefix).removesuffix(suffix) for key in keys]
            self.changes.removed += keys
        columns = {name: key_column(modality) for name, modality in self._modalities.items()}
        self._table = without_records(self._table, columns, names)

    def read_changed(self, changed: ChangedRecords, paths: Mapping[str, Path]) -> None:
        """Put the records into the table that are new or were replaced."""
        files = locate_files(self._description, paths)
        tables = files_named(files, self._description.tables)
        checked = check_tables(self._description, tables) if tables else None
        logs = self._logs(changed, has_tables=checked is not None)
        order = [name for name in self._description.modalities if name in self._modalities]
        self._modalities = {name: self._modalities[name] for name in order}
        self._table = with_modalities(self._table, order)
        self._table, new = edit_known_rows(self._table, self._description, logs)
        if new:
            self._add_rows({name: new[name] for name in order if name in new}, checked, files)

    def _add_rows(
        self, logs: Mapping[str, RecordLog], tables: Tables | None, files: Mapping[str, Path]
    ) -> None:
        """Add the rows that a conversion would give to records that no row names."""
        options, column = self._manifest.options, self._manifest.split_column
        # Scenes of the validation share, and blocks of ground, were drawn from all rows: a new row
        # has no split then.
        is_drawn = options.get("validation") or options.get("block")
        strategy = "none" if is_drawn else str(options.get("split", "official"))
        joined = join(self._description, logs, tables, files, SplitOptions(strategy))
        before, names = len(self._table), list(self._modalities)
        self._table = with_new_rows(self._table, joined.table, names, self._description.identity)
        self.changes.rows_added = len(self._table) - before
        if self._manifest.splits and column in self._table.column_names:
            self.changes.without_split = self._table[column][before:].null_count

    def _logs(self, changed: ChangedRecords, *, has_tables: bool) -> dict[str, RecordLog]:
        """Modality -> what its new and replaced records tell."""
        description = self._description
        known = [*self._manifest.modalities.values(), *self._absent()]
        identifier = RecordIdentifier(self._data.path, description, known)
        rules = description.record_rules(has_tables=has_tables or self._is_from_tables())
        readers = {name: ColumnReader(m, rules) for name, m in description.modalities.items()}
        logs: dict[str, RecordLog] = {}
        replaced = {at for some in changed.replaced.values() for at in some}
        for position in sorted([*changed.unknown, *replaced]):
            name, value = self._data.found.keys[position].item(), self._data.value(position)
            record = identifier.identify(name, value)
            if isinstance(record, OtherRecord):
                if position in replaced:
                    raise StoreDamaged(
                        f"record {name.decode()} of {self._data.path} is none any more (it is one "
                        f"{record.why}): put it back, remove it, or convert again"
                    )
                self.changes.others.add(name, record.why)
                continue
            modality = record.modality
            self._check_compression(identifier, name, value, modality)
            if modality.name not in logs:
                columns = record_columns(description.modalities[modality.name], rules)
                logs[modality.name] = RecordLog(columns, description.identity)
            self._modalities.setdefault(modality.name, modality)
            try:
                pixels = identifier.plain(value)[record.pixels :]
                values = readers[modality.name].read(record.patch, NO_FILES, pixels)
            except PatchError as error:
                raise SourceError(f"record {name.decode()} of {self._data.path}: {error}") from None
            checksum = int(self._data.checksums[position])
            logs[modality.name].add(record.patch, Encoded(len(value), checksum, None, values))
            told = self.changes.replaced if position in replaced else self.changes.added
            told.append(name.decode())
        return logs

    def _absent(self) -> list[Modality]:
        """The modalities that the store does not have, as records of it would be."""
        layout = next(iter(self._manifest.modalities.values())).layout
        return [
            stored_modality(self._description, name, layout=layout)
            for name in self._description.modalities
            if name not in self._manifest.modalities
        ]

    def _check_compression(
        self, identifier: RecordIdentifier, name: bytes, value: memoryview, modality: Modality
    ) -> None:
        codec, usual = codec_of(value), modality.compression.codec
        if codec != usual:
            why = f"its compression is {codec}, but {usual} of the other records of its kind"
            raise identifier.foreign(name, why)

    def _is_from_tables(self) -> bool:
        """Whether official tables gave the rows: they have columns that nothing else gives."""
        description = self._description
        given = {description.identity, *description.labels, *description.flags, *GROUND}
        given |= {self._manifest.split_column, f"{KEPT_AS}{self._manifest.split_column}"}
        for name, modality in description.modalities.items():
            given |= {modality.key_column, presence_column(name), checksum_column(name)}
            given |= {*modality.columns, *time_columns([name])}
            given |= {date_column(name)} if modality.date else set()
        return not set(self._table.column_names) <= given

    def write(self) -> StoreChanges:
        """Write table, extents and manifest, each whole or not at all."""
        before, identity = len(self._table), self._description.identity
        self._table = without_empty_rows(self._table, list(self._modalities), identity)
        self.changes.rows_removed = before - len(self._table)
        if not len(self._table):
            raise StoreDamaged(
                f"{self._data.path} has none of its records any more: put them back, or remove the "
                "store and convert again"
            )
        others = set(self.changes.others.keys)
        there = list(self._modalities)
        self._table, undated = with_dates_again(self._description, self._table, there)
        self.changes.notes += undated
        headers, digest = headers_and_digest(self._data, others)
        extents = build(self._store, [DATA], headers, without=others)
        facts = self._data.found.facts
        if dict(extents.files[0]) != {"path": DATA, **facts}:
            raise StoreDamaged(
                f"{self._data.path} changed while it was read: wait for the program that writes "
                "it, and run the same command again"
            )
        shard = Shard(DATA, len(extents), int(facts["bytes"]), digest)
        with writing(self._store):
            manifest = self._new_manifest(shard, len(others))
            replace_table(
                self._store,
                self._table,
                lambda digest: replace(manifest, metadata_digest=digest),
                extents,
            )
        return self.changes

    def _new_manifest(self, shard: Shard, others: int) -> Manifest:
        import pyarrow.compute as pc

        present = {name: self._table[presence_column(name)] for name in self._modalities}
        counts = {name: int(pc.sum(column).as_py() or 0) for name, column in present.items()}
        modalities = {
            name: replace(modality, records=counts[name])
            for name, modality in self._modalities.items()
            if counts[name]
        }
        options = {n: v for n, v in self._manifest.options.items() if n != OTHER_VALUES}
        if "adopted" not in options and (self.changes.added or self.changes.replaced):
            options[CHANGED] = DATA
        if others:
            options[OTHER_VALUES] = others
        joined = Joined(self._table, 0, {}, {}, {}, [])
        return new_manifest(
            self._store,
            self._description,
            joined,
            modalities=modalities,
            shards=(shard,),
            options=options,
        )
