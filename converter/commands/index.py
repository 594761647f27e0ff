"""`index`: rebuilds the extents of a store, or makes the LMDB of another program a store."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import xxhash

from patchpress.converter.commands.adopt import adopt
from patchpress.converter.commands.data_file import values_in
from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.report import Report
from patchpress.readers.access.extents import Extents, write_extents
from patchpress.readers.access.scan import build, scan
from patchpress.readers.errors import OptionError, StoreDamaged
from patchpress.readers.format.manifest import (
    DATA,
    EXTENTS,
    MANIFEST,
    MARKER,
    ContentDigest,
    Manifest,
    Shard,
    read_manifest,
    write_manifest,
)


@dataclass(frozen=True, slots=True)
class Indexed:
    """What `index` did with a finished store."""

    store: str
    records: int
    bytes: int
    """Size of the file with the extents."""
    resized: bool = False
    """Whether the data file has another size than noted, and yet the same records."""

    def text(self) -> str:
        """One line for people, or two."""
        path = Path(self.store) / EXTENTS
        lines = [f"{path}: {self.records:,} records, {self.bytes:,} bytes"]
        if self.resized:
            lines.append("the data file was compacted: its records are the same, its size is noted")
        return "\n".join(lines)


def index(
    store: StrPath,
    dataset: StrPath | None = None,
    *,
    paths: Mapping[str, StrPath] | None = None,
    progress: Progress | None = None,
) -> Indexed | Report:
    """Rebuild the extents of a finished store, or make the LMDB of another program a store.

    The pages of the data file are read without LMDB: it must have the data format of LMDB 0.9.

    Args:
        store: folder with the data file.
        dataset: name of the description by which records without a manifest are known, or the path
            of a TOML file; None for a finished store.
        paths: tables and lists of the dataset, by their names in the description.
        progress: told of every few records that are read.

    Raises:
        StoreMissing, StoreUnfinished, StoreDamaged, FormatUnknown: there is nothing to index.
        OptionError, DescriptionError, SourceError: as `patchpress.converter.commands.adopt.adopt`.
        TargetError: the folder cannot be written.
    """
    folder, progress = local_path(store), progress or NoProgress()
    if dataset is not None and _is_adoptable(folder):
        located = {name: local_path(path) for name, path in (paths or {}).items()}
        return adopt(folder, find_description(dataset), located, progress)
    manifest = read_manifest(folder)
    if dataset is not None or paths:
        raise OptionError(
            f"{folder} is a finished store of {manifest.dataset.name}: leave --dataset and --path "
            "out, which are for records that another program wrote"
        )
    return _index(folder, manifest, progress)


def _is_adoptable(store: Path) -> bool:
    """Whether the records are another program's, and may be adopted, or adopted again."""
    if (store / MANIFEST).exists():
        return "adopted" in read_manifest(store).options
    return (store / DATA).exists() and not (store / MARKER).exists()


def _index(store: Path, manifest: Manifest, progress: Progress) -> Indexed:
    """Rebuild the extents of a finished store; note the size of a data file that was compacted."""
    progress.start(manifest.records, "records")
    extents = build(
        store, [shard.path for shard in manifest.shards], progress=lambda n: progress.advance(n, 0)
    )
    if len(extents) != manifest.records:
        raise StoreDamaged(
            f"{store} has {len(extents):,} records where the manifest counts "
            f"{manifest.records:,}: {_again(store, manifest)}"
        )
    shards = _shards_now(store, manifest, extents, progress)
    resized = shards != manifest.shards
    with writing(store):
        write_extents(store, extents)
        if resized:
            write_manifest(store, replace(manifest, shards=shards))
    return Indexed(str(store), len(extents), (store / EXTENTS).stat().st_size, resized)


def _shards_now(
    store: Path, manifest: Manifest, extents: Extents, progress: Progress
) -> tuple[Shard, ...]:
    """The shards with the sizes that their files have; a compaction changes nothing else.

    Raises:
        StoreDamaged: a file of another size does not hold the same records.
    """
    shards = []
    for shard, facts in zip(manifest.shards, extents.files, strict=True):
        if facts["bytes"] != shard.bytes:
            digest = _digest(store / shard.path, progress)
            if digest != shard.digest:
                raise StoreDamaged(
                    f"{store / shard.path} has {facts['bytes']} bytes where the manifest promises "
                    f"{shard.bytes}, and other records: {_again(store, manifest)}"
                )
        shards.append(replace(shard, bytes=facts["bytes"]))
    return tuple(shards)


def _again(store: Path, manifest: Manifest) -> str:
    """What the user can do if the records are not those of the manifest."""
    if "adopted" in manifest.options:
        return f"run `patchpress index {store} --dataset NAME` again, with its tables"
    return "copy or convert the store again"


def _digest(path: Path, progress: Progress) -> str:
    """The digest over keys and checksums of a data file, for which every value is read."""
    digest = ContentDigest()
    found = scan(path)
    progress.start(len(found.keys), "records")
    for name, value in values_in(path, found):
        try:
            digest.add(name.decode(), xxhash.xxh3_64_intdigest(value))
        except ValueError:  # no text, or out of order: no record of the manifest's
            return ""
        progress.advance(1, len(value))
    return digest.text()
