"""An LMDB of another program made a store: its records are described, and none is written anew.

The data file is read by its own pages, never opened by LMDB: nothing is locked or changed, and a
truncated one ends in a sentence.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import xxhash

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.labels import record_columns
from patchpress.converter.descriptions.patterns import key_pattern
from patchpress.converter.encoding.columnreader import ColumnReader
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.progress import Progress
from patchpress.converter.sources.files import MemoryFiles
from patchpress.converter.sources.locate import locate_files
from patchpress.converter.sources.patch import Patch, named_patch
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.new_manifest import new_manifest, stored_modality
from patchpress.converter.storage.report import Report, report_of, save_report
from patchpress.converter.tables.metadata import join, write_metadata
from patchpress.converter.tables.official import Tables, check_tables
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.converter.tables.split_column import SplitOptions
from patchpress.readers.access.extents import FORMAT, facts_of, write_extents
from patchpress.readers.access.files import open_file
from patchpress.readers.access.scan import HeaderList, Scan, build, scan
from patchpress.readers.errors import PatchError, SourceError, StoreDamaged, TargetError
from patchpress.readers.format.manifest import (
    DATA,
    EXTENTS,
    MANIFEST,
    METADATA,
    ContentDigest,
    Shard,
    write_manifest,
)
from patchpress.readers.format.modality import Compression, Modality, matching
from patchpress.readers.format.record import Form, form_in
from patchpress.readers.format.table import checksum_column

CHUNK = 256  # records between two words to the progress
LAYOUTS = ("native", "stacked")
NO_FILES = MemoryFiles({})  # sidecars are long gone


def adopt(
    store: Path, description: Description, paths: Mapping[str, Path], progress: Progress
) -> Report:
    """Read every value once and write metadata.parquet, extents and, last, manifest.json.

    Raises:
        OptionError, SourceMissing, TableError: a table that is not there, or not as described.
        SourceError: a record of another dataset; the message names it.
        StoreMissing, StoreDamaged: no data file that can be read.
        TargetError: the folder cannot be written, or has a file of that name.
    """
    begun = time.monotonic()
    files = locate_files(description, paths)
    absent = tuple(name for name in description.files() if name not in files)
    # What stands in files beside the pixels is not in the records.
    bare = {name: replace(m, sidecar=None) for name, m in description.modalities.items()}
    description = replace(description, modalities=bare)
    _check_folder(store)
    tables = {name: files[name] for name in description.tables if name in files}
    checked = check_tables(description, tables) if tables else None
    adoption = _Adoption(store, description, files, checked, progress)
    report = adoption.run(absent)
    report.seconds = time.monotonic() - begun
    save_report(report, store)
    return report


def _check_folder(store: Path) -> None:
    """Refuse a folder that cannot be written, or whose table is not one of ours."""
    probe = store / f"{MANIFEST}.partial"
    with writing(store):
        probe.write_bytes(b"")
        probe.unlink()
    for name in (METADATA, EXTENTS):
        if (store / name).exists() and not _is_ours(store / name):
            raise TargetError(
                f"{store / name} would be replaced: move it out of the folder, and if it is a "
                "table of the dataset name it with --path"
            )


def _is_ours(file: Path) -> bool:
    """Whether it is of a store, as an adoption that was killed leaves it."""
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
    """Take away what was written if the manifest is not reached."""
    try:
        with writing(store):
            yield
    except BaseException:
        for name in (MANIFEST, EXTENTS, METADATA):
            (store / name).unlink(missing_ok=True)
        raise


@dataclass(frozen=True, slots=True)
class _Kind:
    """A modality in the layout that records of some form have."""

    modality: Modality
    key: re.Pattern[str]
    first: int
    """The first byte of its first band, where codes are read."""


@dataclass
class _Adoption:
    """One run: what it was asked, and what it has found so far."""

    store: Path
    description: Description
    files: Mapping[str, Path]
    tables: Tables | None
    progress: Progress
    logs: dict[str, RecordLog] = field(default_factory=dict)
    layouts: dict[str, str] = field(default_factory=dict)
    headers: HeaderList = field(default_factory=HeaderList)
    kinds: dict[bytes, list[_Kind]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        description = self.description
        # Labels are derived from maps only where no table gives them, as in a conversion.
        rules = description.record_rules(has_tables=self.tables is not None)
        modalities = description.modalities
        self._column_readers = {name: ColumnReader(m, rules) for name, m in modalities.items()}
        self._columns = {name: record_columns(m, rules) for name, m in modalities.items()}
        self._keys = {name: key_pattern(m) for name, m in modalities.items()}
        self._known = [
            stored_modality(
                description,
                name,
                layout=layout,
                resampling="nearest",
                compression=Compression(),
                records=0,
            )
            for name in modalities
            for layout in LAYOUTS
        ]

    def run(self, absent: tuple[str, ...]) -> Report:
        """Read, join, write."""
        found = scan(self.store / DATA)
        if not len(found.keys):
            raise SourceError(f"{self.store / DATA} has no records: there is nothing to adopt")
        digest = self._read(found)
        if facts_of(open_file(self.store / DATA)) != found.facts:
            raise StoreDamaged(
                f"{self.store / DATA} changed while it was read: wait for the program that writes "
                "it, and run the same command again"
            )
        extents = build(self.store, [DATA], self.headers)
        ordered = {n: self.logs[n] for n in self.description.modalities if n in self.logs}
        joined = join(self.description, ordered, self.tables, self.files, SplitOptions())
        shard = Shard(DATA, len(found.keys), int(found.facts["bytes"]), digest)
        modalities = {
            name: stored_modality(
                self.description,
                name,
                layout=self.layouts[name],
                resampling="nearest",
                compression=Compression(),
                records=len(log),
            )
            for name, log in ordered.items()
        }
        settings = {"dataset": self.description.dataset.name, "split": "official", "adopted": DATA}
        with _whole_or_nothing(self.store):
            (self.store / MANIFEST).unlink(missing_ok=True)  # of an earlier adoption
            write_metadata(self.store / METADATA, joined.table)
            write_extents(self.store, extents)
            manifest = new_manifest(
                self.store,
                self.description,
                joined,
                modalities=modalities,
                shard=shard,
                options=settings,
            )
            write_manifest(self.store, manifest)
        return report_of(self.store, self.description, joined, manifest, self.files, absent)

    def _read(self, found: Scan) -> str:
        """Note every record in the order of the keys; the digest over keys and checksums."""
        data = open_file(self.store / DATA, readahead=True).bytes
        digest = ContentDigest()
        places = zip(found.keys.tolist(), found.offset.tolist(), found.length.tolist(), strict=True)
        self.progress.start(len(found.keys), "records")
        done = nbytes = 0
        for name, offset, length in places:
            value = data[offset : offset + length]
            checksum = xxhash.xxh3_64_intdigest(value)
            self._note(name, value, checksum)
            try:
                digest.add(name.decode(), checksum)
            except ValueError:
                raise SourceError(
                    f"{self.store / DATA} keeps {name!r} in another order than that of its bytes: "
                    "copy its records to a plain LMDB"
                ) from None
            done, nbytes = done + 1, nbytes + length
            if done == CHUNK:
                self.progress.advance(done, nbytes)
                done = nbytes = 0
        self.progress.advance(done, nbytes)
        return digest.text()

    def _note(self, name: bytes, value: memoryview, checksum: int) -> None:
        try:
            key, form = name.decode(), form_in(value)
        except UnicodeDecodeError:
            raise self._foreign(name, "its name is no text") from None
        except StoreDamaged:
            raise self._foreign(name, "it is no safetensors, or a compressed one") from None
        kind, patch = self._identified(key, form)
        modality = kind.modality
        self.headers.add(value)
        layout = self.layouts.setdefault(modality.name, modality.layout)
        if layout != modality.layout:
            raise self._foreign(name, f"it is {modality.layout}, where those before are {layout}")
        log = self.logs.get(modality.name)
        if log is None:
            columns = self._columns[modality.name]
            log = self.logs[modality.name] = RecordLog(columns, self.description.identity)
        try:
            values = self._column_readers[modality.name].read(patch, NO_FILES, value[kind.first :])
        except PatchError as error:
            raise SourceError(f"record {key!r} of {self.store / DATA}: {error}") from None
        log.add(patch, Encoded(len(value), checksum, None, values))

    def _identified(self, key: str, form: Form) -> tuple[_Kind, Patch]:
        """What a record is, by its form and then by its name.

        Raises:
            SourceError: it is nothing that the description has, or may be two things.
        """
        kinds = self.kinds.get(form.header)
        if kinds is None:
            kinds = [self._kind(modality, form) for modality in matching(self._known, form)]
            self.kinds[form.header] = kinds
        found = [(kind, match) for kind in kinds if (match := kind.key.fullmatch(key))]
        found = [(kind, match) for kind, match in found if self._fits(kind, match)]
        if not kinds:
            raise self._foreign(key.encode(), _tensors_of(form, self._known))
        names = " or ".join(kind.modality.name for kind in kinds)
        if not found:
            raise self._foreign(key.encode(), f"it has the tensors, but not the name, of {names}")
        if len(found) > 1:
            raise self._foreign(key.encode(), f"it may be of {names} alike")
        kind, match = found[0]
        source = self.description.modalities[kind.modality.name]
        return kind, named_patch(source, match.groupdict())

    def _fits(self, kind: _Kind, match: re.Match[str]) -> bool:
        """Whether fields inside of others are what the description says of them."""
        fields = self.description.modalities[kind.modality.name].fields
        return all(
            re.fullmatch(fields[name], value)
            for name, value in match.groupdict().items()
            if name in fields and value is not None
        )

    def _kind(self, modality: Modality, form: Form) -> _Kind:
        tensor = form.tensor(modality.bands[0].name) or form.tensors[0]
        return _Kind(modality, self._keys[modality.name], len(form.header) + tensor.offset)

    def _foreign(self, name: bytes, why: str) -> SourceError:
        key = name.decode(errors="backslashreplace")
        return SourceError(
            f"record {key!r} of {self.store / DATA} is none of "
            f"{self.description.dataset.name} ({why}): choose another --dataset, or describe your "
            "own in a TOML file"
        )


def _tensors_of(form: Form, known: list[Modality]) -> str:
    """What a record holds that is of no modality, in a few words."""
    shapes = {tensor.name: (tensor.dtype, tensor.shape) for tensor in form.tensors}
    for modality in known:
        if shapes == {
            tensor.name: (tensor.dtype, tensor.shape) for tensor in modality.form.tensors
        }:
            return (
                f"its tensors are those of {modality.name} in another order or with other "
                "metadata, which only converting again can mend"
            )
    shown = [f"{t.name} {t.dtype.name} {list(t.shape)}" for t in form.tensors[:3]]
    more = f" and {len(form.tensors) - 3} more" if len(form.tensors) > 3 else ""
    return f"it has the tensors {', '.join(shown) or 'of none'}{more}"
