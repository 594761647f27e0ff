"""The extents of a finished store made anew, and what another program changed in its data file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from patchpress.converter.commands.changed_records import (
    ChangedRecords,
    compare,
    headers_and_digest,
    read_values,
)
from patchpress.converter.commands.changed_store import StoreChanges, take_changes
from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.parse import built_in_descriptions, find_description
from patchpress.converter.paths import StrPath
from patchpress.converter.progress import Progress
from patchpress.converter.storage.folder import writing
from patchpress.converter.text import as_text, named, several, size
from patchpress.readers.access.extents import Extents
from patchpress.readers.access.extents_file import read_extents, write_extents
from patchpress.readers.access.scan import HeaderList, Scan, build, scan
from patchpress.readers.access.shards import Shards
from patchpress.readers.errors import OptionError, StoreDamaged
from patchpress.readers.format.manifest import (
    DATA,
    EXTENTS,
    OTHER_VALUES,
    Manifest,
    Shard,
    read_manifest,
    write_manifest,
)
from patchpress.readers.format.store_files import require_inside
from patchpress.readers.format.table import read_table, record_keys


@dataclass(frozen=True, slots=True)
class Indexed:
    """What `index` did with a finished store."""

    store: str
    records: int
    bytes: int
    """Size of the file with the extents."""
    resized: bool = False
    """Whether the data file has another size than noted, and yet the same records."""
    changes: StoreChanges = field(default_factory=StoreChanges)
    """What another program changed in the data file."""

    def text(self) -> str:
        """A line for people, and what changed."""
        path, changes = Path(self.store) / EXTENTS, self.changes
        lines = [f"{path}: {self.records:,} records, {size(self.bytes)}"]
        if self.resized:
            lines.append("the data file was compacted: its records are the same, its size is noted")
        for what, keys in (
            ("records that were added", changes.added),
            ("records that were removed", changes.removed),
            ("records with other bytes than before (convert again if no program replaced them)",
             changes.replaced),
        ):  # fmt: skip
            lines += named(what, keys)
        if changes.rows_added or changes.rows_removed:
            lines.append(
                f"  metadata.parquet: {several(changes.rows_added, 'row')} added, "
                f"{several(changes.rows_removed, 'row')} removed"
            )
        if changes.without_split:
            lines.append(
                f"  rows that were added without a split: {changes.without_split:,} (tables and "
                "lists give one: --path NAME=FILE)"
            )
        lines += [f"  {note}" for note in changes.notes]
        if changes.others:
            lines.append(
                f"  values that are no records, left out: {len(changes.others):,}, "
                f"{changes.others.kinds()}"
            )
        return as_text(lines)


class IndexAgain:
    """A finished store while its extents are made anew."""

    def __init__(
        self,
        store: Path,
        manifest: Manifest,
        dataset: StrPath | None,
        paths: Mapping[str, Path],
        progress: Progress,
    ) -> None:
        self._store, self._manifest, self._progress = store, manifest, progress
        self._dataset, self._paths = dataset, paths

    def run(self) -> Indexed:
        """Rebuild the extents; if the data file is not as it was, find out what changed."""
        manifest, files = self._manifest, [shard.path for shard in self._manifest.shards]
        Shards(self._store, manifest.shards)  # says which lack
        scans = [scan(require_inside(self._store, name)) for name in files]
        count = sum(len(one.keys) + len(one.nameless) for one in scans)
        others = int(manifest.options.get(OTHER_VALUES) or 0)
        if count == manifest.records + others and self._is_as_before(scans):
            self._refuse_options()
            without = self._other_keys(scans[0]) if others else frozenset[bytes]()
            return self._rebuilt(files, without)
        if len(files) > 1:
            return self._compacted(scans)
        return self._changed(scans[0])

    def _is_as_before(self, scans: Sequence[Scan]) -> bool:
        """Whether the data files are those of the manifest, as far as can be told unread."""
        shards = self._manifest.shards
        if any(one.facts["bytes"] != s.bytes for one, s in zip(scans, shards, strict=True)):
            return False
        extents, _ = read_extents(self._store, [shard.path for shard in shards])
        return extents is not None  # then they were made from this very data file

    def _refuse_options(self) -> None:
        if self._dataset is not None or self._paths:
            raise OptionError(
                f"{self._store} is a finished store of {self._manifest.dataset.name}, and no "
                "program changed its records: leave --dataset and --path out"
            )

    def _other_keys(self, found: Scan) -> frozenset[bytes]:
        """The keys of values that are no records: those that no row of the table names."""
        names = (record_keys(self._store, self._manifest, m) for m in self._manifest.modalities)
        listed = {key.encode() for keys in names for key in keys}
        return frozenset(key for key in found.keys.tolist() if key not in listed)

    def _rebuilt(self, files: Sequence[str], without: Collection[bytes]) -> Indexed:
        self._progress.start("indexing", self._manifest.records)
        extents = build(
            self._store,
            files,
            progress=lambda count: self._progress.advance(count, 0),
            without=without,
        )
        return self._written(extents)

    def _written(self, extents: Extents, manifest: Manifest | None = None) -> Indexed:
        with writing(self._store):
            write_extents(self._store, extents)
            if manifest is not None:
                write_manifest(self._store, manifest)
        nbytes = (self._store / EXTENTS).stat().st_size
        return Indexed(str(self._store), len(extents), nbytes, resized=manifest is not None)

    def _compacted(self, scans: Sequence[Scan]) -> Indexed:
        """Read every value of all shards, which must be what they were: only their pages differ.

        Raises:
            StoreDamaged: a shard has other records.
        """
        store, manifest = self._store, self._manifest
        self._refuse_options()
        headers, shards = HeaderList(), []
        for found, shard in zip(scans, manifest.shards, strict=True):
            data = read_values(store / shard.path, found, self._progress)
            _, digest = headers_and_digest(data, (), headers)
            if digest != shard.digest:
                raise StoreDamaged(
                    f"{store / shard.path} has other records than the manifest says, and those of "
                    "a store in shards are not changed: put back the file, or convert again"
                )
            shards.append(replace(shard, bytes=int(found.facts["bytes"])))
        extents = build(store, [shard.path for shard in shards], headers)
        is_same = manifest.shards == tuple(shards)
        return self._written(extents, None if is_same else replace(manifest, shards=tuple(shards)))

    def _changed(self, found: Scan) -> Indexed:
        """Read every value, and take what another program changed."""
        manifest, store = self._manifest, self._store
        data = read_values(store / DATA, found, self._progress)
        table = read_table(store, manifest)
        changed = compare(data, manifest, table)
        if not changed.count and not found.nameless:
            self._refuse_options()
            headers, digest = headers_and_digest(data, ())
            extents = build(store, [DATA], headers)
            shard = Shard(DATA, len(extents), int(found.facts["bytes"]), digest)
            is_same = manifest.shards == (shard,)
            return self._written(extents, None if is_same else replace(manifest, shards=(shard,)))
        description = self._description(changed)
        changes = take_changes(store, manifest, description, self._paths, data, table, changed)
        nbytes, records = (store / EXTENTS).stat().st_size, read_manifest(store).records
        resized = not changes and found.facts["bytes"] != manifest.shards[0].bytes
        return Indexed(str(store), records, nbytes, resized=resized, changes=changes)

    def _description(self, changed: ChangedRecords) -> Description:
        """The description that says what new records are.

        Raises:
            OptionError: it is not known, or is given and of another dataset.
        """
        name = self._manifest.dataset.name
        if self._dataset is None and name not in built_in_descriptions():
            raise OptionError(
                f"{several(changed.count, 'record')} of {self._store / DATA} changed, and only "
                f"the description of {name} says what they are: give it with --dataset FILE"
            )
        description = find_description(name if self._dataset is None else self._dataset)
        if description.dataset.name != name:
            raise OptionError(
                f"{self._store} is a store of {name}, not of {description.dataset.name}: give its "
                "own --dataset, or none"
            )
        return description
