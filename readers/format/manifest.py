"""`Manifest`: what a store holds, as manifest.json says; and how that file is read and written.

The manifest is written last, by rename, so a folder without one is an unfinished store. It has no
path, host name or time of day: the same input and options give the same bytes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from patchpress.readers.errors import (
    FormatUnknown,
    SelectionEmpty,
    StoreDamaged,
    StoreMissing,
    StoreUnfinished,
    cannot_read,
)
from patchpress.readers.format.manifest_schema import check_manifest
from patchpress.readers.format.modality import Band, Compression, Modality, matching
from patchpress.readers.format.record import RECORD_LIMIT, Form
from patchpress.readers.format.schema import FieldError
from patchpress.readers.format.sealed import parse, seal, unsealed
from patchpress.readers.format.shard_rule import INDEX_OF_ARCHIVES, ONE_FILE
from patchpress.readers.format.store_files import read_small, require_inside
from patchpress.readers.format.whole_file import write_whole
from patchpress.readers.showing import columns_of, html_table, plain

FORMAT = "patchpress"
FORMAT_VERSION = 2
MANIFEST = "manifest.json"
MANIFEST_LIMIT = 16 << 20  # bytes; the largest known has some 100,000
DATA = ONE_FILE
METADATA = "metadata.parquet"
EXTENTS = "extents.safetensors"
ARCHIVES = INDEX_OF_ARCHIVES
STATISTICS = "statistics.json"
MARKER = "unfinished.json"  # there from the first byte of a conversion until the manifest is
JOURNAL = "unfinished.records"  # beside it: what is stored so far
OTHER_VALUES = "other_values"
"""The option of a manifest that counts values of the data file which are no records."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One LMDB environment: its data file, size in bytes, and a digest of what it holds.

    `digest` is the SHA-256 over key, a zero byte and the record's checksum (8 bytes, big-endian),
    in key order: equal for equal contents, however LMDB laid out its pages.
    """

    path: str
    records: int
    bytes: int
    digest: str


class ContentDigest:
    """The digest of a shard, from its keys and checksums as they come."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._last = b""

    def add(self, key: str, checksum: int) -> None:
        """Note the next record; keys must ascend, since their order is part of the digest.

        Raises:
            ValueError: the key does not follow the one before.
        """
        name = key.encode()
        if name <= self._last:
            raise ValueError(f"key {key!r} does not follow {self._last.decode()!r}")
        self._last = name
        self._hash.update(name + b"\0" + checksum.to_bytes(8, "big"))

    def text(self) -> str:
        """``sha256:`` and the digest in hexadecimal."""
        return f"sha256:{self._hash.hexdigest()}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Whose data it is."""

    name: str
    version: str
    title: str
    licence: str
    citation: str
    url: str


@dataclass(frozen=True, slots=True)
class Flagged:
    """The rows that their publisher does not recommend for use, such as patches under clouds."""

    columns: tuple[str, ...] = ()
    """Boolean columns of the table; a row is flagged if one of them is true."""
    rows: int = 0
    """Flagged rows of the table, in whatever split or in none."""
    splits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Counts as in `Manifest.splits`, of the flagged rows alone; splits that have some."""


@dataclass(frozen=True, slots=True, repr=False)
class Manifest:
    """All that a reader must know of a store before it opens the data."""

    dataset: Dataset
    modalities: Mapping[str, Modality]
    classes: Mapping[str, tuple[str, ...]]
    """Class names of each label column, in the official order."""
    target: str | None
    """The label column that is learned if none is named; None if there are no labels."""
    rows: int
    """Rows of the metadata table."""
    splits: Mapping[str, Mapping[str, int]]
    """Split -> modality -> records; the rows of that split under ``rows``. Flagged ones count."""
    split_column: str
    """The column of the table with the split."""
    flagged: Flagged
    """Rows that their publisher does not recommend for use."""
    metadata_digest: str
    """``sha256:`` and the SHA-256 of metadata.parquet."""
    shards: tuple[Shard, ...]
    options: Mapping[str, str | int | float | None]
    software: Mapping[str, str]
    format_version: int = FORMAT_VERSION
    format: str = field(default=FORMAT)
    numbers: tuple[str, ...] = ()
    """Columns of the table with a number to be predicted, float32, null if it is not known."""

    def __repr__(self) -> str:
        return "\n".join([f"Manifest({self._title})", *columns_of(self.contents())])

    def _repr_html_(self) -> str:
        return html_table(self._title, ("", "", ""), self.contents())

    @property
    def _title(self) -> str:
        flagged = f", {self.flagged.rows:,} of them flagged" if self.flagged.columns else ""
        return plain(f"{self.dataset.name} {self.dataset.version}: {self.rows:,} rows{flagged}")

    def contents(self) -> list[tuple[str, str, str]]:
        """Modalities, splits and label columns for people: (kind of thing, name, what it holds)."""
        lines = [
            (
                "modality",
                m.name,
                f"{m.records:,} records of {m.array_shape} {m.dtype.name}, {m.layout}, "
                f"compression {m.compression.codec}",
            )
            for m in self.modalities.values()
        ]
        for split in self.splits:
            flagged = self.count(split, flagged="only")
            more = f", and {flagged:,} flagged" if flagged else ""
            lines.append(("split", split, f"{self.count(split):,} rows{more}"))
        for column, names in self.classes.items():
            default = ", the default target" if column == self.target else ""
            lines.append(("labels", column, f"{len(names)} classes{default}"))
        for column in self.numbers:
            default = ", the default target" if column == self.target else ""
            lines.append(("labels", column, f"a number{default}"))
        return lines

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns of the table that may be learned: those of classes, then those of numbers."""
        return (*self.classes, *self.numbers)

    @property
    def records(self) -> int:
        """How many records the store has."""
        return sum(shard.records for shard in self.shards)

    @property
    def in_archives(self) -> bool:
        """Whether records are put together from archives that lie elsewhere, by an index."""
        return self.shards[0].path == ARCHIVES

    @property
    def record_limit(self) -> int:
        """The most bytes that an uncompressed record has."""
        if any(modality.any_size for modality in self.modalities.values()):
            return RECORD_LIMIT
        return max(modality.form.size for modality in self.modalities.values())

    def count(self, split: str, what: str = "rows", flagged: str = "exclude") -> int:
        """How many rows, or records of a modality, a split has.

        Args:
            split: as in `splits`.
            what: ``rows``, or a modality.
            flagged: ``exclude``, ``include`` or ``only``, as for `Store.table`.
        """
        whole = self.splits[split][what]
        marked = self.flagged.splits.get(split, {}).get(what, 0)
        return {"exclude": whole - marked, "include": whole, "only": marked}[flagged]

    def matches(self, form: Form) -> list[Modality]:
        """The modalities that a record of this form may be of, as `matching` finds them."""
        return matching(self.modalities.values(), form)

    def modality(self, name: str) -> Modality:
        """The modality of that name.

        Raises:
            SelectionEmpty: the store has none.
        """
        try:
            return self.modalities[name]
        except KeyError:
            raise SelectionEmpty(
                f"the store has no modality {name!r}; it has {', '.join(self.modalities)}"
            ) from None


def to_bytes(manifest: Manifest) -> bytes:
    """The manifest as JSON, keys in a fixed order; its digest comes last."""
    content = asdict(manifest)
    if not content["numbers"]:
        del content["numbers"]
    ordered = {key: content.pop(key) for key in ("format", "format_version", "dataset")}
    for modality in content["modalities"].values():
        del modality["name"]
        if not modality["steps"]:
            del modality["steps"]
    return seal(ordered | content)


def from_bytes(data: bytes, name: str = MANIFEST) -> Manifest:
    """The manifest that JSON describes; `name` is what messages call the file.

    Raises:
        FormatUnknown: written by another format version.
        StoreDamaged: not a manifest, one that differs from its digest, or a field is not what it
            must be.
    """
    try:
        content = parse(data)
        if content.get("format") != FORMAT:
            raise StoreDamaged(f"{name} is no manifest of a store: its format is not {FORMAT!r}")
        version = content.get("format_version")
        if version != FORMAT_VERSION:
            raise FormatUnknown(
                f"{name} has format version {ascii(version)[:20]}, this package reads "
                f"{FORMAT_VERSION}: install the patchpress that wrote it, or convert again"
            )
        content = unsealed(data, content)
        check_manifest(content)
    except FieldError as error:
        raise StoreDamaged(
            f"{name} is not as it was written ({error}): copy it again, or convert again"
        ) from None
    flagged = content["flagged"]
    return Manifest(
        dataset=Dataset(**content["dataset"]),
        modalities={name: _modality(name, entry) for name, entry in content["modalities"].items()},
        classes={name: tuple(names) for name, names in content["classes"].items()},
        numbers=tuple(content.get("numbers", ())),
        target=content["target"],
        rows=content["rows"],
        splits=content["splits"],
        split_column=content["split_column"],
        flagged=Flagged(tuple(flagged["columns"]), flagged["rows"], flagged["splits"]),
        metadata_digest=content["metadata_digest"],
        shards=tuple(Shard(**entry) for entry in content["shards"]),
        options=content["options"],
        software=content["software"],
    )


def _modality(name: str, entry: dict[str, Any]) -> Modality:
    bands = tuple(
        Band(band["name"], band["gsd"], band["dtype"], (band["shape"][0], band["shape"][1]))
        for band in entry["bands"]
    )
    compression = Compression(**entry["compression"])
    rest = {key: entry[key] for key in entry if key not in ("bands", "compression", "rgb")}
    return Modality(
        name=name, bands=bands, compression=compression, rgb=tuple(entry["rgb"]), **rest
    )


def file_digest(path: Path) -> str:
    """``sha256:`` and the SHA-256 of a file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def read_manifest(store: Path) -> Manifest:
    """The manifest of the store in that folder.

    Raises:
        StoreMissing, StoreUnfinished, StoreDamaged, FormatUnknown.
    """
    path = store / MANIFEST
    try:
        data = read_small(require_inside(store, MANIFEST), MANIFEST_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        if (store / DATA).exists() or (store / MARKER).exists():
            raise StoreUnfinished(_unfinished(store)) from None
        raise StoreMissing(f"there is no store at {store}: it has no {MANIFEST}") from None
    except OSError as error:
        raise cannot_read(path, error) from None
    return from_bytes(data, str(path))


def _unfinished(store: Path) -> str:
    """The sentence about records without a manifest, and what to do about them."""
    what = f"{store} has records but no {MANIFEST}"
    if (store / MARKER).exists():
        return (
            f"{store} has no {MANIFEST}: what wrote it did not end; run the same command "
            "(`patchpress convert`, `copy` or `merge`) again, and it goes on where it stopped"
        )
    return (
        f"{what}: if it is a copy of a store, copy {MANIFEST} and {METADATA}, too; if another "
        f"program wrote it, run `patchpress index {store} --dataset NAME`"
    )


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Write manifest.json by rename, so that it is whole or absent, and flush it to disk."""
    write_whole(store / MANIFEST, to_bytes(manifest))
