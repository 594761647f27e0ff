"""`verify`: every record of a store read back, alone or against the source it was made from."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from patchpress.converter.commands.compare import compare
from patchpress.converter.commands.maplabels import MapLabels
from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.parse import built_in_descriptions, find_description
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.sources.locate import locate
from patchpress.converter.sources.order import require_patches
from patchpress.readers.access.environment import lent_environment
from patchpress.readers.access.extents import Extents, read_extents
from patchpress.readers.access.scan import HEADERS_KEPT, HeaderList, build
from patchpress.readers.errors import ExtentsUnusable, OptionError, StoreDamaged
from patchpress.readers.format.manifest import METADATA, ContentDigest, file_digest
from patchpress.readers.format.record import (
    Decompressor,
    decode,
    decode_with_safetensors,
    form_in,
    is_compressed,
)
from patchpress.readers.format.table import checksum_column, flag_mask, presence_column, record_keys
from patchpress.readers.store import Store, open_store

SHOWN = 20


@dataclass
class Verdict:
    """What `verify` found; `good` if nothing is wrong."""

    store: str
    records: int = 0
    compared: int = 0
    """Records compared with the source, pixel by pixel."""
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        return not self.problems

    def text(self) -> str:
        """The verdict for people."""
        found = f"{len(self.problems):,} problem{'s' * (len(self.problems) > 1)}"
        state = "good" if self.good else f"BAD, {found}"
        lines = [f"{self.store}: {state}", f"  records read back         {self.records:,}"]
        if self.compared:
            lines.append(f"  compared with the source  {self.compared:,}")
        lines += [f"  {problem}" for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"  … and {len(self.problems) - SHOWN:,} more")
        return "\n".join(lines)


def verify(
    store: StrPath,
    against: StrPath | None = None,
    *,
    paths: Mapping[str, StrPath] | None = None,
    workers: int | None = None,
    dataset: StrPath | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Read every record of a store back: count, checksum, form; with a source, every pixel.

    Where the description has a rule that makes labels from a map, and the table gave the labels,
    both are compared. `dataset` names the description of a dataset that is not built in.

    Raises:
        StoreError: there is no store to verify, or its files are not as long as they should be.
        SourceError: the source is not the dataset that the store was made from, or an archive of it
            is damaged or ends early.
    """
    if paths and against is None:
        raise OptionError("--path says where parts of a source lie: give the source with --against")
    if workers is not None and workers < 0:
        raise OptionError(f"workers must be 0 or more, not {workers}")
    progress = progress or NoProgress()
    verdict = Verdict(str(store))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ExtentsUnusable)
        opened = open_store(store)
    stale = [str(warning.message) for warning in told]
    name = dataset or opened.manifest.dataset.name
    if against and not dataset and name not in built_in_descriptions():
        raise OptionError(
            f"the store was made by a description of your own, {name}: give it with --dataset FILE"
        )
    description = find_description(name) if dataset or name in built_in_descriptions() else None
    if description is None or against is None:
        progress.start(len(opened), "records")
        _read_back(opened, description, verdict, progress)
        verdict.problems += stale
        return verdict
    located = {name: local_path(path) for name, path in (paths or {}).items()}
    modalities = tuple(opened.manifest.modalities)
    parts = locate(description, local_path(against), located, modalities)
    require_patches(description, parts)
    # Its workers fork before this process opens the store's LMDB environment.
    found = compare(opened, description, parts, workers, progress)
    verdict.compared, verdict.problems = found.compared, found.problems + stale
    if found.total is None:  # what was told of archives says nothing of the records
        progress.start(len(opened), "records")
    _read_back(opened, description, verdict, progress)
    verdict.problems += _without_source(opened, found.keys)
    return verdict


def _without_source(store: Store, compared: Mapping[str, list[str]]) -> list[str]:
    """A sentence for each modality with records whose patches the source does not have."""
    problems = []
    for name in store.manifest.modalities:
        there = set(compared[name])
        lacking = [k for k in record_keys(store.path, store.manifest, name) if k not in there]
        if lacking:
            shown = ", ".join(lacking[:3]) + (", …" if len(lacking) > 3 else "")
            problems.append(f"{len(lacking):,} {name} records have no patch in the source: {shown}")
    return problems


def _read_back(
    store: Store, description: Description | None, verdict: Verdict, progress: Progress
) -> None:
    """Every record in key order: its form, its labels, and the digest over all of them."""
    checker = _RecordChecker(store)
    digest = ContentDigest()
    keys: list[str] = []
    checksums: list[str] = []
    labels = MapLabels(store, description)
    headers = HeaderList()
    for key, value in _values(store.path):
        headers.add(value)
        checksum = xxhash.xxh3_64_intdigest(value)
        keys.append(key)
        checksums.append(f"{checksum:016x}")
        problem = checker.problem(key, value) or labels.note(key, value)
        if problem:
            verdict.problems.append(f"record {key}: {problem}")
        with suppress(ValueError):  # a key out of order, which the digest will show
            digest.add(key, checksum)
        verdict.records += 1
        progress.advance(1, len(value))
    for name, modality in store.manifest.modalities.items():
        if checker.counts[name] != modality.records:
            verdict.problems.append(
                f"{checker.counts[name]:,} {name} records where the manifest counts "
                f"{modality.records:,}"
            )
    if digest.text() != store.manifest.shards[0].digest:
        verdict.problems.append(
            "keys and checksums differ from the digest in the manifest: convert again"
        )
    verdict.problems += labels.differences()
    verdict.problems += table_differences(store, keys, checksums)
    verdict.problems += manifest_differences(store)
    extents, _ = read_extents(store.path, [shard.path for shard in store.manifest.shards])
    if extents is not None:
        verdict.problems += extents_differences(store, extents, headers)


def extents_differences(store: Store, extents: Extents, headers: HeaderList) -> list[str]:
    """The extents beside a store against its data file: a sentence for the first that differ."""
    try:
        fresh = build(store.path, [shard.path for shard in store.manifest.shards], headers)
    except StoreDamaged as error:
        return [str(error)]
    again = f"run `patchpress index {store.path}`"
    if len(fresh) != len(extents):
        return [f"the extents have {len(extents):,} of {len(fresh):,} records: {again}"]
    differs = (extents.keys != fresh.keys) | (_headers_of(extents) != _headers_of(fresh))
    for one, other in (
        (extents.shard, fresh.shard),
        (extents.offset, fresh.offset),
        (extents.length, fresh.length),
    ):
        differs |= one != other
    places = np.flatnonzero(differs).tolist()
    shown = ", ".join(fresh.key(place) for place in places[:3]) + ", …" * (len(places) > 3)
    return [f"the extents are wrong about {len(places):,} records ({shown}): {again}"] * bool(
        places
    )


def _headers_of(extents: Extents) -> npt.NDArray[np.object_]:
    """The header that each record begins with, None where it has to be asked."""
    known = np.array([*extents.headers, None], object)
    return known[np.minimum(extents.header_number, len(extents.headers))]


def _values(path: Path) -> Iterator[tuple[str, memoryview]]:
    with lent_environment(path) as environment, environment.begin(buffers=True) as transaction:
        for key, value in transaction.cursor():
            yield bytes(key).decode(errors="backslashreplace"), value


class _RecordChecker:
    """Whether records are what the manifest says; right ones are counted by modality."""

    def __init__(self, store: Store) -> None:
        self.counts = dict.fromkeys(store.manifest.modalities, 0)
        self._store = store
        self._decompress = Decompressor()
        self._read_by_library: set[bytes] = set()

    def problem(self, key: str, value: memoryview) -> str | None:
        """What is wrong with the bytes of a record, as stored; None if nothing is."""
        compressed = is_compressed(value)
        try:
            record = self._decompress(value) if compressed else value
            form = form_in(record)
            # Records of one header differ in their pixels only, so the first one speaks for all.
            known = form.header in self._read_by_library
            if not known and len(self._read_by_library) < HEADERS_KEPT:
                self._read_by_library.add(form.header)
                if not _reads_alike(record):
                    return "safetensors reads other arrays from it than this package"
        except StoreDamaged as error:
            return str(error)
        found = self._store.manifest.matches(form)
        if not found:
            return "its tensors are not those of any modality in the manifest"
        modality = found[0] if len(found) == 1 else self._store.modality_of(key)
        self.counts[modality.name] += 1
        if compressed != (modality.compression.codec == "zstd"):
            return f"it is {'' if compressed else 'not '}compressed, against the manifest"
        return None


def _reads_alike(record: memoryview) -> bool:
    """Whether the library that owns the format gives the same arrays as this package."""
    ours, theirs = decode(record), decode_with_safetensors(record)
    return ours.keys() == theirs.keys() and all(
        (array.dtype, array.shape) == (theirs[name].dtype, theirs[name].shape)
        and array.tobytes() == theirs[name].tobytes()
        for name, array in ours.items()
    )


def table_differences(store: Store, keys: list[str], checksums: list[str]) -> list[str]:
    """metadata.parquet against the stored records: a sentence for each key that differs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    problems = []
    stored, sums = pa.array(keys, pa.string()), pa.array(checksums, pa.string())
    listed = []
    for name in store.manifest.modalities:
        named = pa.array(record_keys(store.path, store.manifest, name), pa.string())
        table = store.table(columns=[checksum_column(name), presence_column(name)])
        given = table.filter(table[presence_column(name)])[checksum_column(name)].combine_chunks()
        at = pc.index_in(named, value_set=stored)
        same = pc.fill_null(pc.equal(sums.take(at), given), False)
        for key in named.filter(pc.is_null(at)).to_pylist():
            problems.append(f"record {key} is in metadata.parquet, but not stored")
        for key in named.filter(pc.and_(pc.is_valid(at), pc.invert(same))).to_pylist():
            problems.append(f"record {key} differs from its checksum in metadata.parquet")
        listed.append(named)
    together = pa.chunked_array(listed, pa.string())
    for key in stored.filter(pc.invert(pc.is_in(stored, value_set=together))).to_pylist():
        problems.append(f"record {key} is stored, but no row of metadata.parquet has it")
    counts = pc.value_counts(together)
    for entry in counts.filter(pc.greater(counts.field("counts"), 1)).to_pylist():
        problems.append(f"record {entry['values']} is in metadata.parquet twice")
    return problems


def manifest_differences(store: Store) -> list[str]:
    """metadata.parquet against the counts and classes that the manifest gives."""
    import pyarrow.compute as pc

    manifest, table = store.manifest, store.table()
    problems = []
    if file_digest(store.path / METADATA) != manifest.metadata_digest:
        problems.append("metadata.parquet is not the file that was written with the manifest")
    if len(table) != manifest.rows:
        problems.append(
            f"metadata.parquet has {len(table):,} rows where the manifest counts {manifest.rows:,}"
        )
    splits = manifest.splits
    if splits and manifest.split_column not in table.column_names:
        problems.append(f"metadata.parquet has no column {manifest.split_column!r}, the splits")
        splits = {}
    for split, counts in splits.items():
        part = table.filter(pc.equal(table[manifest.split_column], split))
        for name, count in counts.items():
            found = (
                len(part) if name == "rows" else pc.sum(part[presence_column(name)]).as_py() or 0
            )
            if found != count:
                problems.append(
                    f"split {split} has {found:,} {name} where the manifest counts {count:,}"
                )
    flags = manifest.flagged.columns
    missing = [name for name in flags if name not in table.column_names]
    problems += [f"metadata.parquet has no column {name!r}, which flags rows" for name in missing]
    for split, counts in manifest.flagged.splits.items() if splits and not missing else ():
        part = table.filter(pc.equal(table[manifest.split_column], split))
        found = pc.sum(flag_mask(flags, part)).as_py() or 0
        if found != counts["rows"]:
            problems.append(
                f"split {split} has {found:,} flagged rows where the manifest counts "
                f"{counts['rows']:,}"
            )
    for column, known in [
        *manifest.classes.items(),
        (manifest.split_column, tuple(manifest.splits)),
    ]:
        if column in table.column_names:
            values = table[column]
            flat = pc.list_flatten(values) if hasattr(values.type, "value_type") else values
            for value in pc.unique(flat).drop_null().to_pylist():
                if isinstance(value, str) and value not in known:
                    problems.append(
                        f"column {column} of metadata.parquet has {value!r}, which the manifest "
                        "does not know"
                    )
    return problems
