"""ArrayRecord: files of records for Grain, each a patch's arrays and labels as safetensors."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.exports.exported import Written
from patchpress.converter.exports.hub_splits import SplitNames
from patchpress.converter.exports.samples import (
    absent_notes,
    arrays_of_row,
    as_json,
    grid_notes,
)
from patchpress.converter.exports.selection import ExportSelection
from patchpress.converter.options import ExportCodec
from patchpress.converter.progress import Progress
from patchpress.readers.errors import OptionError, TargetError
from patchpress.readers.format.manifest import METADATA, Manifest
from patchpress.readers.targets import label_array, number_array, without_labels

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
ROW = "row"
"""The array with the number of a record's row in metadata.parquet, int64."""
_ABSENT = "records without {name}, which readers cannot put into a batch with others"
_OPTIONS = {ExportCodec.zstd: "group_size:1,zstd:3", ExportCodec.none: "group_size:1,uncompressed"}
"""A group is what is read and expanded for one record."""


def require_array_record() -> Any:
    """The library's module with its writer.

    Raises:
        OptionError: it is not installed.
    """
    try:
        from array_record.python import array_record_module
    except ImportError:
        raise OptionError(
            "this export needs array_record, which is not installed: pip install array_record"
        ) from None
    return array_record_module


def export_arrayrecord(
    selection: ExportSelection,
    folder: Path,
    progress: Progress,
    *,
    shard_size: int,
    codec: ExportCodec,
) -> Written:
    """Write rows as records of ArrayRecord, those of each split in files of their own.

    Args:
        selection: the rows.
        folder: an empty one, which is filled.
        progress: told of each patch.
        shard_size: bytes after which a file ends, before they are compressed.
        codec: how records are compressed.

    Raises:
        OptionError: array_record is not installed.
        StoreDamaged: a record differs from its checksum, or a label is none of the classes.
        TargetError: a file cannot be written.
    """
    import pyarrow.parquet as pq
    from safetensors.numpy import save

    names, written = SplitNames(selection.manifest.splits), Written()
    manifest, files, row = selection.manifest, dict[str, _RecordFiles](), 0
    called = _array_names(selection)
    try:
        with pq.ParquetWriter(folder / METADATA, selection.schema, compression="zstd") as table:
            for rows in selection.batches():
                table.write_table(rows.table)
                targets = _targets(manifest, rows.table)
                columns = rows.table.to_pylist()
                splits = names.of_rows(selection.splits(rows))
                for number, split in enumerate(splits):
                    arrays: dict[str, Array] = {ROW: np.array(row, np.int64)}
                    for target, values in targets.items():
                        arrays[target] = np.ascontiguousarray(values[number])
                    before = written.bytes
                    for one, pixels in arrays_of_row(selection, rows, number, written).items():
                        arrays[called.get(one, one)] = np.ascontiguousarray(pixels)
                    if split not in files:
                        files[split] = _RecordFiles(folder, split, shard_size, _OPTIONS[codec])
                    # One entry, since safetensors writes several in any order.
                    told = {"row": as_json(columns[number]).decode()}
                    files[split].add(save(arrays, told))
                    progress.advance(1, written.bytes - before)
                    row += 1
        for each in files.values():
            each.finish()
    except BaseException:
        for each in files.values():
            each.abandon()
        raise
    written.shards = {name: count for each in files.values() for name, count in each.done.items()}
    written.files = len(written.shards)
    written.notes = [
        *names.notes(),
        *(f"array {one} is called {other}" for one, other in called.items()),
        *absent_notes(selection, written, _ABSENT),
        *grid_notes(selection),
    ]
    return written


def _array_names(selection: ExportSelection) -> dict[str, str]:
    """Name of a modality -> what its array is called, if a label or `ROW` is called so."""
    taken = {ROW, *selection.manifest.targets}
    found = {}
    for name in selection.modalities:
        other = name
        while other in taken:
            other += "_"
        taken.add(other)
        if other != name:
            found[name] = other
    return found


def _targets(manifest: Manifest, table: "pa.Table") -> dict[str, Array]:
    """Labels and numbers of some rows, one entry a row, as readers of the store have them.

    Multi-hot and parts are float32 (rows, classes), NaN if a row has no labels; one class is int64
    (rows,), `IGNORED` (-100) if there is none; numbers are float32 (rows,).
    """
    found: dict[str, Array] = {}
    for name, classes in manifest.classes.items():
        labels = label_array(table[name], classes, classes)
        if labels.ndim > 1:
            labels[without_labels(table[name]).to_numpy().astype(bool)] = np.nan
        found[name] = labels
    return found | {name: number_array(table[name]) for name in manifest.numbers}


class _RecordFiles:
    """The files of one split, one after another."""

    def __init__(self, folder: Path, split: str, size: int, options: str) -> None:
        self._module = require_array_record()
        self._folder, self._split, self._size, self._options = folder, split, size, options
        self._writer: Any = None
        self._bytes = 0
        self._counts: list[int] = []
        self.done: dict[str, int] = {}
        """Name of a file -> records."""

    def add(self, record: bytes) -> None:
        """Add a record; it begins a new file if the last one is full."""
        with self._writing():
            if self._writer is None:
                path = str(self._path(len(self._counts)))
                self._writer = self._module.ArrayRecordWriter(path, self._options)
                self._counts.append(0)
                self._bytes = 0
            self._writer.write(record)
        self._counts[-1] += 1
        self._bytes += len(record)
        if self._bytes >= self._size:
            self._close()

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._split}-{number:05}.array_record"

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        with self._writing():
            if writer is not None:
                writer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what the library says of a disk into an error of ours."""
        try:
            yield
        except RuntimeError as error:
            reason = str(error).partition(": ")[2].partition(";")[0]
            raise TargetError(
                f"{self._path(max(len(self._counts) - 1, 0)).name} cannot be written ({reason}): "
                "make that possible, or choose another place"
            ) from None

    def finish(self) -> None:
        """Give the files their names, which say how many there are."""
        self._close()
        count = len(self._counts)
        for number, records in enumerate(self._counts):
            name = f"{self._split}-{number:05}-of-{count:05}.array_record"
            self._path(number).rename(self._folder / name)
            self.done[name] = records

    def abandon(self) -> None:
        """Close the file that is open, whatever becomes of it."""
        with suppress(TargetError):  # the folder is removed
            self._close()
