"""Zarr 3: one group, with an array (patches, bands, height, width) for each modality."""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.exports.exported import Written
from patchpress.converter.exports.names import ColumnNames
from patchpress.converter.exports.row_arrays import row_arrays
from patchpress.converter.exports.samples import FILLED, absent_notes, grid_notes
from patchpress.converter.exports.selection import ExportSelection
from patchpress.converter.exports.target import MARKER
from patchpress.converter.exports.zarr_layout import (
    ROWS,
    PixelArray,
    group_facts,
    pixel_array,
    rows_of_shard,
)
from patchpress.converter.options import ExportCodec
from patchpress.converter.progress import Progress
from patchpress.readers.errors import OptionError

Array = npt.NDArray[Any]
_COLUMN_CHUNK = 65_536  # rows of a column in a file
_LEVEL = 3
OLDEST = "3.1.2"  # older ones list the arrays of a group in any order


def require_zarr() -> Any:
    """The library.

    Raises:
        OptionError: it is not installed, or too old.
    """
    way = f"pip install 'zarr>={OLDEST}'"
    try:
        import zarr
    except ImportError:
        raise OptionError(f"this export needs zarr, which is not installed: {way}") from None
    found = tuple(int(part) for part in re.findall(r"\d+", zarr.__version__)[:3])
    if found < tuple(map(int, OLDEST.split("."))):
        raise OptionError(f"this export needs zarr {OLDEST}, and {zarr.__version__} is here: {way}")
    return zarr


def export_zarr(
    selection: ExportSelection,
    folder: Path,
    progress: Progress,
    *,
    shard_size: int,
    chunk: int,
    codec: ExportCodec,
) -> Written:
    """Write rows as a group of Zarr 3.

    Args:
        selection: the rows.
        folder: an empty one, which is filled.
        progress: told of each patch.
        shard_size: bytes of pixels of the patches that one file of each array has, before
            compression: so many are in memory.
        chunk: patches that are compressed, and read, together.
        codec: of pixels.

    Raises:
        OptionError: zarr is not installed, a modality whose records may differ in size, or a chunk
            that is larger than a shard.
        StoreDamaged: a record differs from its checksum.
    """
    zarr = require_zarr()
    names, count = ColumnNames(), len(selection.rows.numbers)
    names.keep(
        ["zarr.json", MARKER, ROWS, *(f"{column}_class" for column in selection.manifest.classes)]
    )
    pixels = {
        name: pixel_array(modality, selection.manifest, names)
        for name, modality in selection.modalities.items()
    }
    chunk = min(chunk, count)
    rows = rows_of_shard(list(pixels.values()), count, shard_size, chunk)
    group = zarr.create_group(str(folder))
    made = {
        name: group.create_array(
            array.name,
            shape=(count, *array.shape),
            dtype=array.dtype,
            chunks=(chunk, *array.shape),
            shards=(rows, *array.shape),
            compressors=_compressor(zarr, codec),
            fill_value=array.absent,
            dimension_names=(ROWS, *array.dimensions),
            attributes=dict(array.facts),
        )
        for name, array in pixels.items()
    }
    for name, modality in selection.modalities.items():
        band = f"{name}_band"
        _write_array(group, band, np.array(modality.band_names, object), (band,))
    columns, notes = _write_columns(selection, group, names)
    group.attrs.update(group_facts(selection, columns))
    written, keys = _write_pixels(selection, pixels, made, rows, progress)
    _write_array(group, ROWS, np.array(keys, object), (ROWS,))
    with warnings.catch_warnings():
        # Zarr's specification has it as an extension; its readers and xarray know it.
        warnings.filterwarnings("ignore", "Consolidated metadata")
        zarr.consolidate_metadata(str(folder))
    absent = absent_notes(selection, written, FILLED)
    written.notes = [*absent, *grid_notes(selection), *names.notes, *notes]
    return written


def _compressor(zarr: Any, codec: ExportCodec) -> Any:
    if codec is ExportCodec.none:
        return None
    if codec is ExportCodec.zstd:
        return zarr.codecs.ZstdCodec(level=_LEVEL)
    return zarr.codecs.BloscCodec(cname="zstd", clevel=_LEVEL, shuffle="bitshuffle")


def _write_columns(
    selection: ExportSelection, group: Any, names: ColumnNames
) -> tuple[list[str], list[str]]:
    """Write the columns of the table; gives the names of their arrays, and notes."""
    columns, notes = [], []
    for column in row_arrays(selection):
        name = names.of(column.name)
        _write_array(group, name, column.values, (ROWS, *column.dimensions), column.facts)
        columns.append(name)
        notes += [column.note] if column.note else []
        own = f"{column.name}_class"
        if own in column.dimensions:
            _write_array(group, own, np.array(column.facts["classes"], object), (own,))
    return columns, notes


def _write_array(
    group: Any,
    name: str,
    values: Array,
    dimensions: Sequence[str],
    facts: Mapping[str, Any] | None = None,
) -> None:
    is_text = values.dtype == object
    made = group.create_array(
        name,
        shape=values.shape,
        dtype=str if is_text else values.dtype,
        chunks=(min(_COLUMN_CHUNK, len(values)), *values.shape[1:]),
        fill_value="" if is_text else values.dtype.type(0),
        dimension_names=tuple(dimensions),
        attributes=dict(facts or {}),
    )
    made[:] = values


def _write_pixels(
    selection: ExportSelection,
    pixels: Mapping[str, PixelArray],
    made: Mapping[str, Any],
    rows: int,
    progress: Progress,
) -> tuple[Written, list[str]]:
    """Write all pixels, some rows at a time; gives what was written, and the names of the rows."""
    written, keys, begin = Written(), list[str](), 0
    shards = {name: _ShardRows(made[name], array, rows) for name, array in pixels.items()}
    for some in selection.batches():
        for number, name in enumerate(some.names):
            before = written.bytes
            for modality in selection.modalities.values():
                key = some.keys[modality.name][number]
                if key is None:
                    continue
                written.add(modality.name)
                found = selection.pixels(modality.name).read(key)
                shards[modality.name].put(len(keys) - begin, found)
                written.bytes += found.nbytes
            keys.append(name)
            progress.advance(1, written.bytes - before)
            if len(keys) - begin == rows:
                written.files += sum(shard.write(begin, len(keys)) for shard in shards.values())
                begin = len(keys)
    if len(keys) > begin:
        written.files += sum(shard.write(begin, len(keys)) for shard in shards.values())
    return written, keys


class _ShardRows:
    """The rows of an array that are written together, as one file."""

    def __init__(self, made: Any, array: PixelArray, rows: int) -> None:
        self._made, self._absent = made, array.absent
        self._pixels = np.full((rows, *array.shape), array.absent, array.dtype)
        self._count = 0

    def put(self, row: int, pixels: Array) -> None:
        """Take the pixels of a row."""
        self._pixels[row] = pixels
        self._count += 1

    def write(self, begin: int, end: int) -> int:
        """Write the rows from `begin` to `end` of the array; gives how many files that made."""
        if not self._count:
            return 0
        self._made[begin:end] = self._pixels[: end - begin]
        self._pixels[:] = self._absent
        self._count = 0
        return 1
