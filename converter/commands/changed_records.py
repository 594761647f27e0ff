"""Which records of a finished store another program has added, removed or replaced."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xxhash

from patchpress.converter.commands.data_file import values_in
from patchpress.converter.progress import Progress
from patchpress.readers.access.files import open_file
from patchpress.readers.access.scan import HeaderList, Scan, beginning_of
from patchpress.readers.format.manifest import ContentDigest, Manifest
from patchpress.readers.format.table import checksum_column, key_column, keys_in, presence_column

if TYPE_CHECKING:
    import pyarrow as pa

TOLD_AFTER = 256  # records between two calls of the progress


@dataclass(frozen=True)
class DataValues:
    """The values of a data file as they are now."""

    path: Path
    found: Scan
    checksums: npt.NDArray[np.uint64]
    """XXH3-64 of each value, in the order of the keys."""

    def value(self, position: int) -> memoryview:
        """The bytes of a value.

        Raises:
            StoreDamaged: the disk does not give them.
        """
        offset, length = int(self.found.offset[position]), int(self.found.length[position])
        return memoryview(open_file(self.path).pages[offset : offset + length])

    def beginning(self, position: int) -> memoryview:
        """The first bytes of a value, with its whole header: to read all of it again takes long.

        Raises:
            StoreDamaged: the disk does not give them.
        """
        offset, length = int(self.found.offset[position]), int(self.found.length[position])
        return beginning_of(open_file(self.path).pages, offset, length)


@dataclass(frozen=True)
class ChangedRecords:
    """The values of a data file that a table does not have so."""

    unknown: list[int]
    """Positions of values whose keys the table does not name: new records, or no records."""
    replaced: dict[str, list[int]]
    """Modality -> positions of records whose checksums differ from the table's."""
    removed: dict[str, list[str]]
    """Modality -> keys that the table names, but the data file does not have."""

    @property
    def count(self) -> int:
        """How many there are."""
        replaced = sum(len(part) for part in self.replaced.values())
        return len(self.unknown) + replaced + sum(len(part) for part in self.removed.values())


def read_values(path: Path, found: Scan, progress: Progress) -> DataValues:
    """Read every value of a data file once."""
    checksums = np.empty(len(found.keys), np.uint64)
    progress.start("reading", len(found.keys), "values")
    done = nbytes = 0
    for position, (_, value) in enumerate(values_in(path, found)):
        checksums[position] = xxhash.xxh3_64_intdigest(value)
        done, nbytes = done + 1, nbytes + len(value)
        if done == TOLD_AFTER:
            progress.advance(done, nbytes)
            done = nbytes = 0
    progress.advance(done, nbytes)
    return DataValues(path, found, checksums)


def headers_and_digest(
    data: DataValues, without: Collection[bytes], before: HeaderList | None = None
) -> tuple[HeaderList, str]:
    """How each record of a data file begins, and the digest of all; `without` are no records.

    `before` are the headers of the shards before this one, to which those of this are added.
    """
    headers, digest = before if before is not None else HeaderList(), ContentDigest()
    for position, key in enumerate(data.found.keys.tolist()):
        if key not in without:
            headers.add(data.beginning(position), int(data.found.length[position]))
            digest.add(key.decode(), int(data.checksums[position]))
    return headers, digest.text()


def compare(data: DataValues, manifest: Manifest, table: "pa.Table") -> ChangedRecords:
    """Compare the values of a data file with the checksums in the table of its store."""
    known = np.zeros(len(data.found.keys), bool)
    replaced: dict[str, list[int]] = {}
    removed: dict[str, list[str]] = {}
    for name, keys, checksums in _listed(manifest, table):
        positions = np.searchsorted(data.found.keys, keys.astype(data.found.keys.dtype))
        positions = np.minimum(positions, max(len(known) - 1, 0))
        there = data.found.keys[positions] == keys if len(known) else np.zeros(len(keys), bool)
        if not there.all():
            removed[name] = [key.decode() for key in keys[~there].tolist()]
        known[positions[there]] = True
        differs = data.checksums[positions[there]] != checksums[there]
        if differs.any():
            replaced[name] = positions[there][differs].tolist()
    return ChangedRecords(np.flatnonzero(~known).tolist(), replaced, removed)


def _listed(
    manifest: Manifest, table: "pa.Table"
) -> Iterator[tuple[str, npt.NDArray[np.bytes_], npt.NDArray[np.uint64]]]:
    """Each modality, the keys of its records as the table has them, and their checksums."""
    for name, modality in manifest.modalities.items():
        rows = table.filter(table[presence_column(name)])
        keys = [key.encode() for key in keys_in(modality, rows[key_column(modality)])]
        checksums = [int(text or "0", 16) for text in rows[checksum_column(name)].to_pylist()]
        yield name, np.array(keys, "S"), np.array(checksums, np.uint64)
