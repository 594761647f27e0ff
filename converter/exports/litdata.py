"""litData: chunks as its `optimize` writes them, by its own writer, in a folder for each split."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from patchpress.converter.exports.exported import Written
from patchpress.converter.exports.row_arrays import RowArray
from patchpress.converter.exports.sample_columns import sample_columns
from patchpress.converter.exports.samples import as_json, samples
from patchpress.converter.exports.selection import ExportSelection
from patchpress.converter.progress import Progress
from patchpress.readers.errors import OptionError

_INDEX = "index.json"


def require_litdata() -> Any:
    """The class of its writer, which needs torch.

    Raises:
        OptionError: one of them is not installed.
    """
    try:
        from litdata.streaming.writer import BinaryWriter
    except ImportError as error:
        missing = (error.name or "a part of litdata").partition(".")[0]
        raise OptionError(
            f"this export needs litdata and torch, and {missing} is not installed: "
            "pip install litdata"
        ) from None
    return BinaryWriter


def export_litdata(
    selection: ExportSelection, folder: Path, progress: Progress, *, shard_size: int
) -> Written:
    """Write rows as chunks of litData, those of each split in a folder of their own.

    Args:
        selection: the rows.
        folder: an empty one, which is filled.
        progress: told of each patch.
        shard_size: bytes that a chunk has; of each split so many are in memory.

    Raises:
        OptionError: litdata is not installed.
        StoreDamaged: a record differs from its checksum.
    """
    columns, written = sample_columns(selection), Written()
    splits: dict[str, _Chunks] = {}
    for sample in samples(selection, written, progress):
        row = as_json(sample.row).decode()
        values: dict[str, Any] = {columns.key: sample.name, columns.row: row}
        values |= {name: sample.arrays[part] for part, name in columns.arrays.items()}
        values |= {columns.targets[n.name]: _label(n, sample.number) for n in columns.labels}
        if sample.split not in splits:
            splits[sample.split] = _Chunks(folder / sample.split, shard_size)
        splits[sample.split].add(values)
    for name, one in splits.items():
        for file, count in one.finish().items():
            written.shards[f"{name}/{file}"] = count
    written.files = len(written.shards)
    written.notes = columns.notes(written)
    return written


def _label(column: RowArray, number: int) -> Any:
    """An array, or a number as Python has it."""
    value = column.values[number]
    return value if value.ndim else value.item()


class _Chunks:
    """The chunks of one split, one after another."""

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir()
        self._folder, self._count = folder, 0
        self._writer = require_litdata()(str(folder), chunk_bytes=size)
        self._content = xxhash.xxh3_64()

    def add(self, values: Mapping[str, Any]) -> None:
        """Add a sample."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "An item was larger than the target chunk size")
            self._writer.add_item(self._count, dict(values))
        self._count += 1
        for value in values.values():
            if isinstance(value, np.ndarray):
                self._content.update(np.ascontiguousarray(value).data)
            else:
                self._content.update(str(value).encode())

    def finish(self) -> dict[str, int]:
        """Write what is left, and the index; gives the samples of each file.

        Its own merging of indexes waits for other processes if the environment speaks of some, and
        puts the time into the index. What is there instead changes if the content does, which is
        all that its readers look for.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "An item was larger than the target chunk size")
            self._writer.done()
        own = self._folder / f"{self._writer.rank}.{_INDEX}"
        index = json.loads(own.read_bytes())
        index["updated_at"] = str(self._content.intdigest())
        (self._folder / _INDEX).write_text(json.dumps(index, sort_keys=True))
        own.unlink()
        return {chunk["filename"]: chunk["chunk_size"] for chunk in index["chunks"]}
