"""Facts of a store as plain objects: what its manifest says, and what its table counts."""

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from patchpress.readers.errors import cannot_read
from patchpress.readers.format.manifest import DATA, Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import presence_column
from patchpress.readers.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

Facts = dict[str, Any]
"""Names and values that JSON can say."""


def store_facts(store: Store, place: str) -> Facts:
    """Count what is in a store: its table is read, no record is.

    Args:
        store: the store.
        place: what it is called.

    Returns:
        Facts under fixed names, as docs/converting.md lists them. Sizes are in bytes, ground
        sampling distances in metres, shapes are (height, width).

    Raises:
        StoreError: the table cannot be read, or a data file cannot be looked at.
    """
    manifest = store.manifest
    absent, changed = (None, None) if store.url else _wrong_files(store)
    stored = sum(shard.bytes for shard in manifest.shards)
    pixels = sum(_pixel_bytes(modality) for modality in manifest.modalities.values())
    dataset = manifest.dataset
    columns = [presence_column(name) for name in manifest.modalities]
    columns += [*manifest.classes, *manifest.flagged.columns]
    table = store.table(columns=list(dict.fromkeys(columns)))
    return {
        "store": place,
        "dataset": {
            "name": dataset.name,
            "title": dataset.title,
            "version": dataset.version,
            "licence": dataset.licence,
            "url": dataset.url,
        },
        "format_version": manifest.format_version,
        "rows": manifest.rows,
        "records": manifest.records,
        "bytes": stored,
        "pixel_bytes": pixels,
        "shards": _shards(manifest),
        "absent_shards": absent,
        "changed_shards": changed,
        "modalities": {
            name: _modality(modality, manifest.rows)
            for name, modality in manifest.modalities.items()
        },
        "complete_rows": _complete(table, manifest),
        "splits": _splits(manifest),
        "flagged": {
            "rows": manifest.flagged.rows,
            "columns": {name: _true(table[name]) for name in manifest.flagged.columns},
        },
        "target": manifest.target,
        "classes": {
            column: list(_classes(store, table[column], column)) for column in manifest.classes
        },
    }


def _wrong_files(store: Store) -> tuple[list[str], list[str]]:
    """The paths of data files that are not there, and of those of another size than promised."""
    absent, changed = [], []
    for shard in store.manifest.shards:
        try:
            size = (store.path / shard.path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            absent.append(shard.path)
        except OSError as error:
            raise cannot_read(store.path / shard.path, error) from None
        else:
            if size != shard.bytes:
                changed.append(shard.path)
    return absent, changed


def _shards(manifest: Manifest) -> Facts | None:
    """How many data files there are, and how even; None for a store of one file."""
    shards = manifest.shards
    if shards[0].path == DATA:
        return None
    return {
        "count": len(shards),
        "records": [min(s.records for s in shards), max(s.records for s in shards)],
        "bytes": [min(s.bytes for s in shards), max(s.bytes for s in shards)],
    }


def _pixel_bytes(modality: Modality) -> int:
    """Bytes of the pixels in the bands' own resolution, of all records of the usual size."""
    sizes = (prod(band.shape) * np.dtype(band.dtype).itemsize for band in modality.bands)
    return sum(sizes) * modality.records


def _modality(modality: Modality, rows: int) -> Facts:
    compression = modality.compression
    return {
        "title": modality.title,
        "kind": modality.kind,
        "records": modality.records,
        "missing": rows - modality.records,
        "shape": list(modality.shape),
        "dtype": modality.dtype.name,
        "layout": modality.layout,
        "resampling": modality.resampling if modality.layout == "stacked" else None,
        "size": modality.size,
        "any_size": modality.any_size,
        "compression": compression.codec,
        "level": compression.level if compression.codec != "none" else None,
        "pixel_bytes": _pixel_bytes(modality),
        "bands": [
            {"name": band.name, "gsd": band.gsd, "dtype": band.dtype, "shape": list(band.shape)}
            for band in modality.bands
        ],
    }


def _complete(table: "pa.Table", manifest: Manifest) -> int:
    """Rows that have a record of every modality."""
    import pyarrow.compute as pc

    masks = [table[presence_column(name)] for name in manifest.modalities]
    together = masks[0]
    for mask in masks[1:]:
        together = pc.and_(together, mask)
    return _true(together)


def _true(mask: Any) -> int:
    """How many values are true."""
    import pyarrow.compute as pc

    return int(pc.sum(mask).as_py() or 0)


def _splits(manifest: Manifest) -> Facts:
    """Split -> rows and records of each modality; flagged ones apart."""
    found: Facts = {}
    for split, counts in manifest.splits.items():
        found[split] = {what: manifest.count(split, what) for what in counts}
        found[split]["flagged"] = (
            {what: manifest.count(split, what, "only") for what in counts}
            if split in manifest.flagged.splits
            else None
        )
    return found


def _classes(store: Store, values: "pa.ChunkedArray", column: str) -> Iterator[Facts]:
    """Each class in the official order: all its rows, and those of each split but flagged ones."""
    rows = _counted(values)
    splits = {
        split: _counted(store.table(split, column)[column])
        for split in store.manifest.splits
        if store.manifest.count(split)
    }
    for name in store.manifest.classes[column]:
        yield {
            "name": name,
            "rows": rows.get(name, 0),
            "splits": {split: counts.get(name, 0) for split, counts in splits.items()},
        }


def _counted(values: "pa.ChunkedArray") -> dict[str, int]:
    """How many rows have each name, of a column of names or of lists of names."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        values = pc.list_flatten(values)
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(values).to_pylist()}
