"""The Parquet files of one split, each of about the same size, with their SHA-256."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpress.converter.exports.hub_folder import HubSplit
from patchpress.converter.exports.hub_pixels import Array
from patchpress.converter.exports.hub_rows import HubRows

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 32 << 20
"""Bytes of pixels after which a row group ends: so many of each split are in memory."""
MOST_ROWS = 1000
"""Rows after which one ends, if records are small: a reader takes a whole one at a time."""


@dataclass
class SplitFiles:
    """The Parquet files of one split, one after another; a row group is in memory."""

    folder: Path
    split: str
    rows: HubRows
    size: int
    facts: HubSplit = field(init=False)
    _tables: list["pa.Table"] = field(default_factory=list)
    _arrays: list[Mapping[str, Array]] = field(default_factory=list)
    _images: list[bytes | None] = field(default_factory=list)
    _bytes: int = 0
    _file: "_HashedFile | None" = None
    _writer: Any = None
    _counts: list[int] = field(default_factory=list)
    _digests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.facts = HubSplit(self.split)

    def add(self, row: "pa.Table", arrays: Mapping[str, Array], image: bytes | None) -> None:
        """Add a row: its columns, its pixels by `PixelColumn.source`, and its picture."""
        self._tables.append(row)
        self._arrays.append(arrays)
        self._images.append(image)
        self._bytes += sum(array.nbytes for array in arrays.values()) + len(image or b"")
        if self._bytes >= min(ROW_GROUP, self.size) or len(self._tables) >= MOST_ROWS:
            self._flush()

    def _flush(self) -> None:
        """Write a row group; it ends its file if that is large enough."""
        import pyarrow.parquet as pq

        if not self._tables:
            return
        table = self.rows.row_group(self._tables, self._arrays, self._images)
        self.facts.count(table, self._arrays, self.rows)
        if self._file is None:
            self._file = _HashedFile(self._path(len(self._counts)))
            self._counts.append(0)
            # Pixels hardly repeat, so that a dictionary of them is only made to be thrown away.
            plain = [column.name for column in self.rows.columns]
            self._writer = pq.ParquetWriter(
                self._file, self.rows.schema, compression="zstd", use_dictionary=plain
            )
        self._writer.write_table(table, row_group_size=len(table))
        self._counts[-1] += len(table)
        self._tables, self._arrays, self._images, self._bytes = [], [], [], 0
        if self._file.tell() >= self.size:
            self._end_file()

    def _path(self, number: int) -> Path:
        return self.folder / f"{self.split}-{number:05}.parquet"

    def _end_file(self) -> None:
        if self._writer is not None and self._file is not None:
            self._writer.close()
            self.facts.bytes += self._file.tell()
            self._digests.append(self._file.digest)
        self.close()

    def finish(self) -> None:
        """Write what is left, and give the files their names, which say how many there are."""
        self._flush()
        self._end_file()
        count = len(self._counts)
        for number, rows in enumerate(self._counts):
            name = f"{self.split}-{number:05}-of-{count:05}.parquet"
            self._path(number).rename(self.folder / name)
            self.facts.files[f"data/{name}"] = rows
            self.facts.digests[f"data/{name}"] = self._digests[number]

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
        self._file = self._writer = None


class _HashedFile:
    """A file that is written from its beginning to its end, and its SHA-256."""

    def __init__(self, path: Path) -> None:
        self._file, self._hash = path.open("xb"), hashlib.sha256()

    def write(self, data: Any) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    @property
    def closed(self) -> bool:
        return self._file.closed

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()
