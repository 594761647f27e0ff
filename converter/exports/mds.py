"""MDS, the shards of MosaicML Streaming: a folder for each split, with its index.json.

Written here and not by its library, which needs torch and the clients of several clouds. Integers
are little-endian. A shard has the number of its samples (uint32), the position of each and of the
end (uint32), its configuration as JSON, and the samples: sizes (uint32) of columns without a fixed
size, then all columns, in the order of their names.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash
import zstandard

from patchpress.converter.exports.exported import Written
from patchpress.converter.exports.row_arrays import RowArray
from patchpress.converter.exports.sample_columns import sample_columns
from patchpress.converter.exports.samples import PixelPart, as_json, samples
from patchpress.converter.exports.selection import ExportSelection
from patchpress.converter.options import ExportCodec
from patchpress.converter.progress import Progress
from patchpress.converter.text import size
from patchpress.readers.errors import OptionError

Array = npt.NDArray[Any]
_LEVEL = 3
_HASH = "xxh3_64"
_VERSION = 2
MDS_LIMIT = 1 << 32
"""Bytes of a shard, whose offsets have 32 bits."""
_DTYPES = {
    *("uint8", "int8", "uint16", "int16", "float16", "uint32", "int32", "float32"),
    *("uint64", "int64", "float64"),
}


@dataclass(frozen=True)
class Column:
    """A column of all samples."""

    name: str
    encoding: str
    """In the words of the library."""
    size: int | None
    """Bytes; None if they differ."""


def export_mds(
    selection: ExportSelection,
    folder: Path,
    progress: Progress,
    *,
    shard_size: int,
    codec: ExportCodec,
) -> Written:
    """Write rows as shards of MDS, those of each split in a folder of their own.

    Args:
        selection: the rows.
        folder: an empty one, which is filled.
        progress: told of each patch.
        shard_size: bytes that a shard has at most, before compression; of each split so many are in
            memory.
        codec: of whole shards.

    Raises:
        OptionError: a dtype that MDS does not have.
        StoreDamaged: a record differs from its checksum.
    """
    own, written = sample_columns(selection), Written()
    columns = [Column(own.key, "str", None), Column(own.row, "json", None)]
    columns += [_pixel_column(own.arrays[part.name], part) for part in own.parts]
    columns += [_label_column(own.targets[column.name], column) for column in own.labels]
    columns.sort(key=lambda column: column.name)
    any_size = {part.name for part in own.parts if part.any_size}
    splits: dict[str, _SplitShards] = {}
    for sample in samples(selection, written, progress):
        values = {own.key: sample.name.encode(), own.row: as_json(sample.row)}
        for name, pixels in sample.arrays.items():
            shape = _shape(pixels) if name in any_size else b""
            values[own.arrays[name]] = shape + pixels.tobytes()
        for column in own.labels:
            values[own.targets[column.name]] = column.values[sample.number].tobytes()
        if sample.split not in splits:
            splits[sample.split] = _SplitShards(folder / sample.split, columns, shard_size, codec)
        splits[sample.split].add([values[column.name] for column in columns])
    for name, one in splits.items():
        one.finish()
        for shard in one.index:
            written.shards[f"{name}/{shard.file}"] = shard.samples
    written.files = len(written.shards)
    written.notes = own.notes(written)
    return written


def _pixel_column(name: str, part: PixelPart) -> Column:
    if part.dtype.name not in _DTYPES:
        raise OptionError(
            f"{part.name} is {part.dtype.name}, which MDS does not have: leave that modality out "
            "(--modality)"
        )
    encoding = f"ndarray:{part.dtype.name}"
    if part.any_size:
        return Column(name, encoding, None)
    shape = ",".join(map(str, part.shape))
    return Column(name, f"{encoding}:{shape}", int(np.prod(part.shape)) * part.dtype.itemsize)


def _label_column(name: str, column: RowArray) -> Column:
    dtype, shape = column.values.dtype, column.values.shape[1:]
    if not shape:
        return Column(name, "int" if dtype == np.int64 else dtype.name, dtype.itemsize)
    return Column(name, f"ndarray:{dtype.name}:{shape[0]}", shape[0] * dtype.itemsize)


def _shape(pixels: Array) -> bytes:
    """What stands before an array whose column says no shape."""
    largest = max(pixels.shape)
    power = next(power for power in range(4) if largest < 1 << (8 << power))
    shape = np.array(pixels.shape, f"<u{1 << power}").tobytes()
    return bytes([pixels.ndim << 2 | power]) + shape


@dataclass(frozen=True)
class _MdsShard:
    file: str
    samples: int
    entry: Mapping[str, Any]
    """What the index says of it."""


@dataclass
class _SplitShards:
    """The shards of one split, one after another."""

    folder: Path
    columns: Sequence[Column]
    limit: int
    codec: ExportCodec
    index: list[_MdsShard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self._config = {
            "version": _VERSION,
            "format": "mds",
            "compression": f"zstd:{_LEVEL}" if self.codec is ExportCodec.zstd else None,
            "hashes": [_HASH],
            "size_limit": self.limit,
            "column_names": [column.name for column in self.columns],
            "column_encodings": [column.encoding for column in self.columns],
            "column_sizes": [column.size for column in self.columns],
        }
        self._head = json.dumps(self._config, sort_keys=True).encode()
        self._samples: list[bytes] = []
        self._bytes = self._empty = 8 + len(self._head)

    def add(self, values: Sequence[bytes]) -> None:
        """Add a sample, in the order of the columns; one that is not full before it is written."""
        sizes = [
            len(value)
            for value, column in zip(values, self.columns, strict=True)
            if column.size is None
        ]
        sample = b"".join([np.array(sizes, "<u4").tobytes(), *values])
        if self._samples and self._bytes + len(sample) + 4 > self.limit:
            self._write()
        self._samples.append(sample)
        self._bytes += len(sample) + 4

    def finish(self) -> None:
        """Write what is left, and the index."""
        if self._samples:
            self._write()
        index = {"version": _VERSION, "shards": [dict(shard.entry) for shard in self.index]}
        (self.folder / "index.json").write_text(json.dumps(index, sort_keys=True))

    def _write(self) -> None:
        count = len(self._samples)
        if self._bytes >= MDS_LIMIT:  # one sample alone
            raise OptionError(
                f"a patch has {size(self._bytes)}, and a shard of MDS less than 4 GiB: leave the "
                "largest modality out (--modality)"
            )
        ends = np.array([0, *map(len, self._samples)]).cumsum() + 4 * (count + 2) + len(self._head)
        shard = b"".join(
            [
                np.uint32(count).astype("<u4").tobytes(),
                ends.astype("<u4").tobytes(),
                self._head,
                *self._samples,
            ]
        )
        self._samples, self._bytes = [], self._empty
        raw = f"shard.{len(self.index):05}.mds"
        entry: dict[str, Any] = {"samples": count, "raw_data": _entry(raw, shard), "zip_data": None}
        file = raw
        if self.codec is ExportCodec.zstd:
            file = f"{raw}.zstd"
            shard = zstandard.ZstdCompressor(_LEVEL).compress(shard)
            entry["zip_data"] = _entry(file, shard)
        (self.folder / file).write_bytes(shard)
        self.index.append(_MdsShard(file, count, entry | self._config))


def _entry(name: str, content: bytes) -> dict[str, Any]:
    hashes = {_HASH: xxhash.xxh3_64(content).hexdigest()}
    return {"basename": name, "bytes": len(content), "hashes": hashes}
